//! Lets a write return when no replica can answer without it any more.
//!
//! Owns what this process knows of the replicas: what each has applied, and whose lease has lapsed.
//! Promises that a write counts as acknowledged only when every replica has applied it, or holds no
//! lease that is older than the write. Must never judge a lease by a clock other than this
//! process's own.

mod lapse;
mod pending_write;
mod poller;

use crate::{
    model::time::{LeaseTerm, Moment},
    store::{Position, Replica, ReplicaId, ReplicaRegistry, Revision},
};
use lapse::{LapsedReplicas, ObservedRenewals};
use pending_write::PendingWrite;
use poller::{Poller, Waiter};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};

/// How many writes may wait to be taken up by the poller. Beyond it, writes wait to queue.
const QUEUE_LEN: usize = 1024;

/// Which writes this replica and the others have applied, as far as this process knows.
pub struct Acknowledgements {
    /// How long a write waits for this process's own keyring.
    own_limit: Duration,
    /// How far this process's own keyring has got, which is known without reading the store.
    own_applied: watch::Sender<Revision>,
    /// Notified when a write begins to wait for this process's own keyring.
    wanted: Notify,
    /// None where no other process can write.
    others: Option<Others>,
}

/// The other replicas that share the store.
struct Others {
    renewals: Arc<ObservedRenewals>,
    lapsed: LapsedReplicas,
    queue: mpsc::Sender<Waiter>,
}

/// It is not known that every replica has applied a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unacknowledged {
    /// The store could not be asked, or this replica itself has not got so far.
    #[error("it could not be found out whether every replica has applied the write")]
    Unknown,
    /// Another server may have taken over that had missed the write.
    #[error("the store, as it is now, does not have the write")]
    Lost,
}

impl Acknowledgements {
    /// Knows of no replica yet. `own` is this process, `term` the term of its own lease. Call it on
    /// a tokio runtime.
    #[must_use]
    pub fn new(
        registry: Option<Arc<dyn ReplicaRegistry>>,
        own: ReplicaId,
        term: LeaseTerm,
    ) -> Self {
        Self {
            // Long enough for a follower whose call failed to try once or twice more.
            own_limit: 2 * term.length(),
            own_applied: watch::Sender::new(Revision::ZERO),
            wanted: Notify::new(),
            others: registry.map(|registry| Others::poll(registry, own, term)),
        }
    }

    /// Returns when this replica and every other has applied the committed write at this position,
    /// or holds no lease any more that is older than the write.
    ///
    /// That takes at most about as long as the longest lease of a replica, counted from the first
    /// read of the replicas. May be dropped at any time.
    pub async fn wait_until_acknowledged(&self, write: Position) -> Result<(), Unacknowledged> {
        let others = async {
            match &self.others {
                Some(others) => others.wait_until_acknowledged(write).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(self.wait_until_applied_here(write.revision), others).map(drop)
    }

    async fn wait_until_applied_here(&self, revision: Revision) -> Result<(), Unacknowledged> {
        let mut applied = self.own_applied.subscribe();
        self.wanted.notify_one();
        let reached = applied.wait_for(|applied| *applied >= revision);
        match timeout(self.own_limit, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unacknowledged::Unknown),
        }
    }

    /// Sets how far this process's own keyring has got.
    pub fn set_applied(&self, revision: Revision) {
        self.own_applied.send_replace(revision);
    }

    /// How far this process's own keyring has got.
    #[must_use]
    pub fn own_applied(&self) -> Revision {
        *self.own_applied.borrow()
    }

    /// How many replicas the last read of the store showed, this one included.
    #[must_use]
    pub fn replica_count(&self) -> usize {
        let others = self.others.as_ref();
        others.map_or(1, |others| others.renewals.replica_count().max(1))
    }

    /// Returns when a write waits for this process's own keyring to get further, or has begun to
    /// since the last return.
    pub async fn wait_until_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Takes note of the replicas that a read of the store showed, which was answered at `read`.
    pub fn observe_replicas(&self, replicas: &[Replica], read: Moment) {
        if let Some(others) = &self.others {
            others.renewals.observe(replicas, read);
            let lapsed = others.renewals.lapsed(replicas, Moment::now());
            others.lapsed.remove(lapsed);
        }
    }
}

impl Others {
    /// Starts the poller, which ends when this is dropped.
    fn poll(registry: Arc<dyn ReplicaRegistry>, own: ReplicaId, term: LeaseTerm) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN);
        let renewals = Arc::new(ObservedRenewals::default());
        let lapsed = LapsedReplicas::new(registry.clone());
        let poller = Poller::new(
            registry,
            own,
            term,
            renewals.clone(),
            lapsed.clone(),
            waiting,
        );
        tokio::spawn(poller.run());
        Self {
            renewals,
            lapsed,
            queue,
        }
    }

    async fn wait_until_acknowledged(&self, write: Position) -> Result<(), Unacknowledged> {
        let (done, acknowledged) = oneshot::channel();
        let waiter = Waiter {
            write: PendingWrite::new(write, Moment::now()),
            done,
        };
        let queued = self.queue.send(waiter).await;
        queued.map_err(|_| Unacknowledged::Unknown)?;
        acknowledged.await.unwrap_or(Err(Unacknowledged::Unknown))
    }
}
