//! When each key was last granted, to the minute, and how much of that the store does not know yet: 4
//! bytes a key.
//!
//! Promises that a use is noted without a lock and without waiting, and that no noted time is later than
//! the use.
//! Must never hold up or fail a decision.

use crate::model::time::Timestamp;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Whole minutes since the beginning of 2020. They fit until 2083.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minute(u32);

const EPOCH_MICROS: i64 = 1_577_836_800_000_000;
const MINUTE_MICROS: i64 = 60_000_000;
const MINUTE_BITS: u32 = 25;

impl Minute {
    /// The minute in which a time lies. `None` before 2020 and after 2083.
    pub(crate) fn of(time: Timestamp) -> Option<Self> {
        let minutes = (time.as_micros() - EPOCH_MICROS).div_euclid(MINUTE_MICROS);
        let minute = u32::try_from(minutes).ok()?;
        (minute > 0 && minute < 1 << MINUTE_BITS).then_some(Self(minute))
    }

    /// Its beginning.
    pub(crate) fn start(self) -> Timestamp {
        let micros = EPOCH_MICROS + i64::from(self.0) * MINUTE_MICROS;
        Timestamp::from_micros(micros).unwrap_or(Timestamp::MAX)
    }

    fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How many minutes the store may be behind while a key is in use. With the rest of a minute that a noted
/// use lacks, and the time until the next batch is stored, that is an hour at most.
const STORED_FOR: u32 = 58;

/// The last use of one key. The upper 25 bits are its minute, or 0 if there was none. The lower 7 are how
/// many minutes before it the use lies that the store knows: at most [`NEVER_STORED`], which also stands
/// for no such use.
#[derive(Default)]
pub(super) struct LastUse(AtomicU32);

const AGE_BITS: u32 = 32 - MINUTE_BITS;
const NEVER_STORED: u32 = (1 << AGE_BITS) - 1;

/// A use that is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) minute: Minute,
    /// It need not be stored if the store knows a use since then, which another replica has noted.
    pub(super) unless_since: Minute,
}

impl Due {
    fn in_any_case(minute: Minute) -> Self {
        Self {
            minute,
            unless_since: minute,
        }
    }
}

#[derive(Clone, Copy)]
struct Noted {
    minute: Minute,
    /// How many minutes the store is behind.
    behind: u32,
}

impl Noted {
    fn of(word: u32) -> Option<Self> {
        let (minute, behind) = (word >> AGE_BITS, word & NEVER_STORED);
        (minute > 0).then_some(Self {
            minute: Minute(minute),
            behind,
        })
    }

    fn word(self) -> u32 {
        self.minute.0 << AGE_BITS | self.behind.min(NEVER_STORED)
    }
}

impl LastUse {
    /// Notes a use. Of uses in the same minute only the first is a write.
    pub(super) fn note(&self, minute: Minute) {
        self.change(|noted| match noted {
            None => Some(Noted {
                minute,
                behind: NEVER_STORED,
            }),
            Some(before) => (before.minute < minute).then(|| Noted {
                minute,
                behind: before.behind + minute.since(before.minute),
            }),
        });
    }

    /// The use, if it is time to store it: the store is far behind, or the key is in use no more.
    pub(super) fn due(&self, now: Minute) -> Option<Due> {
        let noted = Noted::of(self.0.load(Relaxed))?;
        if now.since(noted.minute) >= STORED_FOR {
            return self.unstored();
        }
        (noted.behind >= STORED_FOR).then(|| Due {
            minute: noted.minute,
            unless_since: Minute(noted.minute.0.saturating_sub(STORED_FOR - 1)),
        })
    }

    /// The use, if the store does not know it.
    pub(super) fn unstored(&self) -> Option<Due> {
        let noted = Noted::of(self.0.load(Relaxed))?;
        (noted.behind > 0).then(|| Due::in_any_case(noted.minute))
    }

    /// The use, if there was one.
    pub(super) fn minute(&self) -> Option<Minute> {
        Some(Noted::of(self.0.load(Relaxed))?.minute)
    }

