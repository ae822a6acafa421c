//! Owns what this process knows of the replicas: what each has applied, whose lease has lapsed.
//! Promises that a write is acknowledged only when no replica can answer without it any more.
//! Must never judge a lease by a clock other than this process's own.

use crate::{
    lease::{LeaseTerm, Moment},
    store::{KeyStore, Replica, ReplicaId, Revision},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Writes that may wait to be looked at; more wait to get in line.
const QUEUE_LEN: usize = 1024;

/// Between the first two looks. Replicas in good health need a few milliseconds, and nobody shall
/// wait much longer than they need; so the pauses grow slowly.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// Between two looks in the long run, while a lease is waited for to lapse.
const LAST_PAUSE: Duration = Duration::from_millis(32);

/// The other replicas, as this one sees them.
pub struct Replicas {
    term: LeaseTerm,
    sightings: Arc<Sightings>,
    queue: mpsc::Sender<Waiter>,
}

/// The write stands, but it could not be found out whether every replica has applied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it could not be found out whether every replica has applied the write")]
pub struct Unacknowledged;

impl Replicas {
    /// Knows of none yet. `own` is this process, `term` that of its own lease. Call it on a tokio
    /// runtime.
    #[must_use]
    pub fn new(store: Arc<dyn KeyStore>, own: ReplicaId, term: LeaseTerm) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN);
        let sightings = Arc::new(Sightings {
            own,
            store,
            by_replica: Mutex::default(),
        });
        let poller = Poller {
            sightings: sightings.clone(),
            patience: term.length(),
            queue: waiting,
            waiters: Vec::new(),
            last_read: Vec::new(),
        };
        tokio::spawn(poller.run());
        Self {
            term,
            sightings,
            queue,
        }
    }

    /// Returns when every replica has applied the write of this revision, or has no lease any more
    /// that is older than the write. The write must be committed and in this process's keyring.
    ///
    /// That takes at most about one lease after the first look at the replicas. May be dropped at
    /// any time.
    pub async fn acknowledged(&self, revision: Revision) -> Result<(), Unacknowledged> {
        let (done, acknowledged) = oneshot::channel();
        let waiter = Waiter {
            revision,
            has_read: false,
            done,
        };
        let wait = async {
            self.queue.send(waiter).await.map_err(|_| Unacknowledged)?;
            acknowledged.await.map_err(|_| Unacknowledged)
        };
        // Twice as long as it takes while the store answers.
        let limit = 2 * self.term.length();
        timeout(limit, wait).await.unwrap_or(Err(Unacknowledged))
    }

    /// Takes note of what a read of the store showed that was answered at `read`.
    pub async fn saw(&self, replicas: &[Replica], read: Moment) {
        self.sightings.note(replicas, read);
        self.sightings.forget_lapsed(replicas).await;
    }
}

