//! The rules for what may become of a key in every store.

use super::{
    accounts, after, changes_since, create_as, domain, labels, list, on_every_store, revoke,
};
use crate::support::{
    caller, new_key,
    server::audit_command::{audit_output, records},
    stores::{Stores, Subject},
};
use futures::future::join_all;
use keyservice::{
    model::{
        account::Accounts,
        audit_record::AdminMethod,
        key::{
            Key, KeyId, KeyName, KeyState, Reason, RequestId, Scope, Status,
            change::{KeyUpdate, Refusal},
        },
        time::Timestamp,
    },
    store::{
        KeyChange, KeyLookup, KeyReplacement, KeySuspension, KeyTarget, ListQuery, NewKey,
        Position, Replaced, State, StillAllowed, Store, Suspended, change_key,
    },
};

use serde_json::Value;
use std::time::Duration;

on_every_store![
    a_key_is_got_by_its_id_or_its_digest_within_the_given_accounts,
    a_key_is_replaced_in_every_field_that_can_change,
    a_state_is_stored_only_in_place_of_the_one_before,
    changes_of_many_callers_at_once_all_stand,
    a_suspension_is_stored_whatever_came_before_it,
    a_suspension_of_a_revoked_or_unknown_key_stores_nothing,
    a_revocation_counts_as_a_change,
    a_new_scope_must_be_verified_if_that_is_asked_for,
    a_rotation_stores_the_successor_and_the_predecessor_in_one_write,
    a_rotation_whose_request_id_was_used_stores_nothing,
    suspended_keys_are_listed_as_such,
    every_change_of_a_key_is_recorded_once,
    a_rotation_is_in_the_history_of_both_keys,
    a_repeated_revoke_waits_for_the_last_change_of_the_key,
];

async fn a_key_is_got_by_its_id_or_its_digest_within_the_given_accounts(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    for target in [KeyTarget::Id(new.key.id), KeyTarget::Digest(new.digest)] {
        for (accounts, is_found) in [
            (Accounts::All, true),
            (accounts(&["globex", "acme"]), true),
            (accounts(&["globex"]), false),
            (accounts(&[]), false),
        ] {
            let target = target.clone();
            let lookup = KeyLookup { target, accounts };
            let found = stores.second.keys.get(&lookup).await.expect("answered");
            assert_eq!(found, is_found.then(|| new.key.clone()));
        }
    }
}

async fn a_key_is_replaced_in_every_field_that_can_change(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let now = after(new.key.create_time, 60);
    let update = KeyUpdate {
        name: Some(name("Büro ✉")),
        scope: Some(Scope::Domain(domain("example.com"))),
        expire_time: Some(Some(after(now, 60))),
        labels: Some(labels("environment=production")),
    };
    let updated = new.key.updated(&update, None).expect("active");
    let suspended = updated.suspended(&reason("abuse"), now).expect("active");
    let resumed = suspended.resumed().expect("suspended");
    for next in [updated, suspended, resumed] {
        let position = replace(&stores.first, &replacement(&next)).await;
        assert_eq!(get(&stores.second, &new).await, next);
        let state = State::Key(KeyState::of(&next, new.digest));
        let (loaded_at, loaded) = stores.load().await;
        assert_eq!((loaded_at, loaded.len()), (position, 1));
        assert_eq!(loaded[&Subject::of(&state)], state);
        let changes = changes_since(stores, Position::START, 10).await;
        assert_eq!((changes.len(), changes[0].position), (1, position));
        assert_eq!(changes[0].state, state);
    }
}

async fn a_state_is_stored_only_in_place_of_the_one_before(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let first = new.key.updated(&rename("first"), None).expect("active");
    let second = new.key.updated(&rename("second"), None).expect("active");
    replace(&stores.first, &replacement(&first)).await;
    let before = stores.load().await;
    let late = stores.second.keys.replace(&replacement(&second)).await;
    assert!(matches!(late, Ok(Replaced::Conflict)), "{late:?}");
    assert_eq!(get(&stores.first, &new).await, first);
    assert_eq!(stores.load().await, before);
}

