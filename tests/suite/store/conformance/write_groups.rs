//! The rules for writes that wait at the same time in every store. They may share a transaction.

use super::{
    accounts, after, all_of, changes_since, create, create_as, create_many, domain, labels, list,
    on_every_store, revocation, revoke_with, with_request_id,
};
use crate::support::{
    caller, new_key,
    server::audit_command::{audit_output, records},
    stores::{Stores, is_revoked},
};
use futures::future::{join, join_all};
use keyservice::{
    model::key::{KeyName, KeyState, Scope},
    store::{CreateOutcome, KeyTarget, NewKey, NotCreated, Position, Revision, Revocation, State},
};
use std::collections::{BTreeMap, BTreeSet};

on_every_store![
    writes_that_wait_together_have_each_their_own_revision_answer_and_record,
    a_write_that_fails_leaves_the_others_done,
    a_write_that_is_refused_leaves_the_others_done,
    a_key_that_many_revoke_at_once_is_revoked_once,
];

const MANY: usize = 24;

async fn writes_that_wait_together_have_each_their_own_revision_answer_and_record(stores: &Stores) {
    let old = create_many(stores, "acme", MANY).await;
    let (before, _) = stores.load().await;
    let new: Vec<_> = (0..MANY).map(unlike_any_other).collect();
    let creations = join_all(new.iter().map(|new| create(&stores.first, new)));
    let revocations = old.iter().enumerate().map(async |(number, old)| {
        let target = match number % 2 {
            0 => KeyTarget::Id(old.key.id),
            _ => KeyTarget::Digest(old.digest),
        };
        let account = ["acme", "another"][number % 3 / 2];
        let of_one = Revocation {
            accounts: accounts(&["globex", account]),
            caller: caller(&format!("revoker-{number}")),
            ..revocation(target, None)
        };
        let revoked = stores.first.keys.revoke(&of_one).await;
        revoked.expect("answered")
    });
    let (created, revoked) = join(creations, join_all(revocations)).await;

    let mut written = BTreeMap::new();
    let mut expected: BTreeSet<_> = old
        .iter()
        .map(|old| record("tester", "Create", old))
        .collect();
    for (new, position) in new.iter().zip(created) {
        expected.insert(record(new.caller.as_str(), "Create", new));
        let state = State::Key(KeyState::of(&new.key, new.digest));
        written.insert(position.revision, (position, state));
    }
    for (number, (old, revoked)) in old.iter().zip(revoked).enumerate() {
        let Some(revoked) = revoked else {
            assert_eq!(
                number % 3,
                2,
                "the caller has no right to this account's keys"
            );
            continue;
        };
        let (key, position) = revoked.into_parts();
        assert_eq!((key.id, key.name), (old.key.id, old.key.name.clone()));
        expected.insert(record(&format!("revoker-{number}"), "Revoke", old));
        let state = KeyState {
            revoked: true,
            ..KeyState::of(&old.key, old.digest)
        };
        written.insert(position.revision, (position, State::Key(state)));
    }
    let revisions = (1..).map(|number| Revision::from_number(before.revision.number() + number));
    assert!(written.keys().copied().eq(revisions.take(written.len())));
    let changes = changes_since(stores, before, 1000).await;
    let changes = changes
        .into_iter()
        .map(|change| (change.position, change.state));
    assert!(
        changes.eq(written.into_values()),
        "what was answered is what was written"
    );
    let recorded: BTreeSet<_> = records(&stores.address, &[]).into_iter().collect();
    assert_eq!(recorded, expected);
    let mut listed = list(&stores.second, &all_of("acme")).await;
    listed.extend(list(&stores.second, &all_of("globex")).await);
    assert!(new.iter().all(|new| listed.contains(&new.key)));
}

async fn a_write_that_fails_leaves_the_others_done(stores: &Stores) {
    let taken = create_as(stores, "it has the digest already", |_| {}).await;
    let mut new: Vec<_> = (0..MANY).map(unlike_any_other).collect();
    new[MANY / 2].digest = taken.digest;
    let made = join_all(new.iter().map(|new| stores.first.keys.create(new))).await;
    for (number, (new, made)) in new.iter().zip(made).enumerate() {
        if number == MANY / 2 {
            made.expect_err("no two keys have one digest");
            continue;
        }
        let made = made.expect("answered").expect("on record");
        let (outcome, position) = made.into_parts();
        assert_eq!(outcome, CreateOutcome::Created);
        assert!(has_change(stores, new, position).await);
    }
    let records = records(&stores.address, &[]);
    assert_eq!(records.len(), MANY, "a write that fails leaves no record");
}

