//! Which of two writes is the later, by their histories and their times.
//!
//! Promises that a write is the later only if nothing speaks against it: what gives a right takes back only denials that
//! it is later than.

use super::{
    event::Event,
    histories::{Histories, HistoryKey},
};
use crate::model::time::Timestamp;
use std::collections::HashMap;

impl Histories {
    /// Whether revisions tell the order in the history of this write.
    fn is_in_order(&self, event: &Event) -> bool {
        event.history_id.is_some() && !self.doubted.contains(&self.of_event(event))
    }

    /// Whether the history of a write has the other one before it.
    pub(super) fn goes_on_from(&self, event: &Event, other: &Event) -> bool {
        let (history, ancestor) = (self.of_event(event), self.of_event(other));
        let is_before = other.original.revision <= event.original.revision;
        self.is_in_order(other)
            && (history != ancestor || event.history_id.is_some() && is_before)
            && self
                .shared(history, ancestor)
                .is_some_and(|last| other.original.revision <= last)
    }

    /// Whether a write is the later of two: by its history, or else by the time, and in a history whose revisions do
    /// not tell the order, by the revision and by the time.
    pub(super) fn is_after(&self, event: &Event, other: &Event) -> bool {
        let (time, of_other) = (event.original.time, other.original.time);
        if self.goes_on_from(event, other) {
            true
        } else if self.of_event(event) == self.of_event(other) {
            other.original.revision <= event.original.revision && of_other <= time
        } else {
            of_other < time
        }
    }

    /// The same, but not by the time alone: a change of a key that was made without knowledge of another one has put
    /// nothing right.
    pub(super) fn is_surely_after(&self, event: &Event, other: &Event) -> bool {
        let is_one_line =
            self.of_event(event) == self.of_event(other) || self.goes_on_from(event, other);
        is_one_line && self.is_after(event, other)
    }

    /// Whether a write is the later of two, and so is whatever is later than it.
    pub(super) fn stands_for(&self, event: &Event, other: &Event) -> bool {
        let is_certain = self.goes_on_from(event, other)
            || self.of_event(event) == self.of_event(other) && !self.is_in_order(event);
        is_certain && other.original.time <= event.original.time && self.is_after(event, other)
    }

    /// Sorts writes: histories by when they begin, and each after those that it goes on from.
    pub(super) fn sort(&self, events: &mut [&Event]) {
        let mut begun = HashMap::<HistoryKey, Timestamp>::new();
        for event in events.iter() {
            let time = begun.entry(self.of_event(event)).or_insert(Timestamp::MAX);
            *time = event.original.time.min(*time);
        }
        let mut ordered: Vec<_> = begun.keys().copied().collect();
        ordered.sort_unstable_by_key(|history| {
            let ancestors = begun
                .iter()
                .filter(|(it, _)| self.shared(*history, **it).is_some());
            let time = ancestors.map(|(_, time)| *time).max();
            (time, self.depth(*history), *history)
        });
        let places: HashMap<_, _> = ordered.into_iter().zip(0..).collect::<HashMap<_, usize>>();
        events.sort_by_cached_key(|event| {
            let (history, original) = (self.of_event(event), event.original);
            (
                places.get(&history).copied(),
                original.revision,
                original.time,
            )
        });
    }

    /// Whether a write was made since another was lost, in a history that goes on without that.
    pub(super) fn goes_on_without(&self, event: &Event, lost: &Event) -> bool {
        let (history, of_lost) = (self.of_event(event), self.of_event(lost));
        let is_lost = match self.shared(history, of_lost) {
            Some(shared) => history != of_lost && shared < lost.original.revision,
            None => self.is_apart(history, of_lost) && self.shared(of_lost, history).is_none(),
        };
        is_lost && lost.original.time < event.original.time
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{audit_record::AdminMethod, key::KeyId},
        replay::{
            histories::Histories,
            made_up::{KEY, begins, chain, of_key, read, record},
            plan::Plan,
            stored_writes::StoredWrites,
        },
    };

