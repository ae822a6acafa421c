//! Where the lost writes have left each key, account and domain, and which writes nobody tells of.

use super::{
    action::Action,
    event::{Event, Original, Subject},
    stored_writes::StoredWrites,
};
use crate::model::{
    account::AccountId,
    audit_record::AdminMethod,
    domain::Domain,
    key::{KeyEnd, KeyId},
};
use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
};

/// Where the lost writes have left everything.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// The keys.
    pub keys: BTreeMap<KeyId, KeyPlan<'a>>,
    /// The last suspension of each account, or its end.
    pub accounts: BTreeMap<String, &'a Event>,
    /// The last addition or removal of each domain.
    pub domains: BTreeMap<(String, String), &'a Event>,
    /// The last write before the lost ones that the store has. Without one, it may have lost all since its first.
    pub last_stored: Option<Original>,
    /// The revisions of lost writes that no line tells of.
    pub gaps: Vec<RangeInclusive<i64>>,
    /// A revision that the lines tell of two things, as those from before and after an earlier restore do. Gaps in one
    /// history may then be hidden by the other.
    pub listed_twice: Option<i64>,
}

/// What the lost writes have made of a key. Of each kind, the last counts.
#[derive(Debug, Default)]
pub struct KeyPlan<'a> {
    /// What revoked it.
    pub revoked: Option<&'a Event>,
    /// What suspended it last, or ended that.
    pub suspension: Option<&'a Event>,
    /// What set its scope and its end.
    pub update: Option<&'a Event>,
    /// Whether the key was narrowed again by that.
    pub is_narrowed: bool,
    /// Whether the key was suspended because of that.
    pub is_suspended: bool,
    /// What may have set them since, of which the input does not say how.
    pub unclear: Option<&'a Event>,
    /// Any of them.
    pub last: Option<&'a Event>,
}

impl<'a> Plan<'a> {
    /// Follows the lost writes in their order. `last_stored` is the last write that the store had when it lost them, as
    /// [`StoredWrites::loss`] tells: a store that has served since has written more.
    #[must_use]
    pub fn of(stored: &StoredWrites<'a>, last_stored: Option<Original>) -> Self {
        let lost = stored.lost();
        let mut plan = Self::default();
        for &event in &lost {
            plan.add(stored, event);
        }
        plan.last_stored = last_stored;
        plan.gaps = gaps(stored, &lost, last_stored);
        plan.listed_twice = listed_twice(stored.listed());
        plan
    }

    fn add(&mut self, stored: &StoredWrites<'_>, event: &'a Event) {
        let text = |account: &AccountId, domain: &Domain| {
            (account.as_str().to_owned(), domain.as_str().to_owned())
        };
        match &event.subject {
            None => {}
            Some(Subject::Account(account)) => {
                let is_done = event.method == AdminMethod::SuspendAccount
                    && stored.has_done(Action::SuspendAccount, event);
                put(
                    &mut self.accounts,
                    account.as_str().to_owned(),
                    event,
                    is_done,
                );
            }
            Some(Subject::Domain(account, domain)) => {
                let is_done = stored.has_done(Action::RemoveDomain, event);
                put(&mut self.domains, text(account, domain), event, is_done);
            }
            Some(Subject::Key(key)) => self.keys.entry(*key).or_default().add(stored, event),
        }
    }
}

/// Keeps the last event of a thing, or none if that is done.
fn put<'a, K: Ord>(last: &mut BTreeMap<K, &'a Event>, of: K, event: &'a Event, is_done: bool) {
    if !counts(event, last.get(&of).copied()) {
        return;
    }
    if is_done {
        last.remove(&of);
    } else {
        last.insert(of, event);
    }
}

/// Whether a write counts where one with a lower revision stands. Revisions begin again after a restore, so of two
/// histories the one with the lower revision may be the later. So the other counts only if it is the later by its time
/// too, or denies more.
fn counts(event: &Event, standing: Option<&Event>) -> bool {
    standing.is_none_or(|standing| {
        event.original.time >= standing.original.time || leaves(event) < leaves(standing)
    })
}

/// How much of its thing a write leaves granted, beside others of its kind.
fn leaves(event: &Event) -> u8 {
    match event.method {
        AdminMethod::Suspend | AdminMethod::SuspendAccount | AdminMethod::RemoveDomain => 0,
        AdminMethod::AddDomain if event.include_subdomains != Some(true) => 1,
        _ => 2,
    }
}