    /// Notes that the store knows a use. It may be one that another replica has noted.
    pub(super) fn set_stored(&self, stored: Minute) {
        self.change(|noted| {
            Some(match noted {
                Some(noted) if noted.minute > stored => Noted {
                    behind: noted.behind.min(noted.minute.since(stored)),
                    ..noted
                },
                _ => Noted {
                    minute: stored,
                    behind: 0,
                },
            })
        });
    }

    /// Takes over what is noted of the same key elsewhere.
    pub(super) fn merge(&self, other: &Self) {
        let Some(other) = Noted::of(other.0.load(Relaxed)) else {
            return;
        };
        self.note(other.minute);
        if other.behind < NEVER_STORED {
            self.set_stored(Minute(other.minute.0 - other.behind));
        }
    }

    fn change(&self, change: impl Fn(Option<Noted>) -> Option<Noted>) {
        let changed = |word| change(Noted::of(word)).map(Noted::word);
        // Fails if there is nothing to change.
        _ = self.0.fetch_update(Relaxed, Relaxed, changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(number: u32) -> Minute {
        Minute(1000 + number)
    }

    #[test]
    fn a_use_in_a_minute_is_noted_as_its_beginning() {
        let time = Timestamp::from_micros(1_795_684_596_480_370).expect("in range");
        let start = Minute::of(time).expect("in range").start();
        assert!(start <= time);
        assert!(time.as_micros() - start.as_micros() < MINUTE_MICROS);
        assert_eq!(Minute::of(start), Minute::of(time));
        for out_of_range in [Timestamp::EPOCH, Timestamp::MAX] {
            assert_eq!(Minute::of(out_of_range), None);
        }
    }

    #[test]
    fn the_first_use_is_due_at_once_and_a_key_in_steady_use_once_an_hour() {
        let last = LastUse::default();
        assert_eq!(last.due(minute(0)), None);
        let mut stored = Vec::new();
        for now in 0..200 {
            last.note(minute(now));
            last.note(minute(now));
            if let Some(due) = last.due(minute(now)) {
                assert_eq!(due.minute, minute(now));
                last.set_stored(due.minute);
                stored.push(now);
            }
        }
        assert_eq!(stored, [0, 58, 116, 174]);
    }

    #[test]
    fn after_a_silence_a_use_is_due_at_once_and_before_it_the_last_one_is_stored_in_the_end() {
        let last = LastUse::default();
        last.note(minute(0));
        last.set_stored(minute(0));
        last.note(minute(30));
        assert_eq!(last.due(minute(87)), None);
        assert_eq!(last.due(minute(88)), Some(Due::in_any_case(minute(30))));
        last.set_stored(minute(30));
        assert_eq!(last.due(minute(1000)), None);
        last.note(minute(1000));
        assert_eq!(
            last.due(minute(1000)).map(|due| due.minute),
            Some(minute(1000))
        );
    }

    #[test]
    fn a_use_that_another_replica_has_stored_less_than_an_hour_ago_is_not_due_soon() {
        let last = LastUse::default();
        last.note(minute(100));
        let due = last.due(minute(100)).expect("the store may know no use");
        assert_eq!(due.unless_since, minute(43));
        last.set_stored(minute(43));
        assert_eq!(last.due(minute(100)), None);
        last.note(minute(101));
        assert!(last.due(minute(101)).is_some());
    }

    #[test]
    fn what_cannot_be_stored_stays_due_and_loses_nothing() {
        let last = LastUse::default();
        last.note(minute(0));
        last.set_stored(minute(0));
        for now in 1..10_000 {
            last.note(minute(now));
        }
        let due = last.due(minute(10_000)).expect("the store is behind");
        assert_eq!(due.minute, minute(9999));
        last.set_stored(minute(9000));
        assert_eq!(last.unstored(), Some(Due::in_any_case(minute(9999))));
        last.set_stored(minute(9999));
        assert_eq!(last.unstored(), None);
    }

    #[test]
    fn an_earlier_time_changes_nothing() {
        let last = LastUse::default();
        last.set_stored(minute(50));
        last.note(minute(49));
        last.set_stored(minute(3));
        assert_eq!((last.unstored(), last.due(minute(500))), (None, None));
    }
}
