//! Decides whose slot a new connection gets.
//! Owns what a caller's share of the slots is.
//! Promises that a caller over its share gives up a slot before all other callers.
//! Must never leave fewer slots to unauthenticated connections than are reserved for them, while a
//! caller has more than one.

use super::{CallerNumber, ConnectionView};
use std::time::Duration;

/// Slots are short for this long after a new connection found none free. Meanwhile the shares of
/// callers bind. Otherwise, a caller over its share would soon take again each slot that it gives up.
pub(in crate::net::admission) const SHORTAGE: Duration = Duration::from_secs(60);

/// Who holds the slots.
#[derive(Debug, Clone, Copy)]
pub(in crate::net::admission) struct Holders {
    /// How many slots unauthenticated connections have, or will have once they are free.
    pub(in crate::net::admission) unauthenticated: usize,
    /// How many are reserved for such connections.
    pub(in crate::net::admission) reserved_slots: usize,
    /// The caller with the most connections, and how many these are.
    pub(in crate::net::admission) largest: Option<(CallerNumber, usize)>,
}

impl Holders {
    fn is_reserve_taken(&self) -> bool {
        self.unauthenticated < self.reserved_slots
    }

    /// Where all slots are taken, the caller that has to give up one before all others. It is the one
    /// with the most, if callers have taken reserved slots. To take the next slot from whoever has
    /// the most is max-min fair. Each caller may keep one.
    pub(in crate::net::admission) fn over_share(&self) -> Option<CallerNumber> {
        let (caller, connections) = self.largest?;
        (connections > 1 && self.is_reserve_taken()).then_some(caller)
    }
}

/// The connection to evict so that a new one gets its slot, or `None`: then the new one is refused.
///
/// It is the oldest unauthenticated one, so that each has as long as possible to authenticate. But if
/// callers have taken reserved slots, a caller has to give up one. If a caller is over its share, it
/// gives up the connection on which it has not called for longest. Otherwise, the connection goes
/// that has been idle for longest. If there is none of the preferred kind, one of the other kind
/// goes.
///
/// The candidates need not be all connections. It is enough to show the oldest unauthenticated one,
/// and of the caller over its share, or else of all callers, the one without a call for longest.
pub(in crate::net::admission) fn evict_for_new_connection(
    candidates: &[ConnectionView],
    now: Duration,
    holders: &Holders,
) -> Option<ConnectionView> {
    let candidates = candidates.iter().copied();
    let oldest_unauthenticated = candidates
        .clone()
        .filter(|connection| connection.caller.is_none())
        .min_by_key(|connection| connection.number);
    let over_share = holders.over_share();
    let of_caller = candidates
        .filter(|connection| match over_share {
            Some(_) => connection.caller == over_share,
            None => connection.is_idle(now),
        })
        .min_by_key(ConnectionView::last_call_key);
    if holders.is_reserve_taken() {
        of_caller.or(oldest_unauthenticated)
    } else {
        oldest_unauthenticated.or(of_caller)
    }
}

/// The connection to evict when a new one of a caller over its share is authenticated: the caller's
/// longest idle one, or the new one. So a caller with more clients than slots keeps the connections
/// that work.
pub(in crate::net::admission) fn evict_for_share(
    new: ConnectionView,
    longest_uncalled: ConnectionView,
    now: Duration,
) -> ConnectionView {
    if longest_uncalled.is_idle(now) {
        longest_uncalled
    } else {
        new
    }
}

#[cfg(test)]
mod tests {
    use super::{super::views::*, *};
    use proptest::prelude::*;

    fn holders(connections: &[ConnectionView], reserved_slots: usize) -> Holders {
        let count = |caller| connections.iter().filter(|it| it.caller == caller).count();
        let callers = connections.iter().filter_map(|it| it.caller);
        let sizes = callers.map(|caller| (caller, count(Some(caller))));
        Holders {
            unauthenticated: count(None),
            reserved_slots,
            largest: sizes.max_by_key(|(caller, size)| (*size, *caller)),
        }
    }

    fn number(connection: Option<ConnectionView>) -> Option<u64> {
        connection.map(|connection| connection.number)
    }

    #[test]
    fn a_new_connection_evicts_by_these_rules() {
        let reserved_slots = 2;
        for (rule, connections, evicted) in [
            ("without connections, none is evicted", vec![], None),
            (
                "the oldest unauthenticated one goes first",
                vec![unauthenticated(7), unauthenticated(3), unauthenticated(5)],
                Some(3),
            ),
            (
                "it goes before an idle one, where the reserve is not taken",
                vec![
                    A.uncalled_for(1, 5000),
                    unauthenticated(2),
                    unauthenticated(3),
                ],
                Some(2),
            ),
            (
                "and before one of a caller with far more",
                vec![
                    A.idle(1),
                    A.idle(2),
                    A.idle(3),
                    unauthenticated(4),
                    unauthenticated(5),
                ],
                Some(4),
            ),
            (
                "where it is taken, the caller with the most gives up one",
                vec![B.idle(1), B.idle(2), A.idle(3), A.idle(4), A.idle(5)],
                Some(3),
            ),
            (
                "even if all of its connections are busy and another's are idle",
                vec![B.idle(1), A.busy(2), A.busy(3), unauthenticated(4)],
                Some(2),
            ),
            (
                "namely the one without a call for longest",
                vec![A.busy(1), A.uncalled_for(2, 999_000), A.idle(3)],
                Some(2),
            ),
            (
                "and of equals the oldest",
                vec![A.busy(4), A.busy(2), A.busy(3)],
                Some(2),
            ),
            (
                "where each caller has one, the one that has been idle for longest goes",
                vec![A.idle(1), B.uncalled_for(2, 2000), unauthenticated(3)],
                Some(2),
            ),
            (
                "where none of these is idle, the unauthenticated one goes",
                vec![A.busy(1), unauthenticated(2), B.busy(3)],
                Some(2),
            ),
            (
                "or the new one",
                vec![A.busy(1), B.busy(2).with_calls(100)],
                None,
            ),
        ] {
            let holders = holders(&connections, reserved_slots);
            let chosen = evict_for_new_connection(&connections, NOW, &holders);
            assert_eq!(number(chosen), evicted, "{rule}");
        }
    }

    #[test]
    fn a_caller_at_its_share_keeps_the_connections_that_work() {
        let new = A.uncalled_for(9, 0);
        assert_eq!(evict_for_share(new, A.busy(1), NOW), new);
        assert_eq!(evict_for_share(new, new, NOW), new);
        assert_eq!(evict_for_share(new, A.idle(1), NOW), A.idle(1));
    }

    proptest! {
        #[test]
        fn two_candidates_stand_for_all_connections(
            connections in any_connections(),
            reserved_slots in 0..20_usize,
        ) {
            let holders = holders(&connections, reserved_slots);
            let oldest = connections.iter().find(|it| it.caller.is_none());
            let over_share = holders.over_share();
            let of_callers = connections.iter().filter(|it| it.caller.is_some());
            let uncalled = of_callers
                .filter(|it| over_share.is_none() || it.caller == over_share)
                .min_by_key(|it| it.last_call_key());
            let two: Vec<_> = oldest.into_iter().chain(uncalled).copied().collect();
            prop_assert_eq!(
                evict_for_new_connection(&two, NOW, &holders),
                evict_for_new_connection(&connections, NOW, &holders)
            );
        }
    }
}