async fn changes_of_many_callers_at_once_all_stand(stores: &Stores) {
    let new = create_as(stores, "+", |_| {}).await;
    let lookup = lookup(&new);
    let lengthen = |key: &Key| {
        let longer = rename(&format!("{}+", key.name.as_str()));
        Ok::<_, Refusal>(replacement(&key.updated(&longer, None)?))
    };
    let one = || change_key(&*stores.first.keys, &lookup, lengthen);
    let changes = join_all((0..10).map(|_| one())).await;
    for change in changes {
        assert!(matches!(change, Ok(KeyChange::Stored(..))), "{change:?}");
    }
    assert_eq!(get(&stores.second, &new).await.name, name("+++++++++++"));
}

async fn a_suspension_is_stored_whatever_came_before_it(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let mut expected = new.key.updated(&rename("other"), None).expect("active");
    replace(&stores.first, &replacement(&expected)).await;
    let now = after(new.key.create_time, 60);
    for target in [KeyTarget::Id(new.key.id), KeyTarget::Digest(new.digest)] {
        for text in [Some("abuse"), Some("other abuse"), None] {
            expected = match text {
                Some(text) => expected.suspended(&reason(text), now),
                None => expected.resumed(),
            }
            .expect("active");
            let mut suspension = suspension(target.clone(), text.map(reason));
            suspension.now = now;
            let stored = stores.first.keys.set_key_suspension(&suspension).await;
            let Ok(Suspended::Stored(committed)) = stored else {
                panic!("{stored:?}");
            };
            assert_eq!(*committed.value(), expected);
            assert_eq!(get(&stores.second, &new).await, expected);
            let changes = changes_since(stores, Position::START, 10).await;
            assert_eq!(changes[0].position, committed.position());
            let state = State::Key(KeyState::of(&expected, new.digest));
            assert_eq!(changes[0].state, state);
        }
    }
    let recorded = records(&stores.address, &[]);
    for (method, times) in [("Suspend", 4), ("Resume", 2)] {
        let record = format!("tester {method} OK acme {} 1", new.key.id);
        assert_eq!(recorded.iter().filter(|it| **it == record).count(), times);
    }
}

async fn a_suspension_of_a_revoked_or_unknown_key_stores_nothing(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let (revoked, _) = revoke(stores, KeyTarget::Id(new.key.id)).await;
    let before = stores.load().await;
    for text in [Some("abuse"), None] {
        let mut suspension = suspension(KeyTarget::Id(new.key.id), text.map(reason));
        let refused = stores.first.keys.set_key_suspension(&suspension).await;
        assert!(
            matches!(&refused, Ok(Suspended::Revoked(key)) if *key == revoked),
            "{refused:?}"
        );
        suspension.accounts = accounts(&["globex"]);
        let foreign = stores.first.keys.set_key_suspension(&suspension).await;
        assert!(matches!(foreign, Ok(Suspended::NotFound)), "{foreign:?}");
    }
    assert_eq!(stores.load().await, before);
}

async fn a_revocation_counts_as_a_change(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let resumed = new.key.resumed().expect("allowed");
    let (revoked, _) = revoke(stores, KeyTarget::Id(new.key.id)).await;
    assert_ne!(revoked.etag(), new.key.etag());
    let late = stores.first.keys.replace(&replacement(&resumed)).await;
    assert!(matches!(late, Ok(Replaced::Conflict)), "{late:?}");
    assert_eq!(get(&stores.second, &new).await, revoked);
}

async fn a_new_scope_must_be_verified_if_that_is_asked_for(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let update = KeyUpdate {
        scope: Some(Scope::Domain(domain("example.com"))),
        ..KeyUpdate::default()
    };
    let mut replacement = replacement(&new.key.updated(&update, None).expect("active"));
    replacement.must_be_verified = true;
    let before = stores.load().await;
    let refused = stores.first.keys.replace(&replacement).await;
    assert!(
        matches!(refused, Ok(Replaced::DomainNotVerified)),
        "{refused:?}"
    );
    assert_eq!(stores.load().await, before);
    replacement.must_be_verified = false;
    replace(&stores.first, &replacement).await;
}

