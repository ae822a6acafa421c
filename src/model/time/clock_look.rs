//! Whether the wall clock may decide that something is deleted for good.
//!
//! A clock that is wrong is put right some time later, and then what it has decided should be wrong no longer. What
//! was deleted does not come back. No machine can know that its clock is right. But a clock that was wrong when the
//! machine started, and was put right since, has jumped.

use super::Timestamp;
use std::time::Duration;

/// How long the clock must go on without a jump before it is trusted. Somebody who reads of the jump in the log has
/// so long to put it right.
pub const TRUSTED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The least that is a jump. While the process did not run, nothing measured how much time has passed, and so a
/// longer stop is one too.
const JUMP: Duration = Duration::from_secs(24 * 3600);

/// What a look at the wall clock has found, as the next one needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockLook {
    /// What the clock said.
    pub time: Timestamp,
    /// For how long it has gone on as a monotonic clock did, without a jump. Time between two processes counts as
    /// none.
    pub steady: Duration,
}

impl ClockLook {
    /// The next look, after a time by the monotonic clock.
    #[must_use]
    pub fn next(self, passed: Duration, now: Timestamp) -> Self {
        let steady = if self.has_jumped(passed, now) {
            Duration::ZERO
        } else {
            self.steady.saturating_add(passed)
        };
        Self { time: now, steady }
    }

    /// Whether the clock has jumped until the next look.
    #[must_use]
    pub fn has_jumped(self, passed: Duration, now: Timestamp) -> bool {
        self.time.saturating_add(passed).distance(now) > JUMP
    }

    /// The first look.
    #[must_use]
    pub fn first(now: Timestamp) -> Self {
        let steady = Duration::ZERO;
        Self { time: now, steady }
    }

    /// How much longer the clock has to go on before it is trusted.
    #[must_use]
    pub fn left(self) -> Duration {
        TRUSTED_AFTER.saturating_sub(self.steady)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    fn time(hours: u32) -> Timestamp {
        let start = Timestamp::from_micros(1_700_000_000_000_000).expect("in range");
        start.saturating_add(HOUR * hours)
    }

    #[test]
    fn a_clock_is_trusted_when_it_has_gone_on_for_a_day() {
        let mut look = ClockLook::first(time(0));
        for hour in 1..=24 {
            assert!(look.left() > Duration::ZERO);
            look = look.next(HOUR, time(hour));
        }
        assert_eq!(look.left(), Duration::ZERO);
    }

    #[test]
    fn a_jump_forwards_or_backwards_ends_the_trust() {
        let steady = YEAR;
        let trusted = ClockLook {
            time: time(100),
            steady,
        };
        for (passed, now, is_trusted) in [
            (HOUR, time(101), true),
            // NTP corrects a clock by less than a day.
            (HOUR, time(124), true),
            (HOUR, time(78), true),
            (HOUR, time(126), false),
            (HOUR, time(76), false),
            (HOUR, time(101).saturating_add(YEAR), false),
            (HOUR, Timestamp::EPOCH, false),
            (HOUR, Timestamp::MAX, false),
            // The machine was suspended, which the monotonic clock counts.
            (YEAR, time(100).saturating_add(YEAR), true),
            // The process did not run.
            (Duration::ZERO, time(123), true),
            (Duration::ZERO, time(125), false),
        ] {
            let next = trusted.next(passed, now);
            assert_eq!(next.left().is_zero(), is_trusted, "{passed:?} {now:?}");
        }
    }

    #[test]
    fn restarts_in_between_cost_no_trust_and_give_none() {
        let mut look = ClockLook::first(time(0));
        for hour in 0..48 {
            look = look.next(Duration::ZERO, time(hour));
            look = look.next(HOUR / 2, time(hour).saturating_add(HOUR / 2));
        }
        assert_eq!(look.left(), Duration::ZERO);
        look.steady = Duration::ZERO;
        assert_eq!(look.next(Duration::ZERO, look.time).left(), TRUSTED_AFTER);
    }
}
