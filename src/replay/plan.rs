//! Where the lost writes have left each key, account and domain, and which writes nobody tells of.

use super::{
    action::Action,
    event::{Event, Original, Subject},
    gaps::{self, Missing},
    histories::Histories,
    key_plan::{KeyPlan, KeyWrites},
    standing::Standing,
    stored_writes::StoredWrites,
};
use crate::model::{
    audit_record::AdminMethod, caller_name::REPLAY, history::HistoryId, key::KeyId, time::Timestamp,
};
use std::collections::BTreeMap;

/// Where the lost writes have left everything.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The keys.
    pub keys: BTreeMap<KeyId, KeyPlan<'a>>,
    /// The last suspension of each account, or its end.
    pub accounts: BTreeMap<String, &'a Event>,
    /// The last addition or removal of each domain.
    pub domains: BTreeMap<(String, String), &'a Event>,
    /// The lost writes that no line tells of.
    pub missing: Missing,
    /// A revision that the lines tell of two writes in one history, as those from before and after a loss do that nobody
    /// noticed. Gaps may then be hidden.
    pub listed_twice: Option<(Option<HistoryId>, i64)>,
    /// The last lost write of each history, in the order of the histories' ids.
    pub ends: BTreeMap<Option<HistoryId>, Original>,
    /// The time of the last lost write: of those that were no replay's, if there are any.
    pub lost_until: Option<Timestamp>,
    histories: &'a Histories,
    /// In each lost history, the last write that was no replay's.
    served: Vec<&'a Event>,
}

/// The lost writes about each thing, as far as they were read.
#[derive(Default)]
struct Writes<'a> {
    keys: BTreeMap<KeyId, KeyWrites<'a>>,
    accounts: BTreeMap<String, Standing<'a>>,
    domains: BTreeMap<(String, String), Standing<'a>>,
}

impl<'a> Plan<'a> {
    /// Follows the lost writes in their order, and what the store has that may have taken back a denial. `last_stored` is the last write that the store had when it lost them, as
    /// [`loss`](super::loss::loss) tells: a store that has served since has written more.
    #[must_use]
    pub fn of(
        stored: &'a StoredWrites<'a>,
        histories: &'a Histories,
        last_stored: Option<Original>,
    ) -> Self {
        let mut lost = stored.lost();
        histories.sort(&mut lost);
        let mut writes = Writes::default();
        let mut all = lost.clone();
        all.extend(stored.given_back());
        histories.sort(&mut all);
        for &event in &all {
            writes.add(histories, stored, event);
        }
        let keys = writes.keys.into_iter();
        let served = served(histories, &lost);
        Self {
            keys: keys
                .map(|(key, of_key)| (key, of_key.plan(stored)))
                .collect(),
            accounts: not_done(writes.accounts, |event| {
                event.method == AdminMethod::SuspendAccount
                    && stored.has_done(Action::SuspendAccount, event)
            }),
            domains: not_done(writes.domains, |event| {
                stored.has_done(Action::RemoveDomain, event)
            }),
            missing: gaps::missing(stored, histories, &lost, last_stored),
            listed_twice: histories.listed_twice(),
            ends: ends(histories, &lost),
            lost_until: last_of(&served).or_else(|| last_of(&lost)),
            histories,
            served,
        }
    }

    /// Whether somebody was told of the loss of a write before. That is so if the service has served since, and has now
    /// lost writes of that time too.
    #[must_use]
    pub fn was_told(&self, event: &Event) -> bool {
        let mut served = self.served.iter();
        served.any(|later| self.histories.goes_on_without(later, event))
    }
}

fn last_of(events: &[&Event]) -> Option<Timestamp> {
    events.iter().map(|event| event.original.time).max()
}

fn ends(histories: &Histories, lost: &[&Event]) -> BTreeMap<Option<HistoryId>, Original> {
    let mut ends = BTreeMap::<_, Original>::new();
    for event in lost {
        let end = ends.entry(histories.of_event(event));
        let end = end.or_insert(event.original);
        if end.revision < event.original.revision {
            *end = event.original;
        }
    }
    ends
}

/// In each history, the last lost write that was no replay's.
fn served<'a>(histories: &Histories, lost: &[&'a Event]) -> Vec<&'a Event> {
    let mut served = BTreeMap::new();
    for &event in lost {
        if !event.caller.as_str().starts_with(REPLAY) {
            let newest = served.entry(histories.of_event(event)).or_insert(event);
            if newest.original.time < event.original.time {
                *newest = event;
            }
        }
    }
    served.into_values().collect()
}

/// The last write about each thing, unless an earlier replay has made it again.
fn not_done<K: Ord>(
    writes: BTreeMap<K, Standing<'_>>,
    is_done: impl Fn(&Event) -> bool,
) -> BTreeMap<K, &Event> {
    let last = writes
        .into_iter()
        .filter_map(|(of, standing)| Some((of, standing.last_lost()?)));
    last.filter(|(_, event)| !is_done(event)).collect()
}

