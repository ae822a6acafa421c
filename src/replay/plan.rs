//! Where the lost writes have left each key, account and domain, and which writes nobody tells of.

use super::{
    event::{Event, Subject},
    had::Had,
};
use crate::model::{
    account::AccountId,
    audit_record::AdminMethod,
    domain::Domain,
    key::{KeyEnd, KeyId},
};
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Where the lost writes have left everything.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// The keys.
    pub keys: BTreeMap<KeyId, KeyPlan<'a>>,
    /// The last suspension of each account, or its end.
    pub accounts: BTreeMap<String, &'a Event>,
    /// The last addition or removal of each domain.
    pub domains: BTreeMap<(String, String), &'a Event>,
    /// The revisions of lost writes that no line tells of.
    pub gaps: Vec<RangeInclusive<i64>>,
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
    /// What may have set them since, of which the input does not say how.
    pub unclear: Option<&'a Event>,
    /// Any of them.
    pub last: Option<&'a Event>,
}

impl<'a> Plan<'a> {
    /// Follows the lost writes in their order.
    #[must_use]
    pub fn of(had: &Had<'a>) -> Self {
        let lost = had.lost();
        let mut plan = Self::default();
        for &event in &lost {
            plan.add(had, event);
        }
        plan.gaps = gaps(had, &lost);
        plan
    }

    fn add(&mut self, had: &Had<'_>, event: &'a Event) {
        let is_done = had.is_replayed(event);
        let text = |account: &AccountId, domain: &Domain| {
            (account.as_str().to_owned(), domain.as_str().to_owned())
        };
        match &event.subject {
            None => {}
            Some(Subject::Account(account)) if is_done => {
                self.accounts.remove(account.as_str());
            }
            Some(Subject::Account(account)) => {
                self.accounts.insert(account.as_str().to_owned(), event);
            }
            Some(Subject::Domain(account, domain)) if is_done => {
                self.domains.remove(&text(account, domain));
            }
            Some(Subject::Domain(account, domain)) => {
                self.domains.insert(text(account, domain), event);
            }
            Some(Subject::Key(key)) => self.keys.entry(*key).or_default().add(event, is_done),
        }
    }
}

impl<'a> KeyPlan<'a> {
    fn add(&mut self, event: &'a Event, is_done: bool) {
        self.last = Some(event);
        let wanted = Some(event).filter(|_| !is_done);
        match event.method {
            AdminMethod::Revoke | AdminMethod::BatchRevoke => {
                self.revoked = self.revoked.or(wanted);
            }
            AdminMethod::Suspend | AdminMethod::Resume => self.suspension = wanted,
            AdminMethod::Update | AdminMethod::Rotate => match event.key_end {
                // A successor has none either. It is not in the store.
                None => self.unclear = wanted,
                // Without an overlap, a rotation has revoked the key.
                Some(KeyEnd::At(end))
                    if event.method == AdminMethod::Rotate && end <= event.original.time =>
                {
                    self.revoked = self.revoked.or(wanted);
                }
                Some(_) => (self.update, self.unclear) = (wanted, None),
            },
            _ => {}
        }
    }
}

/// The revisions between the last write that the store has and the last that is lost, without those that are told.
fn gaps(had: &Had<'_>, lost: &[&Event]) -> Vec<RangeInclusive<i64>> {
    let Some(first) = lost.first() else {
        return Vec::new();
    };
    let before = had.last_before(first.original.revision);
    let mut next = before.map_or(first.original.revision, |last| last.revision + 1);
    let mut told: Vec<_> = lost
        .iter()
        .filter(|event| event.writes > 0)
        .map(|event| {
            let end = event.original.revision;
            let writes = i64::try_from(event.writes).unwrap_or(i64::MAX);
            (end.saturating_sub(writes.saturating_sub(1)), end)
        })
        .collect();
    told.sort_unstable();
    let mut gaps = Vec::new();
    for (start, end) in told {
        if start > next {
            gaps.push(next..=start - 1);
        }
        next = next.max(end.saturating_add(1));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::input::Input;

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
        assert!(input.unwhole.is_empty(), "{:?}", input.unwhole);
        input
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
        let had = Had::new(&input);
        let plan = Plan::of(&had);
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
            let plan = Plan::of(&Had::new(&input)).keys.remove(&key);
            assert_eq!(plan.expect("one").unclear.is_some(), is_unclear);
        }
    }

    #[test]
    fn the_revisions_that_no_line_tells_of_are_found() {
        let batch = "{\"message\":\"keys revoked\",\"time\":\"2030-01-01T00:01:00Z\",\"caller\":\"ops\",\
                     \"revision\":14,\"revoked\":3,\"part\":1,\"parts\":1,\"key_ids\":\"\"}\n";
        let input = read(&[of_key(5, "Suspend"), of_key(8, "Resume"), batch.to_owned()]);
        let plan = Plan::of(&Had::new(&input));
        assert_eq!(plan.gaps, [6..=7, 9..=11]);
    }
}
