//! Decides which connections to evict: for a new connection, for a caller's share (`slots`), for too many
//! calls (`calls`), and at the end of the process (`drain`).
//! Owns these rules. It sees connections as plain values, changes nothing and reads no clock.
//! Promises that whoever holds the most gives up the next, so that no client takes another's share.
//! Must never take a caller's only connection for a new one while it is not idle.

mod calls;
mod drain;
mod slots;

pub(super) use self::{
    calls::evict_for_calls,
    drain::{Awaited, STEP, patience},
    slots::{Holders, SHORTAGE, evict_for_new_connection, evict_for_share},
};
use std::time::Duration;

/// An authenticated connection is idle when no caller has called on it for this long.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// One slot in so many is reserved for unauthenticated connections. With fewer slots, new connections
/// would evict one another before they can authenticate. As large a part of the calls is reserved for
/// them, so that probes are served beside callers.
const UNAUTHENTICATED_SHARE: usize = 16;

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

/// How many of the slots, or of the calls, are reserved for unauthenticated connections.
pub(super) fn reserved(limit: usize) -> usize {
    limit.div_ceil(UNAUTHENTICATED_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixteenth_is_reserved_and_at_least_one() {
        for (limit, least) in [(1, 1), (16, 1), (17, 2), (32, 2), (4096, 256)] {
            assert_eq!(reserved(limit), least);
        }
    }
}

/// Connections as the tests of the rules see them.
#[cfg(test)]
mod views {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    pub(super) const NOW: Duration = Duration::from_secs(100);
    pub(super) const A: CallerNumber = CallerNumber(1);
    pub(super) const B: CallerNumber = CallerNumber(2);

    pub(super) fn unauthenticated(number: u64) -> ConnectionView {
        ConnectionView {
            number,
            caller: None,
            last_called: Duration::ZERO,
            calls_in_flight: 0,
        }
    }

    impl CallerNumber {
        pub(super) fn uncalled_for(self, number: u64, millis: u64) -> ConnectionView {
            ConnectionView {
                caller: Some(self),
                last_called: NOW.saturating_sub(Duration::from_millis(millis)),
                ..unauthenticated(number)
            }
        }

        pub(super) fn busy(self, number: u64) -> ConnectionView {
            self.uncalled_for(number, 999)
        }

        pub(super) fn idle(self, number: u64) -> ConnectionView {
            self.uncalled_for(number, 1000)
        }
    }

    impl ConnectionView {
        pub(super) fn with_calls(self, calls_in_flight: usize) -> Self {
            Self {
                calls_in_flight,
                ..self
            }
        }
    }

    pub(super) fn any_connection(number: u64) -> impl Strategy<Value = ConnectionView> {
        (0..4_u64, 0..2000_u64, 0..9_usize).prop_map(move |(caller, millis, calls)| {
            let of_caller = CallerNumber(caller).uncalled_for(number, millis);
            let connection = match caller {
                0 => unauthenticated(number),
                _ => of_caller,
            };
            connection.with_calls(calls)
        })
    }

    pub(super) fn any_connections() -> impl Strategy<Value = Vec<ConnectionView>> {
        vec(Just(()), 0..20).prop_flat_map(|connections| {
            let numbers = 0..connections.len() as u64;
            numbers.map(any_connection).collect::<Vec<_>>()
        })
    }
}