impl<'a> KeyPlan<'a> {
    fn add(&mut self, stored: &StoredWrites<'_>, event: &'a Event) {
        self.last = Some(event);
        let unless_done = |action| Some(event).filter(|_| !stored.has_done(action, event));
        match event.method {
            AdminMethod::Revoke | AdminMethod::BatchRevoke => {
                self.revoked = self.revoked.or(unless_done(Action::Revoke));
            }
            AdminMethod::Suspend | AdminMethod::Resume if !counts(event, self.suspension) => {}
            AdminMethod::Suspend => self.suspension = unless_done(Action::Suspend),
            AdminMethod::Resume => self.suspension = Some(event),
            AdminMethod::Update | AdminMethod::Rotate => match event.key_end {
                // A successor has none either. It is not in the store.
                None => self.unclear = unless_done(Action::SuspendUnclear),
                // Without an overlap, a rotation has revoked the key.
                Some(KeyEnd::At(end))
                    if event.method == AdminMethod::Rotate && end <= event.original.time =>
                {
                    self.revoked = self.revoked.or(unless_done(Action::Revoke));
                }
                Some(_) if !counts(event, self.update) || !counts(event, self.unclear) => {
                    self.unclear = unless_done(Action::SuspendUnclear);
                }
                Some(_) => {
                    (self.update, self.unclear) = (Some(event), None);
                    self.is_narrowed = stored.has_done(Action::Narrow, event);
                    self.is_suspended = stored.has_done(Action::SuspendUnclear, event);
                }
            },
            _ => {}
        }
    }
}

/// The revisions between the last write that the store has and the last that is lost, without those that are listed.
fn gaps(
    stored: &StoredWrites<'_>,
    lost: &[&Event],
    last_stored: Option<Original>,
) -> Vec<RangeInclusive<i64>> {
    let mut next = last_stored.map_or(1, |last| last.revision.saturating_add(1));
    // Writes that the store has may stand between lost ones. What was written after the loss is left out, since it has
    // the revisions of lost writes again.
    let until = lost.iter().map(|event| event.original.time).max();
    let newest = lost.iter().map(|event| event.original.revision).max();
    let mut listed: Vec<_> = stored
        .listed()
        .iter()
        .filter(|event| event.writes > 0 && Some(event.original.time) <= until)
        .map(|event| {
            let end = event.original.revision;
            let writes = i64::try_from(event.writes).unwrap_or(i64::MAX);
            (end.saturating_sub(writes.saturating_sub(1)), end)
        })
        .filter(|(_, end)| Some(*end) <= newest)
        .collect();
    listed.sort_unstable();
    let mut gaps = Vec::new();
    for (start, end) in listed {
        if start > next {
            gaps.push(next..=start - 1);
        }
        next = next.max(end.saturating_add(1));
    }
    gaps
}

