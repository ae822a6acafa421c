//! How long a lease lasts, for its holder and for a writer that waits until it has lapsed.

use super::Moment;
use std::{fmt, time::Duration};

/// How long a lease lasts.
///
/// The holder uses nine tenths of the term, and counts them from before it asked for the lease. A
/// writer that waits until the lease has lapsed counts the whole term, from after it saw the
/// renewal. So the holder stops first, even if its clock is slow by 5 % and the writer's fast by 5
/// %: 0.9 × 1.05 < 1 ÷ 1.05.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerm(Duration);

impl LeaseTerm {
    /// The shortest lease that a setting may ask for.
    pub const SHORTEST: Self = Self(Duration::from_millis(200));

    /// The longest lease that a setting may ask for. No write waits longer for a replica.
    pub const LONGEST: Self = Self(Duration::from_secs(60));

    /// The term that a store keeps as this number of milliseconds. No replica has asked for one
    /// beyond the limits, so a number beyond them is wrong, and the nearest limit counts.
    #[must_use]
    pub fn from_stored_millis(millis: i32) -> Self {
        let length = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        Self(length.clamp(Self::SHORTEST.0, Self::LONGEST.0))
    }

    /// Rounds the length down to whole milliseconds.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self(Duration::from_millis(u64::from(Self(length).as_millis())))
    }

    /// The whole term.
    #[must_use]
    pub fn length(self) -> Duration {
        self.0
    }

    pub(crate) fn as_millis(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }

    /// How long the holder may use the lease.
    pub(crate) fn usable(self) -> Duration {
        self.0 * 9 / 10
    }

    /// Until when the holder may use a lease, if it began to ask for it at this moment.
    pub(crate) fn usable_until(self, asked: Moment) -> Moment {
        asked.after(self.usable())
    }

    /// When the lease has certainly lapsed, if its renewal had been read at this moment.
    pub(crate) fn lapsed_from(self, read: Moment) -> Moment {
        read.after(self.0)
    }
}

impl fmt::Display for LeaseTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_term_is_never_beyond_what_a_setting_may_ask_for() {
        let millis = |stored| LeaseTerm::from_stored_millis(stored).as_millis();
        assert_eq!(millis(1234), 1234);
        for too_short in [i32::MIN, -2000, 0, 199] {
            assert_eq!(millis(too_short), 200, "{too_short}");
        }
        for too_long in [60_001, i32::MAX] {
            assert_eq!(millis(too_long), 60_000, "{too_long}");
        }
    }

    #[test]
    fn a_holders_end_comes_before_an_observers_whatever_their_clocks_do() {
        let term = LeaseTerm::new(Duration::from_secs(2));
        let moment = Moment::EARLIEST;
        let usable = term.usable_until(moment).since(moment).as_secs_f64();
        let lapsed = term.lapsed_from(moment).since(moment).as_secs_f64();
        for (holder, observer) in [(0.951, 1.049), (1.0, 1.0), (1.049, 0.951)] {
            assert!(usable / holder < lapsed / observer);
        }
    }
}