async fn a_rotation_stores_the_successor_and_the_predecessor_in_one_write(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let created_at = stores.load().await.0;
    let (successor, replacement) = rotation(&new, None);
    let position = replace(&stores.first, &replacement).await;
    assert_eq!(get(&stores.second, &new).await, replacement.key);
    assert_eq!(get(&stores.second, &successor).await, successor.key);
    let changes = changes_since(stores, created_at, 10).await;
    let states: Vec<_> = changes.iter().map(|change| &change.state).collect();
    let of = |key: &Key, new: &NewKey| State::Key(KeyState::of(key, new.digest));
    let expected = [of(&successor.key, &successor), of(&replacement.key, &new)];
    assert_eq!(states, expected.iter().collect::<Vec<_>>());
    assert_eq!(changes[1].position, position);
}

async fn a_rotation_whose_request_id_was_used_stores_nothing(stores: &Stores) {
    let first = create_as(stores, "the first", |new| {
        new.request_id = Some(RequestId::parse("a-request".to_owned()).expect("valid"));
    })
    .await;
    let new = create_as(stores, "a key", |_| {}).await;
    let before = stores.load().await;
    let (_, replacement) = rotation(&new, first.request_id);
    let refused = stores.second.keys.replace(&replacement).await;
    let Ok(Replaced::RequestIdUsed(used)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*used.value(), first.key.id);
    assert_eq!(stores.load().await, before);
}

async fn suspended_keys_are_listed_as_such(stores: &Stores) {
    let now = Timestamp::now();
    let suspended = create_as(stores, "suspended", |_| {}).await;
    let expired = create_as(stores, "expired", |new| new.key.expire_time = Some(now)).await;
    let active = create_as(stores, "active", |_| {}).await;
    for new in [&suspended, &expired] {
        let next = new.key.suspended(&reason("abuse"), now).expect("allowed");
        replace(&stores.first, &replacement(&next)).await;
    }
    for (status, only) in [
        (Status::Suspended, &suspended),
        (Status::Expired, &expired),
        (Status::Active, &active),
    ] {
        let query = ListQuery {
            filter: super::with_status(Some(status)),
            now: after(now, 1),
            ..super::all_of("acme")
        };
        let listed = list(&stores.second, &query).await;
        let ids: Vec<_> = listed.iter().map(|key| key.id).collect();
        assert_eq!(ids, [only.key.id], "{status:?}");
    }
}

async fn every_change_of_a_key_is_recorded_once(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let suspended = new.key.suspended(&reason("abuse"), new.key.create_time);
    let mut replacement = replacement(&suspended.expect("active"));
    replacement.method = AdminMethod::Suspend;
    replace(&stores.first, &replacement).await;
    let late = stores.first.keys.replace(&replacement).await;
    assert!(matches!(late, Ok(Replaced::Conflict)));
    let id = new.key.id;
    let recorded = records(&stores.address, &[]);
    let expected = format!("tester Suspend OK acme {id} 1");
    let of_suspend = recorded
        .iter()
        .filter(|record| record.contains(" Suspend "));
    assert_eq!(of_suspend.collect::<Vec<_>>(), [&expected], "{recorded:?}");
}

