//! Decides which connections to evict: for a new connection, and for too many calls.
//! Owns these rules. It sees connections as plain values, changes nothing and reads no clock.
//! Promises that unauthenticated clients cannot displace an authenticated one that is not idle.
//! Must never prefer a new connection to an authenticated one that is not idle.

use std::{cmp::Reverse, time::Duration};

/// An authenticated connection is idle when its client has sent nothing for this long.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// One slot in so many is reserved for unauthenticated connections, as long as there are idle
/// authenticated ones to evict instead. With fewer slots, new connections would evict one another
/// before they can authenticate.
const UNAUTHENTICATED_SHARE: usize = 16;

/// When calls have to end, one in so many of the limit is freed in addition. Otherwise, each call of
/// a flood would cost a scan of all connections.
const SPARE_CALLS_SHARE: usize = 64;

/// What the policy knows of a connection. An evicted connection is never among those it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionView {
    /// Connections are numbered in the order in which they got their slots.
    pub(super) number: u64,
    pub(super) is_authenticated: bool,
    /// When the client last sent something, on the clock that `now` is on.
    pub(super) last_heard: Duration,
    pub(super) calls_in_flight: usize,
}

impl ConnectionView {
    fn is_idle(&self, now: Duration) -> bool {
        self.is_authenticated && now.saturating_sub(self.last_heard) >= IDLE_AFTER
    }
}

/// How many slots are reserved for unauthenticated connections.
pub(super) fn reserved_slots(max_connections: usize) -> usize {
    max_connections.div_ceil(UNAUTHENTICATED_SHARE)
}

/// The connection to evict so that a new one gets its slot, or `None`: then the new one is refused.
///
/// It is the oldest unauthenticated one, so that each has as long as possible to authenticate. But if
/// there are fewer `unauthenticated` ones than reserved slots, it is the authenticated one that has
/// been idle for longest. If there is none of the preferred kind, one of the other kind goes.
///
/// The candidates need not be all connections. The oldest unauthenticated one and the one that has
/// been idle for longest are enough.
pub(super) fn evict_for_new_connection(
    candidates: &[ConnectionView],
    now: Duration,
    unauthenticated: usize,
    reserved_slots: usize,
) -> Option<u64> {
    let oldest_unauthenticated = candidates
        .iter()
        .filter(|connection| !connection.is_authenticated)
        .map(|connection| connection.number)
        .min();
    let longest_idle = longest_idle(candidates.iter().copied(), now, 1);
    let longest_idle = longest_idle.first().map(|connection| connection.number);
    if unauthenticated < reserved_slots {
        longest_idle.or(oldest_unauthenticated)
    } else {
        oldest_unauthenticated.or(longest_idle)
    }
}

/// The authenticated connections that are idle, the one that has been so for longest first.
pub(super) fn longest_idle(
    connections: impl Iterator<Item = ConnectionView>,
    now: Duration,
    at_most: usize,
) -> Vec<ConnectionView> {
    let mut idle: Vec<_> = connections
        .filter(|connection| connection.is_idle(now))
        .collect();
    idle.sort_unstable_by_key(|connection| (connection.last_heard, connection.number));
    idle.truncate(at_most);
    idle
}

