//! The policy of acknowledgement: for which replicas a write waits, and when it is answered.
//!
//! Everything here is a function of its arguments: it reads neither a clock nor the store.

use super::Unacknowledged;
use crate::{
    model::time::Moment,
    store::{Position, Replica, ReplicaId},
};
use std::{collections::HashSet, time::Duration};

/// A committed write that waits for the replicas.
pub(super) struct PendingWrite {
    position: Position,
    since: Moment,
    /// The replicas that it waits for, and until when at the longest. They are fixed at the first
    /// read after its commit: a renewal that is not on record by then must read the write, so only
    /// leases of replicas that are on record by then can be older than the write.
    behind: Option<Vec<(ReplicaId, Moment)>>,
}

impl PendingWrite {
    pub(super) fn new(position: Position, since: Moment) -> Self {
        Self {
            position,
            since,
            behind: None,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Takes note of a read of the replicas that began after the write's commit. `lease_end` says
    /// from when on all leases of a replica up to this renewal have lapsed.
    pub(super) fn observe(&mut self, replicas: &[Replica], lease_end: impl Fn(&Replica) -> Moment) {
        let is_behind = |replica: &&Replica| replica.applied < self.position.revision;
        match &mut self.behind {
            None => {
                let behind = replicas.iter().filter(is_behind);
                self.behind = Some(behind.map(|each| (each.id, lease_end(each))).collect());
            }
            Some(behind) => {
                let still_behind = replicas.iter().filter(is_behind);
                let still_behind: HashSet<_> = still_behind.map(|replica| replica.id).collect();
                behind.retain(|(id, _)| still_behind.contains(id));
            }
        }
    }

    /// The answer, if there is one by now. Leases lapse with time, even where no further read of
    /// the replicas succeeds. `read_limit` bounds the wait for the first one.
    pub(super) fn answer(
        &self,
        now: Moment,
        read_limit: Duration,
    ) -> Option<Result<(), Unacknowledged>> {
        match &self.behind {
            Some(behind) => behind.iter().all(|(_, end)| *end <= now).then_some(Ok(())),
            None => (self.since.after(read_limit) <= now).then_some(Err(Unacknowledged::Unknown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::lapse::{
            ObservedRenewals,
            tests::{TERM, at, replica},
        },
        *,
    };
    use crate::store::{Revision, WriteId};
    use uuid::Uuid;

    fn write(revision: i64) -> PendingWrite {
        let position = Position {
            revision: Revision::from_number(revision),
            write_id: WriteId::from_uuid(Uuid::from_u128(1)),
        };
        PendingWrite::new(position, at(0))
    }

    /// A read of the replicas that is answered at `read`.
    fn observe(
        write: &mut PendingWrite,
        renewals: &ObservedRenewals,
        replicas: &[Replica],
        read: Moment,
    ) {
        renewals.observe(replicas, read);
        write.observe(replicas, |replica| renewals.lease_end(replica));
    }

    #[test]
    fn a_write_waits_for_each_replica_to_apply_it_or_to_lapse() {
        let (renewals, mut write) = (ObservedRenewals::default(), write(5));
        assert_eq!(write.answer(at(100), TERM), None, "no replica was read");
        let (ahead, behind, slow) = (replica(1, 1, 5), replica(2, 1, 4), replica(3, 1, 4));
        let all = [ahead, behind, slow.clone()];
        observe(&mut write, &renewals, &all, at(100));
        assert_eq!(write.answer(at(100), TERM), None);
        let caught_up = replica(2, 2, 5);
        observe(&mut write, &renewals, &[caught_up, slow], at(200));
        assert_eq!(write.answer(at(2099), TERM), None);
        assert_eq!(write.answer(at(2100), TERM), Some(Ok(())));
    }

    /// Each renewal of such a replica may be answered too late to be of use, and the next one be
    /// sent before it has applied anything. What it holds is older than the write all the while,
    /// and so are the leases that it was granted before the write.
    #[test]
    fn a_replica_that_renews_and_renews_without_getting_further_is_waited_for_only_once() {
        let (renewals, mut write) = (ObservedRenewals::default(), write(5));
        for number in 1..=30_u32 {
            let stuck = replica(1, number.into(), 4);
            let read = at(u64::from(number) * 100);
            observe(&mut write, &renewals, &[stuck], read);
        }
        assert_eq!(write.answer(at(2099), TERM), None);
        assert_eq!(write.answer(at(2100), TERM), Some(Ok(())));
    }

    #[test]
    fn a_write_is_given_up_if_the_replicas_cannot_be_read() {
        assert_eq!(write(5).answer(at(1999), TERM), None);
        assert_eq!(
            write(5).answer(at(2000), TERM),
            Some(Err(Unacknowledged::Unknown))
        );
    }
}
