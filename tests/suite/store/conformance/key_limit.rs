//! The rules for the number of keys that an account may have in every store.

use super::{after, create, key_changes::replacement, on_every_store, revoke, with_request_id};
use crate::support::{new_key, stores::Stores};
use futures::future::join_all;
use keyservice::{
    model::{key::change::KeyUpdate, time::Timestamp},
    store::{KeyTarget, NewKey, NotCreated, Replaced},
};
use std::time::Duration;

on_every_store![
    an_account_gets_exactly_as_many_keys_as_it_may_have_however_many_callers_ask,
    keys_that_are_revoked_or_expired_do_not_count_and_suspended_ones_do,
    a_key_that_is_there_already_is_named_at_the_limit_too,
    a_change_that_makes_one_key_more_is_refused_at_the_limit,
];

const MAX: u32 = 5;

async fn an_account_gets_exactly_as_many_keys_as_it_may_have_however_many_callers_ask(
    stores: &Stores,
) {
    let tries = (0..20).map(async |number| {
        let store = [&stores.first, &stores.second][number % 2];
        let created = store.keys.create(&limited("acme")).await;
        created.expect("answered").map(drop)
    });
    let made = join_all(tries).await;
    let refused = made
        .iter()
        .filter(|it| **it == Err(NotCreated::TooManyKeys));
    assert_eq!(refused.count(), 20 - MAX as usize);
    assert_eq!(made.iter().filter(|it| it.is_ok()).count(), MAX as usize);
    assert!(has_room(stores, "globex").await, "another account");
}

async fn keys_that_are_revoked_or_expired_do_not_count_and_suspended_ones_do(stores: &Stores) {
    for _ in 0..MAX - 2 {
        create(&stores.first, &limited("acme")).await;
    }
    let mut expired = limited("acme");
    expired.key.create_time = Timestamp::from_micros(1).expect("in range");
    expired.key.expire_time = Timestamp::from_micros(2);
    create(&stores.first, &expired).await;
    let mut expiring = limited("acme");
    expiring.key.expire_time = Some(after(Timestamp::now(), 600));
    create(&stores.first, &expiring).await;
    let last = limited("acme");
    create(&stores.first, &last).await;
    assert!(!has_room(stores, "acme").await);
    let reason = keyservice::model::key::Reason::parse("abuse").expect("valid");
    let suspended = last.key.suspended(&reason, Timestamp::now());
    let suspended = replacement(&suspended.expect("active"));
    let replaced = stores.first.keys.replace(&suspended).await;
    assert!(
        matches!(replaced, Ok(Replaced::Replaced(_))),
        "{replaced:?}"
    );
    assert!(!has_room(stores, "acme").await);
    revoke(stores, KeyTarget::Id(last.key.id)).await;
    assert!(has_room(stores, "acme").await);
}

async fn a_key_that_is_there_already_is_named_at_the_limit_too(stores: &Stores) {
    let mut first = with_request_id("acme", "once");
    first.max_keys = Some(1);
    create(&stores.first, &first).await;
    let again = NewKey {
        max_keys: Some(1),
        ..with_request_id("acme", "once")
    };
    let again = stores.second.keys.create(&again).await.expect("answered");
    assert!(again.is_ok(), "{again:?}");
}

async fn a_change_that_makes_one_key_more_is_refused_at_the_limit(stores: &Stores) {
    let new = limited("acme");
    create(&stores.first, &new).await;
    let now = Timestamp::now();
    let (_, successor) = new_key("acme", "its successor");
    let overlap = Duration::from_secs(60);
    let rotated = new.key.rotated(successor.key.id, overlap, now);
    let mut rotation = replacement(&rotated.expect("active"));
    rotation.successor = Some(successor);
    let mut expired = limited("acme");
    expired.key.create_time = Timestamp::from_micros(1).expect("in range");
    expired.key.expire_time = Timestamp::from_micros(2);
    create(&stores.first, &expired).await;
    let prolonged = KeyUpdate {
        expire_time: Some(None),
        ..KeyUpdate::default()
    };
    let mut prolonged = replacement(&expired.key.updated(&prolonged, None).expect("allowed"));
    // When it was asked for, the key was still in force.
    prolonged.now = expired.key.create_time;
    for mut change in [rotation.clone(), prolonged] {
        change.max_keys = Some(1);
        let refused = stores.first.keys.replace(&change).await;
        assert!(matches!(refused, Ok(Replaced::TooManyKeys)), "{refused:?}");
    }
    let mut renamed = replacement(
        &expired
            .key
            .updated(&KeyUpdate::default(), None)
            .expect("any"),
    );
    renamed.max_keys = Some(1);
    let replaced = stores.first.keys.replace(&renamed).await;
    assert!(
        matches!(replaced, Ok(Replaced::Replaced(_))),
        "no key more: {replaced:?}"
    );
    rotation.max_keys = Some(2);
    let replaced = stores.first.keys.replace(&rotation).await;
    assert!(
        matches!(replaced, Ok(Replaced::Replaced(_))),
        "{replaced:?}"
    );
}

fn limited(account: &str) -> NewKey {
    let (_, mut new) = new_key(account, "one of many");
    new.max_keys = Some(MAX);
    new
}

/// Creates a key if the account may have one more.
async fn has_room(stores: &Stores, account: &str) -> bool {
    let created = stores.second.keys.create(&limited(account)).await;
    created.expect("answered").is_ok()
}
