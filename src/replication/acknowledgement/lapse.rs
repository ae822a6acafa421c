//! Which leases of other replicas have lapsed for certain, and the removal of those replicas.
//!
//! Promises that a lease counts as lapsed here only when it has lapsed on the replica's own clock
//! as well. Must never keep a renewal or a write waiting for a removal.

use crate::{
    model::time::Moment,
    observe::repeated_line::RepeatedLine,
    store::{Replica, ReplicaId, ReplicaRegistry},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// When this process first read of each replica's last renewal.
#[derive(Default)]
pub(super) struct ObservedRenewals(Mutex<HashMap<ReplicaId, ObservedRenewal>>);

struct ObservedRenewal {
    number: i64,
    first_read: Moment,
}

impl ObservedRenewals {
    /// Takes note of the replicas that a read of the store showed, which was answered at `read`.
    pub(super) fn observe(&self, replicas: &[Replica], read: Moment) {
        let mut observed = self.lock();
        let present: HashSet<_> = replicas.iter().map(|replica| replica.id).collect();
        observed.retain(|id, _| present.contains(id));
        for replica in replicas {
            let renewal = observed.entry(replica.id).or_insert(ObservedRenewal {
                number: replica.renewals,
                first_read: read,
            });
            // Any other number counts as new, a lower one too: answers may overtake one another.
            if renewal.number != replica.renewals {
                *renewal = ObservedRenewal {
                    number: replica.renewals,
                    first_read: read,
                };
            }
        }
    }

    /// From when on the lease of this renewal and all leases before it have lapsed for certain: the
    /// replica sent the renewal that a read showed before that read was answered.
    pub(super) fn lease_end(&self, replica: &Replica) -> Moment {
        match self.lock().get(&replica.id) {
            Some(renewal) if renewal.number == replica.renewals => {
                replica.term.lapsed_from(renewal.first_read)
            }
            // Another read has overtaken this one. A term that is counted from now is long enough.
            _ => replica.term.lapsed_from(Moment::now()),
        }
    }

    /// The replicas among these whose leases have lapsed.
    pub(super) fn lapsed(&self, replicas: &[Replica], now: Moment) -> Vec<Replica> {
        let has_lapsed = |replica: &&Replica| self.lease_end(replica) <= now;
        replicas.iter().filter(has_lapsed).cloned().collect()
    }

    /// How many replicas the last read showed.
    pub(super) fn replica_count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReplicaId, ObservedRenewal>> {
        // The map is whole at any time: nothing that is done under the lock can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes lapsed replicas from the store's record, so that writes wait for each of them only once.
///
/// Does so in a task of its own, one at a time.
#[derive(Clone)]
pub(super) struct LapsedReplicas {
    registry: Arc<dyn ReplicaRegistry>,
    at_work: Arc<tokio::sync::Mutex<()>>,
}

impl LapsedReplicas {
    pub(super) fn new(registry: Arc<dyn ReplicaRegistry>) -> Self {
        Self {
            registry,
            at_work: Arc::default(),
        }
    }

    /// Begins to remove these replicas. Does nothing while it still removes others: the next read
    /// of the store shows those that are left.
    ///
    /// This process may be among them. Then its lease has lapsed too, and its next renewal, which has
    /// another number, stands.
    pub(super) fn remove(&self, lapsed: Vec<Replica>) {
        if lapsed.is_empty() {
            return;
        }
        if let Ok(at_work) = self.at_work.clone().try_lock_owned() {
            let registry = self.registry.clone();
            tokio::spawn(async move {
                for replica in &lapsed {
                    remove(&*registry, replica).await;
                }
                drop(at_work);
            });
        }
    }
}

async fn remove(registry: &dyn ReplicaRegistry, lapsed: &Replica) {
    // Whoever may insert rows decides how many there are.
    static LAPSED: RepeatedLine = RepeatedLine::new();
    let removed = registry.remove_lapsed(lapsed).await;
    if matches!(removed, Ok(false)) {
        return;
    }
    let Some(left_out) = LAPSED.admit(Instant::now()) else {
        return;
    };
    match removed {
        Ok(_) => tracing::warn!(
            replica = lapsed.name,
            left_out,
            "a replica's lease has lapsed: it ended, hangs, or cannot reach the store"
        ),
        Err(error) => tracing::warn!(
            replica = lapsed.name,
            left_out,
            "a replica's lapsed lease stays on record, and writers wait for it: {error}"
        ),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{model::time::LeaseTerm, store::Revision};
    use std::{slice::from_ref, time::Duration};
    use uuid::Uuid;

    pub(in super::super) const TERM: Duration = Duration::from_secs(2);

    pub(in super::super) fn replica(number: u128, renewals: i64, applied: i64) -> Replica {
        Replica {
            id: ReplicaId::from_uuid(Uuid::from_u128(number)),
            name: String::new(),
            applied: Revision::from_number(applied),
            renewals,
            term: LeaseTerm::new(TERM),
        }
    }

    pub(in super::super) fn at(millis: u64) -> Moment {
        Moment::EARLIEST.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_lease_lapses_one_term_after_its_renewal_was_first_read_of() {
        let (renewals, replica) = (ObservedRenewals::default(), replica(1, 7, 0));
        for read in [1000, 1500, 2900] {
            renewals.observe(from_ref(&replica), at(read));
        }
        assert_eq!(renewals.lease_end(&replica), at(3000));
    }

    #[test]
    fn a_renewal_of_any_other_number_begins_a_new_term() {
        let renewals = ObservedRenewals::default();
        let (older, newer) = (replica(1, 7, 0), replica(1, 8, 0));
        renewals.observe(from_ref(&older), at(0));
        renewals.observe(from_ref(&newer), at(1000));
        assert_eq!(renewals.lease_end(&newer), at(3000));
        // An answer that was overtaken on its way, and then one that shows no replica.
        renewals.observe(from_ref(&older), at(1500));
        assert_eq!(renewals.lease_end(&older), at(3500));
        renewals.observe(&[], at(1600));
        renewals.observe(from_ref(&older), at(1700));
        assert_eq!(renewals.lease_end(&older), at(3700));
    }
}
