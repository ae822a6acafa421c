//! Decides which connections to evict because of too many calls.
//! Owns what a caller's share of the calls in flight is.
//! Promises that a caller within its share loses no call, whatever others do.
//! Must never count the calls of a connection by itself, but those of its caller.

use super::{CallerNumber, ConnectionView, reserved};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// When calls have to end, one in so many of the limit is freed in addition. Otherwise, each call of
/// a flood would cost a scan of all connections.
const SPARE_CALLS_SHARE: usize = 64;

/// The connections to evict because more calls are in flight than there may be; none otherwise.
///
/// Unauthenticated ones go first if all of them together have more calls than are reserved for them.
/// If that does not end enough calls, the caller with the most calls loses a connection, as often as
/// need be. Of the same caller, the connection with the most calls goes first, and of equals the
/// oldest.
pub(in crate::net::admission) fn evict_for_calls(
    connections: impl Iterator<Item = ConnectionView>,
    calls_in_flight: usize,
    max_calls: usize,
) -> Vec<ConnectionView> {
    if calls_in_flight <= max_calls {
        return Vec::new();
    }
    let (excess, spare) = (calls_in_flight - max_calls, max_calls / SPARE_CALLS_SHARE);
    let mut callers = CallsOf::each_caller(connections);
    let mut unauthenticated = callers.remove(&None).unwrap_or_default();
    let (mut evicted, mut ended) = (Vec::new(), 0);
    let reserved = reserved(max_calls);
    if unauthenticated.calls > reserved {
        // Some calls are freed in addition here too, from below the reserve.
        let surplus = unauthenticated.calls - (reserved - spare);
        while ended < surplus.min(excess + spare)
            && let Some(connection) = unauthenticated.take_busiest()
        {
            ended += connection.calls_in_flight;
            evicted.push(connection);
        }
    }
    if ended >= excess {
        return evicted;
    }
    let by_calls = callers.iter().map(|(caller, of)| (of.calls, *caller));
    let mut by_calls: BinaryHeap<_> = by_calls.collect();
    while ended < excess + spare
        && let Some((_, caller)) = by_calls.pop()
    {
        let Some(of_caller) = callers.get_mut(&caller) else {
            continue;
        };
        if let Some(connection) = of_caller.take_busiest() {
            ended += connection.calls_in_flight;
            evicted.push(connection);
            by_calls.push((of_caller.calls, caller));
        }
    }
    evicted
}

/// The connections of one caller, or all unauthenticated ones, that have calls in flight.
#[derive(Default)]
struct CallsOf {
    calls: usize,
    /// The one with the most is the last, and of equals the oldest.
    connections: Vec<ConnectionView>,
}

impl CallsOf {
    fn each_caller(
        connections: impl Iterator<Item = ConnectionView>,
    ) -> BTreeMap<Option<CallerNumber>, Self> {
        let mut callers = BTreeMap::<_, Self>::new();
        for connection in connections.filter(|connection| connection.calls_in_flight > 0) {
            let of_caller = callers.entry(connection.caller).or_default();
            of_caller.calls += connection.calls_in_flight;
            of_caller.connections.push(connection);
        }
        for of_caller in callers.values_mut() {
            let key = |it: &ConnectionView| (it.calls_in_flight, Reverse(it.number));
            of_caller.connections.sort_unstable_by_key(key);
        }
        callers
    }

    fn take_busiest(&mut self) -> Option<ConnectionView> {
        let busiest = self.connections.pop()?;
        self.calls -= busiest.calls_in_flight;
        Some(busiest)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::views::*, *};
    use proptest::prelude::*;

