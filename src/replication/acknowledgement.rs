//! Owns what this process knows of the replicas: what each has applied, whose lease has lapsed.
//! Promises that a write is acknowledged only when no replica can answer without it any more.
//! Must never judge a lease by a clock other than this process's own.

use crate::{
    model::time::{LeaseTerm, Moment},
    store::{Position, Replica, ReplicaId, ReplicaRegistry, ReplicaSnapshot, Revision},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};

/// Writes that may wait to be looked at; more wait to get in line.
const QUEUE_LEN: usize = 1024;

/// Between the first two looks. Replicas in good health need a few milliseconds, and nobody shall
/// wait much longer than they need; so the pauses grow slowly.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// Between two looks in the long run, while a lease is waited for to lapse.
const LAST_PAUSE: Duration = Duration::from_millis(32);

/// This replica and the others, as this process sees them.
pub struct Replicas {
    term: LeaseTerm,
    /// How far this process's own keyring has got, which is known without a look at the store.
    own_applied: watch::Sender<Revision>,
    /// Somebody waits for it to get further.
    wanted: Notify,
    /// None where no other process can write.
    others: Option<Others>,
}

/// The other replicas that share the store.
struct Others {
    sightings: Arc<Sightings>,
    forgetter: Forgetter,
    queue: mpsc::Sender<Waiter>,
}

/// A write is not known to be followed by every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unacknowledged {
    /// The store could not be asked, or this replica itself has not got so far.
    #[error("it could not be found out whether every replica has applied the write")]
    Unknown,
    /// Another server may have taken over that had missed it.
    #[error("the store, as it is now, does not have the write")]
    Lost,
}

impl Replicas {
    /// Knows of no replica yet. `own` is this process, `term` the term of its own lease. Call it on
    /// a tokio runtime.
    #[must_use]
    pub fn new(
        registry: Option<Arc<dyn ReplicaRegistry>>,
        own: ReplicaId,
        term: LeaseTerm,
    ) -> Self {
        Self {
            term,
            own_applied: watch::Sender::new(Revision::ZERO),
            wanted: Notify::new(),
            others: registry.map(|registry| Others::poll(registry, own, term)),
        }
    }

    /// Returns when this replica and every other has applied the committed write at this position,
    /// or has no lease any more that is older than the write.
    ///
    /// That takes at most about as long as the longest lease of a replica, from the first look at
    /// them. May be dropped at any time.
    pub async fn acknowledged(&self, write: Position) -> Result<(), Unacknowledged> {
        let others = async {
            match &self.others {
                Some(others) => others.acknowledged(write).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(self.applied_here(write.revision), others).map(drop)
    }

    async fn applied_here(&self, revision: Revision) -> Result<(), Unacknowledged> {
        let mut applied = self.own_applied.subscribe();
        self.wanted.notify_one();
        // Long enough for another try or two of a follower that has met trouble.
        let limit = 2 * self.term.length();
        let reached = timeout(limit, applied.wait_for(|applied| *applied >= revision));
        match reached.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unacknowledged::Unknown),
        }
    }

    /// Takes note of how far this process's own keyring has got.
    pub fn applied(&self, revision: Revision) {
        self.own_applied.send_replace(revision);
    }

    /// How far this process's own keyring has got.
    #[must_use]
    pub fn own_applied(&self) -> Revision {
        *self.own_applied.borrow()
    }

    /// How many replicas the last read of the store showed, this one among them.
    #[must_use]
    pub fn seen(&self) -> usize {
        let seen = self.others.as_ref();
        seen.map_or(1, |others| others.sightings.lock().len().max(1))
    }

    /// Returns when somebody waits for this process's own keyring to get further, or has begun to
    /// since the last return.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Takes note of what a read of the store showed that was answered at `read`.
    pub fn saw(&self, replicas: &[Replica], read: Moment) {
        if let Some(others) = &self.others {
            others.sightings.note(replicas, read);
            let lapsed = others.sightings.lapsed(replicas, Moment::now());
            others.forgetter.forget(lapsed);
        }
    }
}

