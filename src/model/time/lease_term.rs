//! How long a lease lasts, for its holder and for those who wait for its lapse.

use super::Moment;
use std::{fmt, time::Duration};

/// How long a lease lasts, and who counts that from when.
///
/// The holder counts nine tenths of it from before it asked; whoever waits for its lapse counts
/// the whole from after it saw the renewal. So even where the holder's clock is slow by 5 % and the
/// other's fast by 5 %, the holder's end comes first: 0.9 × 1.05 < 1 ÷ 1.05.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerm(Duration);

impl LeaseTerm {
    /// A term of this length, which is kept in whole milliseconds.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self(Duration::from_millis(u64::from(Self(length).as_millis())))
    }

    /// Its whole length.
    #[must_use]
    pub fn length(self) -> Duration {
        self.0
    }

    /// Its length in milliseconds, as the store keeps it.
    #[must_use]
    pub fn as_millis(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }

    /// How long the holder may use a lease.
    #[must_use]
    pub fn usable(self) -> Duration {
        self.0 * 9 / 10
    }

    /// Until when the holder may use the lease that it began to ask for at this moment.
    #[must_use]
    pub fn usable_until(self, asked: Moment) -> Moment {
        asked.after(self.usable())
    }

    /// When the lease has lapsed for certain, for one who had read of its renewal at this moment.
    #[must_use]
    pub fn lapsed_from(self, read: Moment) -> Moment {
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