    /// The store has `a` up to 10. There `b` and `c` went on from it, and `d` went on from `b` after 15.
    fn with_histories(mut lines: Vec<String>) -> Vec<String> {
        lines.extend([
            begins('a', None, 0, None),
            begins('b', Some('a'), 10, None),
            begins('c', Some('a'), 10, None),
            begins('d', Some('b'), 15, None),
        ]);
        lines
    }

    fn plan_is(lines: Vec<String>, check: impl FnOnce(&Plan<'_>)) {
        let input = read(&with_histories(lines));
        let histories = Histories::new(chain(&[('a', 0)]), &input);
        let stored = StoredWrites::new(&input);
        check(&Plan::of(&stored, &histories, None));
    }

    /// Each write as `HISTORY REVISION@SECOND METHOD`, without the first space. The history `-` is a line that names none.
    fn lines(writes: &str) -> Vec<String> {
        let line = |write: &str| {
            let (place, method) = write.split_once(' ')?;
            let (revision, second) = place[1..].split_once('@')?;
            let history = place.chars().next()?;
            Some(of_key(
                history,
                revision.parse().ok()?,
                second.parse().ok()?,
                method,
            ))
        };
        let lines = writes.split(", ").map(line);
        lines.collect::<Option<_>>().expect(writes)
    }

    #[test]
    fn a_denial_is_taken_back_only_by_what_is_surely_later() {
        const S: &str = "Suspend";
        const R: &str = "Resume";
        for (writes, last, why) in [
            ("a11@1 Suspend, a12@2 Resume", R, "by revision"),
            ("a11@2 Suspend, a12@1 Resume", R, "whatever the clock"),
            ("a11@1 Resume, a12@2 Suspend", S, "the last denies"),
            ("-11@1 Suspend, -12@2 Resume", R, "by revision and time"),
            ("-11@2 Suspend, -12@1 Resume", S, "not by the time"),
            ("-12@1 Suspend, -11@2 Resume", S, "not by the revision"),
            ("-11@2 Suspend, a12@1 Resume", S, "one names no history"),
            ("a11@2 Suspend, -12@1 Resume", S, "nor the other"),
            ("a10@2 Suspend, b11@1 Resume", R, "it goes on from that"),
            ("a10@2 Suspend, d16@1 Resume", R, "and from one before"),
            ("b16@2 Suspend, d16@1 Resume", S, "it went on before"),
            ("b16@1 Suspend, d16@2 Resume", R, "but is of later"),
            (
                "d16@2 Resume, b16@1 Suspend",
                R,
                "in any order of the lines",
            ),
            (
                "b11@1 Suspend, c11@2 Resume",
                R,
                "of two branches, by the time",
            ),
            ("b11@2 Suspend, c11@1 Resume", S, "not by the time"),
            ("b11@2 Suspend, c11@2 Resume", S, "at the same time"),
            (
                "b11@1 Resume, b12@9 Resume, c11@4 Suspend",
                R,
                "the branch that began first",
            ),
            (
                "b19@4 Suspend, c11@3 Suspend, b20@9 Resume",
                R,
                "both are taken back",
            ),
            (
                "c11@5 Suspend, b11@9 Suspend, b12@3 Resume",
                S,
                "only one is",
            ),
            (
                "f11@5 Suspend, b11@4 Resume",
                S,
                "nobody knows where f begins",
            ),
            ("f11@4 Suspend, b11@5 Resume", R, "but by the time"),
        ] {
            plan_is(lines(writes), |plan| {
                let of_key = &plan.keys[&KeyId::parse(KEY).expect("an id")];
                let standing = of_key.suspension.expect("one");
                assert_eq!(standing.method.as_str(), last, "{writes}: {why}");
            });
        }
    }

    #[test]
    fn in_a_history_that_lists_a_revision_twice_the_time_counts_too() {
        let writes = "b11@2 Suspend, b12@1 Resume";
        for (other, last) in [
            (None, "Resume"),
            (Some(12), "Suspend"),
            (Some(13), "Resume"),
        ] {
            let mut lines = lines(writes);
            lines.extend(other.map(|it| record('b', it, 3, "SuspendAccount", "")));
            plan_is(lines, |plan| {
                let of_key = &plan.keys[&KeyId::parse(KEY).expect("an id")];
                assert_eq!(of_key.suspension.expect("one").method.as_str(), last);
                assert_eq!(plan.listed_twice.is_some(), other == Some(12));
            });
        }
    }

    #[test]
    fn an_update_counts_only_if_it_is_surely_the_last() {
        let end = |second: u32| {
            format!("\"key_id\":\"{KEY}\",\"key_end\":\"2031-01-01T00:00:{second:02}Z\"")
        };
        let update = |(history, revision, second): (char, i64, u32)| {
            record(history, revision, second, "Update", &end(second))
        };
        // The histories, revisions and seconds of two, and whether the second counts.
        for (first, second, is_clear) in [
            (('b', 11, 2), ('b', 12, 1), true),
            (('-', 11, 2), ('-', 12, 1), false),
            (('b', 15, 2), ('d', 16, 1), true),
            (('b', 11, 1), ('c', 11, 2), false),
            (('b', 16, 3), ('d', 16, 2), false),
        ] {
            plan_is(vec![update(first), update(second)], |plan| {
                let of_key = &plan.keys[&KeyId::parse(KEY).expect("an id")];
                assert_eq!(of_key.unclear.is_none(), is_clear, "{first:?} {second:?}");
                let update = of_key.update.expect("one");
                assert_eq!(
                    update.original.revision == second.1,
                    is_clear || first.1 == second.1
                );
            });
        }
    }

    #[test]
    fn a_domain_stays_as_the_write_says_that_denies_most_and_was_not_taken_back() {
        let domain = "\"domain\":\"a.example\"";
        let whole = format!("{domain},\"include_subdomains\":true");
        let alone = format!("{domain},\"include_subdomains\":false");
        let add = |history, revision, second, which: &str| {
            record(history, revision, second, "AddDomain", which)
        };
        let remove = record('b', 12, 3, "RemoveDomain", domain);
        // With it, the first branch is the one that began first.
        let begun = record('b', 11, 1, "SuspendAccount", "");
        for (lines, method, subdomains) in [
            (
                vec![remove.clone(), add('c', 11, 2, &whole)],
                AdminMethod::RemoveDomain,
                None,
            ),
            (
                vec![begun, remove.clone(), add('c', 11, 2, &whole)],
                AdminMethod::RemoveDomain,
                None,
            ),
            (
                vec![remove.clone(), add('c', 11, 4, &alone)],
                AdminMethod::AddDomain,
                Some(false),
            ),
            (
                vec![add('b', 11, 3, &alone), add('c', 11, 2, &whole)],
                AdminMethod::AddDomain,
                Some(false),
            ),
            (
                vec![add('b', 11, 3, &alone), add('c', 11, 4, &whole)],
                AdminMethod::AddDomain,
                Some(true),
            ),
        ] {
            plan_is(lines, |plan| {
                let last = plan.domains.values().next().expect("one");
                assert_eq!((last.method, last.include_subdomains), (method, subdomains));
            });
        }
    }

    #[test]
    fn a_write_was_told_of_when_the_service_has_served_and_lost_writes_since() {
        let key = "\"key_id\":\"KEY\"".replace("KEY", KEY);
        let by_replay = record('b', 11, 2, "Suspend", &key).replace("\"ops\"", "\"replay:11@x\"");
        for (since, was_told) in [
            (of_key('b', 11, 2, "Suspend"), true),
            (of_key('d', 16, 2, "Suspend"), true),
            (by_replay, false),
            // It goes on from the write.
            (of_key('a', 12, 2, "Suspend"), false),
            // The write is of later.
            (of_key('b', 11, 0, "Suspend"), false),
            // Nobody knows where that begins.
            (of_key('f', 11, 2, "Suspend"), false),
        ] {
            let lost = read(&[of_key('a', 11, 1, "Resume")]);
            plan_is(vec![of_key('a', 11, 1, "Resume"), since.clone()], |plan| {
                assert_eq!(plan.was_told(&lost.events()[0]), was_told, "{since}");
            });
        }
        let lost = read(&[of_key('b', 15, 1, "Resume")]);
        plan_is(lines("b15@1 Resume, d16@2 Resume"), |plan| {
            assert!(!plan.was_told(&lost.events()[0]));
        });
    }
}