impl<'a> Writes<'a> {
    fn add(&mut self, histories: &Histories, stored: &StoredWrites<'_>, event: &'a Event) {
        match &event.subject {
            None => {}
            Some(Subject::Account(account)) => {
                let of_account = self.accounts.entry(account.as_str().to_owned());
                of_account.or_default().add(histories, event);
            }
            Some(Subject::Domain(account, domain)) => {
                let of = (account.as_str().to_owned(), domain.as_str().to_owned());
                self.domains.entry(of).or_default().add(histories, event);
            }
            Some(Subject::Key(key)) => {
                self.keys
                    .entry(*key)
                    .or_default()
                    .add(histories, stored, event);
            }
        }
    }
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
        replay::{
            input::Input,
            made_up::{KEY, of_key, read, record},
        },
    };

    /// Of a store that has none of the lines, and knows of no histories.
    fn plan_is(input: &Input, check: impl FnOnce(&Plan<'_>)) {
        let histories = Histories::new(Vec::new(), input);
        check(&Plan::of(&StoredWrites::new(input), &histories, None));
    }

    fn key() -> KeyId {
        KeyId::parse(KEY).expect("an id")
    }

    #[test]
    fn the_last_write_of_a_kind_counts_whatever_the_order_of_the_lines() {
        let input = read(&[
            of_key('-', 7, 7, "Resume"),
            of_key('-', 5, 5, "Suspend"),
            of_key('-', 6, 6, "Suspend"),
            of_key('-', 5, 5, "Suspend"),
        ]);
        assert_eq!(input.events().len(), 3);
        plan_is(&input, |plan| {
            let suspension = plan.keys[&key()].suspension.expect("one");
            assert_eq!(suspension.method, AdminMethod::Resume);
        });
    }

    #[test]
    fn an_update_that_does_not_say_what_it_set_is_unclear_until_another_says_all() {
        let told = format!("\"key_id\":\"{KEY}\",\"key_end\":\"never\",\"domain\":\"example.com\"");
        for (lines, is_unclear) in [
            (
                [
                    of_key('-', 5, 5, "Update"),
                    record('-', 6, 6, "Update", &told),
                ],
                false,
            ),
            (
                [
                    record('-', 5, 5, "Update", &told),
                    of_key('-', 6, 6, "Update"),
                ],
                true,
            ),
        ] {
            plan_is(&read(&lines), |plan| {
                assert_eq!(plan.keys[&key()].unclear.is_some(), is_unclear);
            });
        }
    }

    #[test]
    fn a_call_with_the_revision_of_an_earlier_write_of_the_store_is_not_lost() {
        let lost_of = |history| {
            // The second one of revision 5 is of another history, and of another kind.
            let input = read(&[
                of_key(history, 5, 5, "Revoke"),
                of_key(history, 5, 5, "Suspend"),
                of_key(history, 6, 6, "Suspend"),
            ]);
            let mut stored = StoredWrites::new(&input);
            let record = AuditRecord {
                time: Timestamp::EPOCH,
                caller: CallerName::service(),
                method: AdminMethod::BatchRevoke.into(),
                account_id: None,
                key_id: Some(key()),
                domain: None,
                include_subdomains: None,
                key_end: None,
                revision: Some(5),
                outcome: Outcome::OK,
                calls: 1,
            };
            stored.note(&record, None);
            let lost = stored.lost().into_iter();
            lost.map(|it| (it.original.revision, it.method))
                .collect::<Vec<_>>()
        };
        let (revoke, suspend) = (AdminMethod::Revoke, AdminMethod::Suspend);
        assert_eq!(lost_of('-'), [(5, suspend), (6, suspend)]);
        // A release that names histories lists the revision of a write only for the call that made it.
        assert_eq!(lost_of('a'), [(5, revoke), (5, suspend), (6, suspend)]);
    }

    #[test]
    fn of_lines_without_histories_a_denial_stands_that_was_not_taken_back_later_by_time_too() {
        let key = format!("\"key_id\":\"{KEY}\"");
        let (with, without) = (
            "\"domain\":\"a.example\",\"include_subdomains\":true",
            "\"domain\":\"a.example\"",
        );
        let input = read(&[
            record('-', 31, 31, "Suspend", &key),
            record('-', 32, 32, "Resume", &key),
            record('-', 25, 65, "Suspend", &key),
            record('-', 33, 33, "ResumeAccount", ""),
            record('-', 26, 66, "SuspendAccount", ""),
            record('-', 34, 34, "AddDomain", with),
            record('-', 27, 67, "RemoveDomain", without),
        ]);
        plan_is(&input, |plan| {
            let methods = [
                plan.keys[&self::key()].suspension.expect("one").method,
                plan.accounts["acme"].method,
                plan.domains.values().next().expect("one").method,
            ];
            let denials = [
                AdminMethod::Suspend,
                AdminMethod::SuspendAccount,
                AdminMethod::RemoveDomain,
            ];
            assert_eq!(methods, denials);
        });
    }

    #[test]
    fn a_revision_that_is_told_of_two_things_is_named() {
        let other = record('-', 7, 7, "SuspendAccount", "");
        let repeated = of_key('-', 7, 99, "Suspend");
        for (line, twice) in [(other, Some((None, 7))), (repeated, None)] {
            let input = read(&[of_key('-', 7, 7, "Suspend"), line]);
            plan_is(&input, |plan| assert_eq!(plan.listed_twice, twice));
        }
    }
}
