//! The task that reads the replicas on behalf of all writes that wait, and only while one does.

use super::{
    Unacknowledged,
    lapse::{LapsedReplicas, ObservedRenewals},
    pending_write::PendingWrite,
};
use crate::{
    model::time::{LeaseTerm, Moment},
    store::{Replica, ReplicaId, ReplicaRegistry, ReplicaSnapshot},
};
use std::{mem, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// The pause between the first two reads. Healthy replicas need a few milliseconds, and a write
/// should not wait much longer than they need, so the pauses grow slowly.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause between two reads, while a write waits for a lease to lapse.
const LAST_PAUSE: Duration = Duration::from_millis(32);

/// A write, and where its answer goes.
pub(super) struct Waiter {
    pub(super) write: PendingWrite,
    pub(super) done: oneshot::Sender<Result<(), Unacknowledged>>,
}

pub(super) struct Poller {
    registry: Arc<dyn ReplicaRegistry>,
    own: ReplicaId,
    renewals: Arc<ObservedRenewals>,
    lapsed: LapsedReplicas,
    /// How long one read may take.
    read_limit: Duration,
    /// How long a write waits for the first read that succeeds.
    first_read_limit: Duration,
    queue: mpsc::Receiver<Waiter>,
    waiters: Vec<Waiter>,
    last_read: Vec<Replica>,
}

impl Poller {
    pub(super) fn new(
        registry: Arc<dyn ReplicaRegistry>,
        own: ReplicaId,
        term: LeaseTerm,
        renewals: Arc<ObservedRenewals>,
        lapsed: LapsedReplicas,
        queue: mpsc::Receiver<Waiter>,
    ) -> Self {
        Self {
            registry,
            own,
            renewals,
            lapsed,
            read_limit: term.length() / 4,
            first_read_limit: 2 * term.length(),
            queue,
            waiters: Vec::new(),
            last_read: Vec::new(),
        }
    }

    /// Ends when no write can come any more.
    pub(super) async fn run(mut self) {
        while let Some(waiter) = self.queue.recv().await {
            self.waiters.push(waiter);
            self.poll_until_no_write_waits().await;
        }
    }

    async fn poll_until_no_write_waits(&mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.read_replicas().await;
            self.answer_writes();
            if self.waiters.is_empty() {
                break;
            }
            match timeout(pause, self.queue.recv()).await {
                Ok(Some(waiter)) => {
                    self.waiters.push(waiter);
                    pause = FIRST_PAUSE;
                }
                Ok(None) => break,
                Err(_) => pause = (pause * 5 / 4).min(LAST_PAUSE),
            }
        }
        let lapsed = self.renewals.lapsed(&self.last_read, Moment::now());
        self.lapsed.remove(lapsed);
    }

    /// Reads once. Every write that waits by now was committed before the read begins.
    async fn read_replicas(&mut self) {
        while let Ok(waiter) = self.queue.try_recv() {
            self.waiters.push(waiter);
        }
        let writes = self.waiters.iter().map(|waiter| waiter.write.position());
        let writes: Vec<_> = writes.collect();
        match timeout(self.read_limit, self.registry.replicas(&writes)).await {
            Ok(Ok(snapshot)) => self.take_note(snapshot, Moment::now()),
            Ok(Err(error)) => tracing::debug!("cannot read the replicas: {error}"),
            Err(_) => tracing::debug!("cannot read the replicas: the store does not answer"),
        }
    }

    fn take_note(&mut self, snapshot: ReplicaSnapshot, read: Moment) {
        self.renewals.observe(&snapshot.replicas, read);
        self.last_read = snapshot.replicas;
        // This process knows how far its own keyring has got.
        self.last_read.retain(|replica| replica.id != self.own);
        for mut waiter in mem::take(&mut self.waiters) {
            if snapshot.lost.contains(&waiter.write.position().revision) {
                // The caller may have gone meanwhile.
                let _ = waiter.done.send(Err(Unacknowledged::Lost));
            } else {
                let lease_end = |replica: &Replica| self.renewals.lease_end(replica);
                waiter.write.observe(&self.last_read, lease_end);
                self.waiters.push(waiter);
            }
        }
    }

    /// Answers the writes that have an answer, and drops those whose callers have gone.
    fn answer_writes(&mut self) {
        let now = Moment::now();
        for waiter in mem::take(&mut self.waiters) {
            match waiter.write.answer(now, self.first_read_limit) {
                Some(answer) => _ = waiter.done.send(answer),
                None if waiter.done.is_closed() => {}
                None => self.waiters.push(waiter),
            }
        }
    }
}