/// So it is known who made the successor, also when the predecessor is long gone.
async fn a_rotation_is_in_the_history_of_both_keys(stores: &Stores) {
    let new = create_as(stores, "a key", |_| {}).await;
    let request_id = RequestId::parse("a-request".to_owned()).expect("valid");
    let (successor, mut rotation) = rotation(&new, Some(request_id));
    rotation.method = AdminMethod::Rotate;
    let rotated_at = replace(&stores.first, &rotation).await;
    let again = stores.first.keys.replace(&rotation).await;
    assert!(matches!(again, Ok(Replaced::RequestIdUsed(_))), "{again:?}");
    // The predecessor has a successor still.
    let renamed = rotation.key.updated(&rename("renamed"), None);
    replace(&stores.first, &replacement(&renamed.expect("active"))).await;

    let history = |key: &NewKey| records(&stores.address, &["--key", &key.key.id.to_string()]);
    let record = |what: &str, key: &NewKey| format!("tester {what} acme {} 1", key.key.id);
    let of_predecessor = ["Create OK", "Rotate OK", "Update OK"].map(|what| record(what, &new));
    assert_eq!(history(&new), of_predecessor);
    let of_successor = ["Rotate OK", "Rotate ALREADY_EXISTS"].map(|what| record(what, &successor));
    assert_eq!(history(&successor), of_successor);
    let printed = audit_output(&stores.address, &["--key", &successor.key.id.to_string()]);
    for line in printed.lines() {
        let record: Value = serde_json::from_str(line).expect(line);
        assert_eq!(record["revision"], rotated_at.revision.number() - 1);
    }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).expect("a name")
}

fn reason(text: &str) -> Reason {
    Reason::parse(text).expect("a reason")
}

pub(super) fn suspension(target: KeyTarget, reason: Option<Reason>) -> KeySuspension {
    KeySuspension {
        target,
        accounts: Accounts::All,
        reason,
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

fn rename(text: &str) -> KeyUpdate {
    KeyUpdate {
        name: Some(name(text)),
        ..KeyUpdate::default()
    }
}

fn lookup(new: &NewKey) -> KeyLookup {
    lookup_of(new.key.id)
}

pub(super) fn lookup_of(id: KeyId) -> KeyLookup {
    KeyLookup {
        target: KeyTarget::Id(id),
        accounts: Accounts::All,
    }
}

async fn get(store: &Store, new: &NewKey) -> Key {
    let found = store.keys.get(&lookup(new)).await.expect("answered");
    found.expect("it is there")
}

pub(super) fn replacement(next: &Key) -> KeyReplacement {
    KeyReplacement {
        key: next.clone(),
        must_be_verified: false,
        max_keys: None,
        successor: None,
        method: AdminMethod::Update,
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

async fn a_repeated_revoke_waits_for_the_last_change_of_the_key(stores: &Stores) {
    let (_, new) = new_key("acme", "revoked");
    super::create(&stores.first, &new).await;
    let target = || KeyTarget::Id(new.key.id);
    let (revoked, revocation) = super::revoke(stores, target()).await;
    let rename = KeyUpdate {
        name: Some(KeyName::parse("renamed").expect("valid")),
        ..KeyUpdate::default()
    };
    let renamed = revoked.updated(&rename, None).expect("allowed");
    let renaming = replace(&stores.first, &replacement(&renamed)).await;
    let (again, position) = super::revoke(stores, target()).await;
    assert_eq!(again.revoke_time, revoked.revoke_time);
    assert_eq!(position, renaming);
    assert!(position.revision > revocation.revision);
}

/// A successor, and the rotation that brings it.
fn rotation(new: &NewKey, request_id: Option<RequestId>) -> (NewKey, KeyReplacement) {
    let (_, mut successor) = new_key("acme", new.key.name.as_str());
    successor.key.predecessor = Some(new.key.id);
    successor.request_id = request_id;
    let now = successor.key.create_time;
    let overlap = Duration::from_secs(60);
    let rotated = new.key.rotated(successor.key.id, overlap, now);
    let mut replacement = replacement(&rotated.expect("active"));
    replacement.successor = Some(successor.clone());
    replacement.now = now;
    (successor, replacement)
}

pub(super) async fn replace(store: &Store, replacement: &KeyReplacement) -> Position {
    let replaced = store.keys.replace(replacement).await;
    let Ok(Replaced::Replaced(committed)) = replaced else {
        panic!("{replaced:?}");
    };
    committed.into_parts().1
}
