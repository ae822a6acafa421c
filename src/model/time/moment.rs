//! A point on this machine's monotonic clock.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A point on this machine's monotonic clock.
///
/// The clock counts the time that the machine was suspended: a lease that slept through its end
/// has ended. Its rate may be off by less than 5 % (see [`LeaseTerm`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub(crate) nanos: u64,
}

/// `CLOCK_MONOTONIC` stands still on a suspended Linux machine; elsewhere it does not.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Moment {
    /// Before every other one.
    pub const EARLIEST: Self = Self { nanos: 0 };

    /// After every other one.
    pub const LATEST: Self = Self { nanos: u64::MAX };

    /// The clock's reading.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(CLOCK);
        let nanos = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
        Self { nanos }
    }

    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            nanos: self.nanos.saturating_add(nanos),
        }
    }

    /// From an earlier moment to this one; nothing if that one is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}