/// The keys of a batch may have its revision, so they do not count.
fn listed_twice(events: &[Event]) -> Option<i64> {
    let mut subjects = HashMap::new();
    let mut writes = events
        .iter()
        .filter(|event| event.writes > 0 && event.method != AdminMethod::BatchRevoke);
    let twice = writes.find(|event| {
        let Some(subject) = &event.subject else {
            return false;
        };
        let first = subjects.entry(event.original.revision).or_insert(subject);
        *first != subject
    });
    twice.map(|event| event.original.revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            audit_record::{AuditRecord, Outcome},
            caller_name::CallerName,
            time::Timestamp,
        },
        replay::input::Input,
    };

    const KEY: &str = "key_01m8d4da2afq1t0whwxxddwr9s";

    fn record(revision: i64, method: &str, rest: &str) -> String {
        format!(
            "{{\"time\":\"2030-01-01T00:00:{revision:02}.000000Z\",\"revision\":{revision},\"caller\":\"ops\",\
             \"method\":\"{method}\",\"account_id\":\"acme\",\"outcome\":\"OK\",\"calls\":1,{rest}}}\n"
        )
    }

    fn of_key(revision: i64, method: &str) -> String {
        record(revision, method, &format!("\"key_id\":\"{KEY}\""))
    }

    fn read(lines: &[String]) -> Input {
        let mut input = Input::default();
        let read = input.read("-", lines.concat().as_bytes());
        read.expect("a slice");
        assert!(input.malformed.is_empty(), "{:?}", input.malformed);
        input
    }

    #[expect(clippy::unnecessary_wraps, reason = "as a store gives it")]
    fn last(revision: i64) -> Option<Original> {
        Some(Original {
            revision,
            time: Timestamp::EPOCH,
        })
    }

    #[test]
    fn the_last_write_of_a_kind_counts_whatever_the_order_of_the_lines() {
        let input = read(&[
            of_key(7, "Resume"),
            of_key(5, "Suspend"),
            of_key(6, "Suspend"),
            of_key(5, "Suspend"),
        ]);
        assert_eq!(input.events().len(), 3);
        let stored = StoredWrites::new(&input);
        let plan = Plan::of(&stored, last(4));
        let key = &plan.keys[&KeyId::parse(KEY).expect("an id")];
        let suspension = key.suspension.expect("one");
        assert_eq!(suspension.method, AdminMethod::Resume);
        assert!(plan.gaps.is_empty());
    }

    #[test]
    fn an_update_that_does_not_say_what_it_set_is_unclear_until_another_says_all() {
        let told = format!("\"key_id\":\"{KEY}\",\"key_end\":\"never\",\"domain\":\"example.com\"");
        let key = KeyId::parse(KEY).expect("an id");
        for (lines, is_unclear) in [
            ([of_key(5, "Update"), record(6, "Update", &told)], false),
            ([record(5, "Update", &told), of_key(6, "Update")], true),
        ] {
            let input = read(&lines);
            let plan = Plan::of(&StoredWrites::new(&input), last(4))
                .keys
                .remove(&key);
            assert_eq!(plan.expect("one").unclear.is_some(), is_unclear);
        }
    }

    #[test]
    fn a_call_with_the_revision_of_an_earlier_write_of_the_store_is_not_lost() {
        // The second one of revision 5 is of another history, and of another kind.
        let input = read(&[
            of_key(5, "Revoke"),
            of_key(5, "Suspend"),
            of_key(6, "Suspend"),
        ]);
        let mut stored = StoredWrites::new(&input);
        stored.note(&AuditRecord {
            time: Timestamp::EPOCH,
            caller: CallerName::service(),
            method: AdminMethod::BatchRevoke.into(),
            account_id: None,
            key_id: Some(KeyId::parse(KEY).expect("an id")),
            domain: None,
            include_subdomains: None,
            key_end: None,
            revision: Some(5),
            outcome: Outcome::OK,
            calls: 1,
        });
        let lost = stored.lost();
        let lost: Vec<_> = lost
            .iter()
            .map(|it| (it.original.revision, it.method))
            .collect();
        let suspend = AdminMethod::Suspend;
        assert_eq!(lost, [(5, suspend), (6, suspend)]);
        assert!(Plan::of(&stored, last(4)).gaps.is_empty());
    }

    #[test]
    fn the_revisions_that_no_line_tells_of_are_found() {
        let batch = "{\"message\":\"keys revoked\",\"time\":\"2030-01-01T00:01:00Z\",\"caller\":\"ops\",\
                     \"revision\":14,\"revoked\":3,\"part\":1,\"parts\":1,\"key_ids\":\"\"}\n";
        let input = read(&[of_key(5, "Suspend"), of_key(8, "Resume"), batch.to_owned()]);
        let plan = Plan::of(&StoredWrites::new(&input), last(4));
        assert_eq!(plan.gaps, [6..=7, 9..=11]);

        // What came before the input may be lost too.
        let plan = Plan::of(&StoredWrites::new(&input), last(2));
        assert_eq!(plan.gaps[0], 3..=4);
        let plan = Plan::of(&StoredWrites::new(&input), None);
        assert_eq!(plan.gaps[0], 1..=4);
    }

    #[test]
    fn of_two_histories_a_denial_stands_that_was_not_taken_back_later_by_time_too() {
        let at = |minute: u32, revision: i64, method: &str, rest: &str| {
            record(revision, method, rest).replace("T00:00:", &format!("T00:{minute:02}:"))
        };
        let key = format!("\"key_id\":\"{KEY}\"");
        let (with, without) = (
            "\"domain\":\"a.example\",\"include_subdomains\":true",
            "\"domain\":\"a.example\"",
        );
        let input = read(&[
            at(1, 31, "Suspend", &key),
            at(1, 32, "Resume", &key),
            at(2, 25, "Suspend", &key),
            at(1, 33, "ResumeAccount", "\"x\":0"),
            at(2, 26, "SuspendAccount", "\"x\":0"),
            at(1, 34, "AddDomain", with),
            at(2, 27, "RemoveDomain", without),
        ]);
        let plan = Plan::of(&StoredWrites::new(&input), last(24));
        let of_key = &plan.keys[&KeyId::parse(KEY).expect("an id")];
        let methods = [
            of_key.suspension.expect("one").method,
            plan.accounts["acme"].method,
            plan.domains.values().next().expect("one").method,
        ];
        let denials = [
            AdminMethod::Suspend,
            AdminMethod::SuspendAccount,
            AdminMethod::RemoveDomain,
        ];
        assert_eq!(methods, denials);
    }

    #[test]
    fn a_revision_that_is_told_of_two_things_is_named() {
        let other = record(7, "SuspendAccount", "\"x\":0");
        let repeated = of_key(7, "Suspend").replace("T00:00:07", "T00:09:07");
        for (line, twice) in [(other, Some(7)), (repeated, None)] {
            let input = read(&[of_key(7, "Suspend"), line]);
            assert_eq!(
                Plan::of(&StoredWrites::new(&input), last(6)).listed_twice,
                twice
            );
        }
    }
}