/// When this process first read of each replica's last renewal.
struct Sightings {
    own: ReplicaId,
    store: Arc<dyn KeyStore>,
    by_replica: Mutex<HashMap<ReplicaId, Sighting>>,
}

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

    /// Whether the lease of this renewal has lapsed for certain: the call that a read showed was
    /// sent before the read was answered.
    fn has_lapsed(&self, replica: &Replica, now: Moment) -> bool {
        self.lock().get(&replica.id).is_some_and(|sighting| {
            sighting.renewals == replica.renewals
                && replica.term.lapsed_from(sighting.first_read) <= now
        })
    }

    /// Whether this replica cannot answer without the write of this revision, given that it was
    /// read after the write's commit: its next lease can only be one that has read the write.
    fn has_acknowledged(&self, replica: &Replica, revision: Revision, now: Moment) -> bool {
        replica.id == self.own || replica.applied >= revision || self.has_lapsed(replica, now)
    }

    /// A replica that is gone shall be waited for only once.
    async fn forget_lapsed(&self, replicas: &[Replica]) {
        let now = Moment::now();
        for replica in replicas {
            if replica.id == self.own || !self.has_lapsed(replica, now) {
                continue;
            }
            match self.store.forget(replica).await {
                Ok(true) => tracing::warn!(
                    replica = replica.name,
                    "a replica's lease has lapsed: it ended, hangs, or cannot reach the store"
                ),
                Ok(false) => {}
                Err(error) => tracing::debug!("a lapsed lease stays on record: {error}"),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ReplicaId, Sighting>> {
        // Whole at any time: nothing that is done under the lock can panic half way.
        self.by_replica
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that waits for the replicas.
struct Waiter {
    revision: Revision,
    /// Whether the replicas were read since its commit.
    has_read: bool,
    done: oneshot::Sender<()>,
}

/// Looks at the replicas for all that wait, and only while somebody does.
struct Poller {
    sightings: Arc<Sightings>,
    /// Limit on one look.
    patience: Duration,
    queue: mpsc::Receiver<Waiter>,
    waiters: Vec<Waiter>,
    last_read: Vec<Replica>,
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
        self.sightings.forget_lapsed(&self.last_read).await;
    }

    /// Reads the replicas. Every write that waits by now was committed before the read begins.
    async fn look(&mut self) {
        while let Ok(waiter) = self.queue.try_recv() {
            self.waiters.push(waiter);
        }
        let read = timeout(self.patience, self.sightings.store.replicas()).await;
        match read {
            Ok(Ok(replicas)) => {
                self.sightings.note(&replicas, Moment::now());
                self.last_read = replicas;
                for waiter in &mut self.waiters {
                    waiter.has_read = true;
                }
            }
            Ok(Err(error)) => tracing::debug!("cannot look at the replicas: {error}"),
            Err(_) => tracing::debug!("cannot look at the replicas: the store does not answer"),
        }
    }

    /// Lets those go for whom every replica has acknowledged, and those who gave up. Time counts
    /// even where the store could not be read again.
    fn release(&mut self) {
        let now = Moment::now();
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            let acknowledged = waiter.has_read
                && self.last_read.iter().all(|replica| {
                    self.sightings
                        .has_acknowledged(replica, waiter.revision, now)
                });
            if acknowledged {
                // The caller may have gone meanwhile.
                let _ = waiter.done.send(());
            } else if !waiter.done.is_closed() {
                self.waiters.push(waiter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::sqlite::SqliteStore, token::Digester};
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

    /// Replica 0 is the observer itself.
    fn sightings(directory: &tempfile::TempDir) -> Sightings {
        let store = SqliteStore::open(&directory.path().join("keys.db"), &Digester::new(None));
        Sightings {
            own: replica(0, 0, 0).id,
            store: Arc::new(store.expect("it opens")),
            by_replica: Mutex::default(),
        }
    }

    #[test]
    fn a_lease_lapses_one_term_after_its_renewal_was_first_read_of() {
        let directory = tempfile::tempdir().expect("a directory");
        let sightings = sightings(&directory);
        let seen = replica(1, 7, 0);
        assert!(
            !sightings.has_lapsed(&seen, Moment::LATEST),
            "never read of"
        );
        for read in [1000, 1500, 2900] {
            sightings.note(std::slice::from_ref(&seen), at(read));
        }
        assert!(!sightings.has_lapsed(&seen, at(2999)));
        assert!(sightings.has_lapsed(&seen, at(3000)));
    }

    #[test]
    fn a_renewal_of_any_other_number_begins_a_new_term() {
        let directory = tempfile::tempdir().expect("a directory");
        let sightings = sightings(&directory);
        let (older, newer) = (replica(1, 7, 0), replica(1, 8, 0));
        sightings.note(std::slice::from_ref(&older), at(0));
        sightings.note(std::slice::from_ref(&newer), at(1000));
        assert!(!sightings.has_lapsed(&newer, at(2999)));
        // An answer that was overtaken on its way; then one that shows nobody.
        sightings.note(std::slice::from_ref(&older), at(1500));
        assert!(!sightings.has_lapsed(&older, at(3499)));
        sightings.note(&[], at(1600));
        sightings.note(std::slice::from_ref(&older), at(1700));
        assert!(!sightings.has_lapsed(&older, at(3699)));
        assert!(sightings.has_lapsed(&older, at(3700)));
    }

    #[test]
    fn a_write_is_acknowledged_by_having_applied_it_by_lapse_or_by_being_its_writer() {
        let directory = tempfile::tempdir().expect("a directory");
        let sightings = sightings(&directory);
        let (own, ahead, behind) = (replica(0, 1, 0), replica(1, 1, 5), replica(2, 1, 4));
        sightings.note(&[own.clone(), ahead.clone(), behind.clone()], at(0));
        let has_acknowledged =
            |replica, now| sightings.has_acknowledged(replica, Revision::from_number(5), now);
        assert!(has_acknowledged(&own, at(0)));
        assert!(has_acknowledged(&ahead, at(0)));
        assert!(!has_acknowledged(&behind, at(1999)));
        assert!(has_acknowledged(&behind, at(2000)));
    }
}