    #[test]
    fn calls_over_the_limit_evict_by_these_rules() {
        let unauthenticated = |number, calls| unauthenticated(number).with_calls(calls);
        let [a, b] =
            [A, B].map(|caller| move |number, calls| caller.idle(number).with_calls(calls));
        // Ten more than may be, and one more to spare. Four are reserved for the unauthenticated.
        let (calls_in_flight, max_calls) = (74, 64);
        for (rule, connections, evicted) in [
            ("without connections, none is evicted", vec![], vec![]),
            (
                "the unauthenticated one with the most calls goes first",
                vec![unauthenticated(1, 20), unauthenticated(2, 21)],
                vec![2],
            ),
            (
                "and of equals the oldest",
                vec![unauthenticated(3, 20), unauthenticated(1, 20)],
                vec![1],
            ),
            (
                "as many go as need be",
                vec![
                    unauthenticated(1, 5),
                    unauthenticated(2, 4),
                    unauthenticated(3, 3),
                    unauthenticated(4, 2),
                ],
                vec![1, 2, 3],
            ),
            (
                "ten calls are not enough: one is to spare",
                vec![unauthenticated(1, 10), unauthenticated(2, 5)],
                vec![1, 2],
            ),
            (
                "eleven are",
                vec![unauthenticated(1, 11), unauthenticated(2, 5)],
                vec![1],
            ),
            (
                "without a call, it would free nothing",
                vec![unauthenticated(1, 5), unauthenticated(2, 0)],
                vec![1],
            ),
            (
                "unauthenticated ones go before the caller with the most",
                vec![a(1, 50), unauthenticated(2, 12), unauthenticated(3, 12)],
                vec![2],
            ),
            (
                "but not for what is reserved for them",
                vec![a(1, 70), unauthenticated(2, 1), unauthenticated(3, 3)],
                vec![1],
            ),
            (
                "callers lose nothing only for the sake of what is to spare",
                vec![a(1, 30), unauthenticated(2, 10), unauthenticated(3, 3)],
                vec![2],
            ),
            (
                "the caller with the most calls loses, however few each connection has",
                vec![b(1, 30), a(2, 8), a(3, 9), a(4, 9), a(5, 9), a(6, 9)],
                vec![3, 4],
            ),
            (
                "until another has more",
                vec![b(1, 5), b(2, 7), a(3, 6), a(4, 3), a(5, 6)],
                vec![3, 2],
            ),
            (
                "as often as need be",
                vec![a(1, 1), b(2, 1), unauthenticated(3, 0)],
                vec![2, 1],
            ),
        ] {
            let chosen = evict_for_calls(connections.into_iter(), calls_in_flight, max_calls);
            let chosen: Vec<_> = chosen.iter().map(|connection| connection.number).collect();
            assert_eq!(chosen, evicted, "{rule}");
        }
    }

    #[test]
    fn within_the_limit_no_connection_is_evicted_or_looked_at() {
        for calls_in_flight in [0, 63, 64] {
            let unseen = std::iter::from_fn(|| panic!("it looks"));
            assert!(evict_for_calls(unseen, calls_in_flight, 64).is_empty());
        }
    }

    fn calls(connections: &[ConnectionView], caller: Option<CallerNumber>) -> usize {
        let of_caller = connections.iter().filter(|it| it.caller == caller);
        of_caller.map(|it| it.calls_in_flight).sum()
    }

    proptest! {
        #[test]
        fn a_caller_with_no_more_than_its_share_of_the_calls_loses_none(
            connections in any_connections(),
            max_calls in 1..64_usize,
        ) {
            let total = connections.iter().map(|it| it.calls_in_flight).sum();
            let evicted = evict_for_calls(connections.iter().copied(), total, max_calls);
            let ended: usize = evicted.iter().map(|it| it.calls_in_flight).sum();
            prop_assert!(total - ended <= max_calls);
            let share = (max_calls - reserved(max_calls)) / 3;
            for caller in [1, 2, 3].map(|number| Some(CallerNumber(number))) {
                // A connection with many calls ends whole.
                let fair = share.saturating_sub(max_calls / SPARE_CALLS_SHARE);
                if calls(&connections, caller) < fair {
                    prop_assert_eq!(calls(&evicted, caller), 0, "{:?}", caller);
                }
            }
        }
    }
}