/// The connections to evict because more calls are in flight than there may be; none otherwise.
///
/// These are the unauthenticated ones with the most calls, and of equals the oldest. Only if no
/// unauthenticated one has any call, the authenticated one with the most goes.
pub(super) fn evict_for_calls(
    connections: impl Iterator<Item = ConnectionView>,
    calls_in_flight: usize,
    max_calls: usize,
) -> Vec<u64> {
    if calls_in_flight <= max_calls {
        return Vec::new();
    }
    let calls_to_end = calls_in_flight - max_calls + max_calls / SPARE_CALLS_SHARE;
    let mut busiest: Vec<_> = connections
        .filter(|connection| connection.calls_in_flight > 0)
        .collect();
    busiest.sort_unstable_by_key(|connection| {
        let calls = Reverse(connection.calls_in_flight);
        (connection.is_authenticated, calls, connection.number)
    });
    let mut ended = 0;
    let evicted = busiest
        .iter()
        .enumerate()
        .take_while(|(index, connection)| {
            let is_needed = ended < calls_to_end;
            ended += connection.calls_in_flight;
            is_needed && (*index == 0 || !connection.is_authenticated)
        });
    evicted.map(|(_, connection)| connection.number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const NOW: Duration = Duration::from_secs(100);

    fn unauthenticated(number: u64) -> ConnectionView {
        ConnectionView {
            number,
            is_authenticated: false,
            last_heard: NOW,
            calls_in_flight: 0,
        }
    }

    fn authenticated(number: u64, silent_for_millis: u64) -> ConnectionView {
        ConnectionView {
            is_authenticated: true,
            last_heard: NOW.saturating_sub(Duration::from_millis(silent_for_millis)),
            ..unauthenticated(number)
        }
    }

    impl ConnectionView {
        fn with_calls(self, calls_in_flight: usize) -> Self {
            Self {
                calls_in_flight,
                ..self
            }
        }

        fn silent_for(self, time: Duration) -> Self {
            let last_heard = NOW.saturating_sub(time);
            Self { last_heard, ..self }
        }
    }

    #[test]
    fn a_new_connection_evicts_by_these_rules() {
        let busy = |number| authenticated(number, 999);
        let idle = |number| authenticated(number, 1000);
        let idle_longer = |number| authenticated(number, 5000);
        let reserved_slots = 2;
        for (rule, connections, evicted) in [
            ("without connections, none is evicted", vec![], None),
            (
                "the oldest unauthenticated one goes first",
                vec![unauthenticated(7), unauthenticated(3), unauthenticated(5)],
                Some(3),
            ),
            (
                "an unauthenticated one has to go however lately it spoke",
                vec![
                    unauthenticated(1),
                    unauthenticated(2).silent_for(Duration::from_secs(50)),
                ],
                Some(1),
            ),
            (
                "it goes before an idle one, where reserved slots are filled",
                vec![idle_longer(1), unauthenticated(2), unauthenticated(3)],
                Some(2),
            ),
            (
                "where they are not, the idle one goes",
                vec![unauthenticated(1), idle(2)],
                Some(2),
            ),
            (
                "the one that has been idle for longest goes first",
                vec![idle(1), idle_longer(2), authenticated(3, 2000)],
                Some(2),
            ),
            (
                "and of equals the oldest",
                vec![idle_longer(4), idle_longer(2), idle(1)],
                Some(2),
            ),
            (
                "where none is idle, reserved slots protect none",
                vec![busy(1), unauthenticated(2), busy(3)],
                Some(2),
            ),
            (
                "an authenticated one that is not idle never goes",
                vec![busy(1), busy(2).with_calls(100), authenticated(3, 0)],
                None,
            ),
        ] {
            let count = connections.iter().filter(|it| !it.is_authenticated).count();
            let chosen = evict_for_new_connection(&connections, NOW, count, reserved_slots);
            assert_eq!(chosen, evicted, "{rule}");
        }
    }

    #[test]
    fn calls_over_the_limit_evict_by_these_rules() {
        let unauthenticated = |number, calls| unauthenticated(number).with_calls(calls);
        let authenticated = |number, calls| authenticated(number, 5000).with_calls(calls);
        // Ten more than may be, and one more to spare.
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
                "an authenticated one is spared while an unauthenticated one has any call",
                vec![authenticated(1, 70), unauthenticated(2, 1)],
                vec![2],
            ),
            (
                "if none has any, the busiest authenticated one goes",
                vec![
                    authenticated(1, 8),
                    authenticated(2, 9),
                    unauthenticated(3, 0),
                ],
                vec![2],
            ),
            (
                "and only that one, even if that is not enough",
                vec![authenticated(1, 1), authenticated(2, 1)],
                vec![1],
            ),
        ] {
            let chosen = evict_for_calls(connections.into_iter(), calls_in_flight, max_calls);
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

    #[test]
    fn a_sixteenth_of_the_slots_is_reserved_and_at_least_one() {
        for (max_connections, reserved) in [(1, 1), (16, 1), (17, 2), (32, 2), (4096, 256)] {
            assert_eq!(reserved_slots(max_connections), reserved);
        }
    }

    fn any_connection(number: u64) -> impl Strategy<Value = ConnectionView> {
        (any::<bool>(), 0..2000_u64).prop_map(move |(is_authenticated, silent_for_millis)| {
            ConnectionView {
                is_authenticated,
                ..authenticated(number, silent_for_millis)
            }
        })
    }

    fn any_connections() -> impl Strategy<Value = Vec<ConnectionView>> {
        vec(Just(()), 0..20).prop_flat_map(|connections| {
            let numbers = 0..connections.len() as u64;
            numbers.map(any_connection).collect::<Vec<_>>()
        })
    }

    proptest! {
        #[test]
        fn two_candidates_stand_for_all_connections(
            connections in any_connections(),
            reserved_slots in 0..20_usize,
        ) {
            let is_unauthenticated = |it: &&ConnectionView| !it.is_authenticated;
            let oldest = connections.iter().find(is_unauthenticated).copied();
            let idle = longest_idle(connections.iter().copied(), NOW, 1);
            let two: Vec<_> = oldest.into_iter().chain(idle).collect();
            let count = connections.iter().filter(is_unauthenticated).count();
            prop_assert_eq!(
                evict_for_new_connection(&two, NOW, count, reserved_slots),
                evict_for_new_connection(&connections, NOW, count, reserved_slots)
            );
        }
    }
}
