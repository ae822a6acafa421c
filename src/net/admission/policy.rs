//! Decides which connections to evict: for a new connection, for a caller's share, and for too many
//! calls.
//! Owns these rules. It sees connections as plain values, changes nothing and reads no clock.
//! Promises that whoever holds the most gives up the next, so that no client takes another's share.
//! Must never take a caller's only connection for a new one while it is not idle.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

/// An authenticated connection is idle when no caller has called on it for this long.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// One slot in so many is reserved for unauthenticated connections. With fewer slots, new connections
/// would evict one another before they can authenticate. As large a part of the calls is reserved for
/// them, so that probes are served beside callers.
const UNAUTHENTICATED_SHARE: usize = 16;

/// When calls have to end, one in so many of the limit is freed in addition. Otherwise, each call of
/// a flood would cost a scan of all connections.
const SPARE_CALLS_SHARE: usize = 64;

/// Slots are short for this long after a new connection found none free. Meanwhile the shares of
/// callers bind. Otherwise, a caller over its share would soon take again each slot that it gives up.
pub(super) const SHORTAGE: Duration = Duration::from_secs(60);

/// Stands for a caller as long as that caller has connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CallerNumber(pub(super) u64);

/// What the policy knows of a connection. An evicted connection is never among those it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionView {
    /// Connections are numbered in the order in which they got their slots.
    pub(super) number: u64,
    /// `None` if the connection is unauthenticated.
    pub(super) caller: Option<CallerNumber>,
    /// When a caller last called on it, on the clock that `now` is on.
    pub(super) last_called: Duration,
    pub(super) calls_in_flight: usize,
}

impl ConnectionView {
    fn is_idle(&self, now: Duration) -> bool {
        self.caller.is_some() && now.saturating_sub(self.last_called) >= IDLE_AFTER
    }

    /// The connection that was not called on for longest has the least of these keys.
    pub(super) fn last_call_key(&self) -> (Duration, u64) {
        (self.last_called, self.number)
    }
}

/// Who holds the slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holders {
    /// How many slots unauthenticated connections have, or will have once they are free.
    pub(super) unauthenticated: usize,
    /// How many are reserved for such connections.
    pub(super) reserved_slots: usize,
    /// The caller with the most connections, and how many these are.
    pub(super) largest: Option<(CallerNumber, usize)>,
}

impl Holders {
    fn is_reserve_taken(&self) -> bool {
        self.unauthenticated < self.reserved_slots
    }

    /// Where all slots are taken, the caller that has to give up one before all others. It is the one
    /// with the most, if callers have taken reserved slots. To take the next slot from whoever has
    /// the most is max-min fair. Each caller may keep one.
    pub(super) fn over_share(&self) -> Option<CallerNumber> {
        let (caller, connections) = self.largest?;
        (connections > 1 && self.is_reserve_taken()).then_some(caller)
    }
}

/// How many of the slots, or of the calls, are reserved for unauthenticated connections.
pub(super) fn reserved(limit: usize) -> usize {
    limit.div_ceil(UNAUTHENTICATED_SHARE)
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
pub(super) fn evict_for_new_connection(
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
pub(super) fn evict_for_share(
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

/// The connections to evict because more calls are in flight than there may be; none otherwise.
///
/// Unauthenticated ones go first if all of them together have more calls than are reserved for them.
/// If that does not end enough calls, the caller with the most calls loses a connection, as often as
/// need be. Of the same caller, the connection with the most calls goes first, and of equals the
/// oldest.
pub(super) fn evict_for_calls(
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
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const NOW: Duration = Duration::from_secs(100);
    const A: CallerNumber = CallerNumber(1);
    const B: CallerNumber = CallerNumber(2);

    fn unauthenticated(number: u64) -> ConnectionView {
        ConnectionView {
            number,
            caller: None,
            last_called: Duration::ZERO,
            calls_in_flight: 0,
        }
    }

    impl CallerNumber {
        fn uncalled_for(self, number: u64, millis: u64) -> ConnectionView {
            ConnectionView {
                caller: Some(self),
                last_called: NOW.saturating_sub(Duration::from_millis(millis)),
                ..unauthenticated(number)
            }
        }

        fn busy(self, number: u64) -> ConnectionView {
            self.uncalled_for(number, 999)
        }

        fn idle(self, number: u64) -> ConnectionView {
            self.uncalled_for(number, 1000)
        }
    }

    impl ConnectionView {
        fn with_calls(self, calls_in_flight: usize) -> Self {
            Self {
                calls_in_flight,
                ..self
            }
        }
    }

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

    #[test]
    fn a_sixteenth_is_reserved_and_at_least_one() {
        for (limit, least) in [(1, 1), (16, 1), (17, 2), (32, 2), (4096, 256)] {
            assert_eq!(reserved(limit), least);
        }
    }

    fn any_connection(number: u64) -> impl Strategy<Value = ConnectionView> {
        (0..4_u64, 0..2000_u64, 0..9_usize).prop_map(move |(caller, millis, calls)| {
            let of_caller = CallerNumber(caller).uncalled_for(number, millis);
            let connection = match caller {
                0 => unauthenticated(number),
                _ => of_caller,
            };
            connection.with_calls(calls)
        })
    }

    fn any_connections() -> impl Strategy<Value = Vec<ConnectionView>> {
        vec(Just(()), 0..20).prop_flat_map(|connections| {
            let numbers = 0..connections.len() as u64;
            numbers.map(any_connection).collect::<Vec<_>>()
        })
    }

    fn calls(connections: &[ConnectionView], caller: Option<CallerNumber>) -> usize {
        let of_caller = connections.iter().filter(|it| it.caller == caller);
        of_caller.map(|it| it.calls_in_flight).sum()
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