impl Others {
    fn poll(registry: Arc<dyn ReplicaRegistry>, own: ReplicaId, term: LeaseTerm) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN);
        let sightings = Arc::new(Sightings::default());
        let forgetter = Forgetter {
            own,
            registry: registry.clone(),
            at_work: Arc::default(),
        };
        let poller = Poller {
            own,
            registry,
            sightings: sightings.clone(),
            forgetter: forgetter.clone(),
            look_limit: term.length() / 4,
            wait_limit: 2 * term.length(),
            queue: waiting,
            waiters: Vec::new(),
            last_look: Vec::new(),
        };
        tokio::spawn(poller.run());
        Self {
            sightings,
            forgetter,
            queue,
        }
    }

    async fn acknowledged(&self, write: Position) -> Result<(), Unacknowledged> {
        let (done, acknowledged) = oneshot::channel();
        let waiter = Waiter {
            write,
            since: Moment::now(),
            pending: None,
            done,
        };
        let queued = self.queue.send(waiter).await;
        queued.map_err(|_| Unacknowledged::Unknown)?;
        acknowledged.await.unwrap_or(Err(Unacknowledged::Unknown))
    }
}

/// When this process first read of each replica's last renewal.
#[derive(Default)]
struct Sightings(Mutex<HashMap<ReplicaId, Sighting>>);

struct Sighting {
    renewals: i64,
    first_read: Moment,
}

impl Sightings {
    fn note(&self, replicas: &[Replica], read: Moment) {
        let mut sightings = self.lock();
        sightings.retain(|id, _| replicas.iter().any(|replica| replica.id == *id));
        for replica in replicas {
            let sighting = sightings.entry(replica.id).or_insert(Sighting {
                renewals: replica.renewals,
                first_read: read,
            });
            // Any other number is news, a lower one too: answers may overtake one another.
            if sighting.renewals != replica.renewals {
                *sighting = Sighting {
                    renewals: replica.renewals,
                    first_read: read,
                };
            }
        }
    }

    /// From when on the leases of this renewal and of all before it have lapsed for certain: the
    /// call that a read showed was sent before the read was answered.
    fn end_of(&self, replica: &Replica) -> Moment {
        match self.lock().get(&replica.id) {
            Some(sighting) if sighting.renewals == replica.renewals => {
                replica.term.lapsed_from(sighting.first_read)
            }
            // Overtaken by another read; from now on is long enough.
            _ => replica.term.lapsed_from(Moment::now()),
        }
    }

