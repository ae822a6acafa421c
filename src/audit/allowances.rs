//! How many of a caller's calls get a record or a log line of their own.
//!
//! Promises a bound for any caller and any length of time. A caller's calls take nothing from the
//! allowance of another.

use crate::model::caller_name::CallerName;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How many callers' allowances are kept before those that are full again are removed.
const MANY_CALLERS: usize = 1000;

/// The allowances of all callers for one kind of call.
pub(super) struct Allowances {
    /// How many calls a caller has after a long time without any.
    size: u32,
    /// How long it takes for an allowance to grow by one call.
    interval: Duration,
    /// When each caller's allowance will be full again. A caller that is not in the map has a full one.
    full_at: HashMap<CallerName, Instant>,
}

impl Allowances {
    pub(super) fn new(size: u32, interval: Duration) -> Self {
        Self {
            size,
            interval,
            full_at: HashMap::new(),
        }
    }

    /// Takes one from a caller's allowance, if there is any left.
    pub(super) fn take_from(&mut self, caller: &CallerName, now: Instant) -> bool {
        if self.full_at.len() > MANY_CALLERS {
            self.full_at.retain(|_, full| *full > now);
        }
        let full = self.full_at.get(caller);
        let full = full.map_or(now, |full| (*full).max(now));
        let then_full = full + self.interval;
        let is_allowed = then_full <= now + self.size * self.interval;
        if is_allowed {
            self.full_at.insert(caller.clone(), then_full);
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_allowance_is_its_own_and_fills_again_with_time() {
        const SIZE: u32 = 100;
        const INTERVAL: Duration = Duration::from_secs(10);
        let (mut allowances, start) = (Allowances::new(SIZE, INTERVAL), Instant::now());
        let (one, other) = ("one".to_owned(), "other".to_owned());
        let (one, other) = (CallerName::from_stored(one), CallerName::from_stored(other));
        for _ in 0..SIZE {
            assert!(allowances.take_from(&one, start));
        }
        assert!(!allowances.take_from(&one, start));
        assert!(allowances.take_from(&other, start));
        let later = start + INTERVAL;
        assert!(allowances.take_from(&one, later) && !allowances.take_from(&one, later));
        let much_later = start + 1000 * INTERVAL;
        for _ in 0..SIZE {
            assert!(allowances.take_from(&one, much_later));
        }
        assert!(!allowances.take_from(&one, much_later));
    }
}