async fn a_write_that_is_refused_leaves_the_others_done(stores: &Stores) {
    let first = with_request_id("globex", "once");
    let used = create(&stores.first, &first).await;
    let new = (0..MANY).map(unlike_any_other).map(|mut new| {
        new.key.account_id = first.key.account_id.clone();
        new.must_be_verified = true;
        new.max_keys = Some(5);
        new
    });
    let mut new: Vec<_> = new.collect();
    new[MANY / 2].request_id = first.request_id.clone();
    let made = join_all(new.iter().map(|new| stores.first.keys.create(new))).await;
    let mut created = 0;
    for (new, made) in new.iter().zip(made) {
        match made.expect("answered") {
            Ok(committed) if *committed.value() == CreateOutcome::Created => {
                assert_eq!(new.key.scope, Scope::AllDomains, "no domain is verified");
                assert!(has_change(stores, new, committed.position()).await);
                created += 1;
            }
            Ok(committed) => {
                let first = first.key.id;
                assert_eq!(committed.value(), &CreateOutcome::RequestIdUsed { first });
                assert_eq!(committed.position(), used);
                assert!(new.request_id.is_some());
            }
            Err(NotCreated::DomainNotVerified) => assert_ne!(new.key.scope, Scope::AllDomains),
            Err(NotCreated::TooManyKeys) => {}
        }
    }
    assert_eq!(created, 4, "one was there");
}

async fn a_key_that_many_revoke_at_once_is_revoked_once(stores: &Stores) {
    let new = create_as(stores, "to be revoked", |_| {}).await;
    let target = |number| match number % 2 {
        0 => KeyTarget::Id(new.key.id),
        _ => KeyTarget::Digest(new.digest),
    };
    let revocations = (0..MANY).map(async |number| {
        let mut revocation = revocation(target(number), None);
        let seconds = i64::try_from(number).expect("few");
        revocation.now = after(new.key.create_time, seconds);
        let store = [&stores.first, &stores.second][number / 2 % 2];
        revoke_with(store, &revocation).await
    });
    let mut revoked = join_all(revocations).await;
    let records = records(&stores.address, &[]);
    assert_eq!(records.len(), 1 + MANY, "each call is on record");
    let written = audit_output(
        &stores.address,
        &["--method", "Revoke", "--until", "9999-12-31"],
    );
    let written = written
        .lines()
        .filter(|line| !line.contains("\"revision\":null"));
    assert_eq!(written.count(), 1, "and one of them has made the write");
    revoked.dedup();
    let [(key, position)] = &revoked[..] else {
        panic!("all have the same answer: {revoked:?}");
    };
    let changes = changes_since(stores, Position::START, 10).await;
    let [change] = &changes[..] else {
        panic!("the key has one state: {changes:?}");
    };
    assert!(is_revoked(&change.state) && change.position == *position);
    assert_eq!((key.id, position.revision.number()), (new.key.id, 2));
}

/// A key that differs in every field from the keys of all other numbers.
fn unlike_any_other(number: usize) -> NewKey {
    let account = ["acme", "globex"][number % 2];
    let mut new = match number % 4 {
        0 | 1 => with_request_id(account, &format!("request-{number}")),
        _ => new_key(account, "any").1,
    };
    let name = format!("number {number}, \"{{quoted}}\\,");
    new.key.name = KeyName::parse(&name).expect("a name");
    new.caller = caller(&format!("creator-{number}"));
    if number.is_multiple_of(3) {
        new.key.scope = Scope::Domain(domain(&format!("number-{number}.example")));
    }
    if number % 4 == 1 {
        new.key.labels = labels(&format!("number={number} a=b"));
    }
    if number.is_multiple_of(5) {
        let seconds = 3600 + i64::try_from(number).expect("few");
        new.key.expire_time = Some(after(new.key.create_time, seconds));
    }
    new
}

fn record(caller: &str, method: &str, of: &NewKey) -> String {
    let Scope::Domain(domain) = &of.key.scope else {
        return format!(
            "{caller} {method} OK {} {} 1",
            of.key.account_id.as_str(),
            of.key.id
        );
    };
    let (account, domain) = (of.key.account_id.as_str(), domain.as_str());
    format!("{caller} {method} OK {account} {} {domain} 1", of.key.id)
}

/// Whether the store has exactly this key at this position.
async fn has_change(stores: &Stores, new: &NewKey, position: Position) -> bool {
    let state = State::Key(KeyState::of(&new.key, new.digest));
    let changes = changes_since(stores, Position::START, 1000).await;
    changes
        .iter()
        .any(|change| change.position == position && change.state == state)
}