    fn lapsed(&self, replicas: &[Replica], now: Moment) -> Vec<Replica> {
        let has_lapsed = |replica: &&Replica| self.end_of(replica) <= now;
        replicas.iter().filter(has_lapsed).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ReplicaId, Sighting>> {
        // Whole at any time: nothing that is done under the lock can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Strikes replicas off the store's record whose leases have lapsed, so that each is waited for
/// only once. In a task of its own: neither a renewal nor a writer shall wait for that.
#[derive(Clone)]
struct Forgetter {
    own: ReplicaId,
    registry: Arc<dyn ReplicaRegistry>,
    at_work: Arc<tokio::sync::Mutex<()>>,
}

impl Forgetter {
    /// Does nothing while it is still at work; who is left is seen at the next look.
    fn forget(&self, lapsed: Vec<Replica>) {
        if lapsed.iter().all(|replica| replica.id == self.own) {
            return;
        }
        if let Ok(at_work) = self.at_work.clone().try_lock_owned() {
            let forgetter = self.clone();
            tokio::spawn(async move {
                forgetter.forget_all(&lapsed).await;
                drop(at_work);
            });
        }
    }

    async fn forget_all(&self, lapsed: &[Replica]) {
        for replica in lapsed.iter().filter(|replica| replica.id != self.own) {
            match self.registry.remove_lapsed(replica).await {
                Ok(true) => tracing::warn!(
                    replica = replica.name,
                    "a replica's lease has lapsed: it ended, hangs, or cannot reach the store"
                ),
                Ok(false) => {}
                Err(error) => tracing::warn!(
                    replica = replica.name,
                    "a replica's lapsed lease stays on record, and writers wait for it: {error}"
                ),
            }
        }
    }
}

/// A write that waits for the replicas.
struct Waiter {
    write: Position,
    since: Moment,
    /// Whom it waits for, and until when at the longest, from the first look after its commit on.
    /// A renewal that is not yet on record at that look must read the write, so only the leases of
    /// those that are can be older.
    pending: Option<Vec<(ReplicaId, Moment)>>,
    done: oneshot::Sender<Result<(), Unacknowledged>>,
}

impl Waiter {
    /// Takes note of a look that began after the write's commit.
    fn look(&mut self, replicas: &[Replica], end_of: impl Fn(&Replica) -> Moment) {
        let behind = |replica: &&Replica| replica.applied < self.write.revision;
        match &mut self.pending {
            None => {
                let behind = replicas.iter().filter(behind);
                self.pending = Some(behind.map(|each| (each.id, end_of(each))).collect());
            }
            Some(pending) => pending.retain(|(id, _)| {
                let mut behind = replicas.iter().filter(behind);
                behind.any(|replica| replica.id == *id)
            }),
        }
    }

    /// The answer, if there is one by now. Time counts even where no further look was possible.
    fn answer(&self, now: Moment, wait_limit: Duration) -> Option<Result<(), Unacknowledged>> {
        match &self.pending {
            Some(pending) => pending.iter().all(|(_, end)| *end <= now).then_some(Ok(())),
            None => (self.since.after(wait_limit) <= now).then_some(Err(Unacknowledged::Unknown)),
        }
    }
}

/// Looks at the replicas for all that wait, and only while somebody does.
struct Poller {
    own: ReplicaId,
    registry: Arc<dyn ReplicaRegistry>,
    sightings: Arc<Sightings>,
    forgetter: Forgetter,
    look_limit: Duration,
    /// On waiting for a first look that succeeds.
    wait_limit: Duration,
    queue: mpsc::Receiver<Waiter>,
    waiters: Vec<Waiter>,
    last_look: Vec<Replica>,
}

impl Poller {
    /// Ends when its [`Replicas`] are dropped.
    async fn run(mut self) {
        while let Some(waiter) = self.queue.recv().await {
            self.waiters.push(waiter);
            self.look_until_nobody_waits().await;
        }
    }

    async fn look_until_nobody_waits(&mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.look().await;
            self.release();
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
        let lapsed = self.sightings.lapsed(&self.last_look, Moment::now());
        self.forgetter.forget(lapsed);
    }

    /// Looks once. Every write that waits by now was committed before the look begins.
    async fn look(&mut self) {
        while let Ok(waiter) = self.queue.try_recv() {
            self.waiters.push(waiter);
        }
        let writes: Vec<_> = self.waiters.iter().map(|waiter| waiter.write).collect();
        match timeout(self.look_limit, self.registry.replicas(&writes)).await {
            Ok(Ok(look)) => self.take_note(look, Moment::now()),
            Ok(Err(error)) => tracing::debug!("cannot look at the replicas: {error}"),
            Err(_) => tracing::debug!("cannot look at the replicas: the store does not answer"),
        }
    }

    fn take_note(&mut self, look: ReplicaSnapshot, read: Moment) {
        self.sightings.note(&look.replicas, read);
        self.last_look = look.replicas;
        self.last_look.retain(|replica| replica.id != self.own);
        for mut waiter in std::mem::take(&mut self.waiters) {
            if look.lost.contains(&waiter.write.revision) {
                // The caller may have gone meanwhile.
                let _ = waiter.done.send(Err(Unacknowledged::Lost));
            } else {
                waiter.look(&self.last_look, |replica| self.sightings.end_of(replica));
                self.waiters.push(waiter);
            }
        }
    }

    /// Answers those for whom there is an answer, and drops those who gave up.
    fn release(&mut self) {
        let now = Moment::now();
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter.answer(now, self.wait_limit) {
                Some(answer) => _ = waiter.done.send(answer),
                None if waiter.done.is_closed() => {}
                None => self.waiters.push(waiter),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::WriteId;
    use uuid::Uuid;

    const TERM: Duration = Duration::from_secs(2);

    fn replica(number: u128, renewals: i64, applied: i64) -> Replica {
        Replica {
            id: ReplicaId::from_uuid(Uuid::from_u128(number)),
            name: String::new(),
            applied: Revision::from_number(applied),
            renewals,
            term: LeaseTerm::new(TERM),
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::EARLIEST.after(Duration::from_millis(millis))
    }

    fn waiter(revision: i64) -> Waiter {
        Waiter {
            write: Position {
                revision: Revision::from_number(revision),
                write_id: WriteId::from_uuid(Uuid::from_u128(1)),
            },
            since: at(0),
            pending: None,
            done: oneshot::channel().0,
        }
    }

    /// A look at the sightings' own time.
    fn look(waiter: &mut Waiter, sightings: &Sightings, replicas: &[Replica], read: Moment) {
        sightings.note(replicas, read);
        waiter.look(replicas, |replica| sightings.end_of(replica));
    }

    #[test]
    fn a_lease_lapses_one_term_after_its_renewal_was_first_read_of() {
        let sightings = Sightings::default();
        let seen = replica(1, 7, 0);
        for read in [1000, 1500, 2900] {
            sightings.note(std::slice::from_ref(&seen), at(read));
        }
        assert_eq!(sightings.end_of(&seen), at(3000));
    }

    #[test]
    fn a_renewal_of_any_other_number_begins_a_new_term() {
        let sightings = Sightings::default();
        let (older, newer) = (replica(1, 7, 0), replica(1, 8, 0));
        sightings.note(std::slice::from_ref(&older), at(0));
        sightings.note(std::slice::from_ref(&newer), at(1000));
        assert_eq!(sightings.end_of(&newer), at(3000));
        // An answer that was overtaken on its way; then one that shows nobody.
        sightings.note(std::slice::from_ref(&older), at(1500));
        assert_eq!(sightings.end_of(&older), at(3500));
        sightings.note(&[], at(1600));
        sightings.note(std::slice::from_ref(&older), at(1700));
        assert_eq!(sightings.end_of(&older), at(3700));
    }

    #[test]
    fn a_write_waits_for_each_replica_to_apply_it_or_to_lapse() {
        let (sightings, mut waiter) = (Sightings::default(), waiter(5));
        assert_eq!(waiter.answer(at(100), TERM), None, "nobody was looked at");
        let (ahead, behind, slow) = (replica(1, 1, 5), replica(2, 1, 4), replica(3, 1, 4));
        let all = [ahead, behind, slow.clone()];
        look(&mut waiter, &sightings, &all, at(100));
        assert_eq!(waiter.answer(at(100), TERM), None);
        let caught_up = replica(2, 2, 5);
        look(&mut waiter, &sightings, &[caught_up, slow], at(200));
        assert_eq!(waiter.answer(at(2099), TERM), None);
        assert_eq!(waiter.answer(at(2100), TERM), Some(Ok(())));
    }

    /// Each of its renewals may be answered too late to be of use, and the next be sent before it
    /// has applied anything; what it holds is older than the write all the while, and so are its
    /// leases of before the write.
    #[test]
    fn a_replica_that_renews_and_renews_without_getting_further_is_waited_for_only_once() {
        let (sightings, mut waiter) = (Sightings::default(), waiter(5));
        for renewals in 1..=30_u32 {
            let stuck = replica(1, renewals.into(), 4);
            look(
                &mut waiter,
                &sightings,
                &[stuck],
                at(u64::from(renewals) * 100),
            );
        }
        assert_eq!(waiter.answer(at(2099), TERM), None);
        assert_eq!(waiter.answer(at(2100), TERM), Some(Ok(())));
    }

    #[test]
    fn a_write_that_cannot_be_looked_after_is_given_up() {
        assert_eq!(
            waiter(5).answer(at(2000), TERM),
            Some(Err(Unacknowledged::Unknown))
        );
    }
}
