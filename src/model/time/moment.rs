//! A point on this machine's monotonic clock.
//!
//! Promises that the clock goes on while the machine is suspended.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A point on this machine's monotonic clock.
///
/// The clock counts the time during which the machine was suspended, so that a lease ends on time
/// even then. The clock's rate may be wrong by less than 5 % (see [`LeaseTerm`](super::LeaseTerm)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub(crate) nanos: u64,
}

/// On Linux, `CLOCK_MONOTONIC` stops while the machine is suspended. On other systems it does not.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Moment {
    /// Before every other moment.
    pub(crate) const EARLIEST: Self = Self { nanos: 0 };

    /// After every other moment. A lease that ends then never ends.
    pub const LATEST: Self = Self { nanos: u64::MAX };

    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(CLOCK);
        let nanos = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
        Self { nanos }
    }

    /// Stops at [`Moment::LATEST`].
    pub(crate) fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            nanos: self.nanos.saturating_add(nanos),
        }
    }

    /// The time from an earlier moment to this one. It is zero if that moment is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}
