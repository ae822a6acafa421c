//! Keys and writes that a store lets go, in every store, and the replicas that forget them.

use super::{all_of, changes_since, list, on_every_store, revoke};
use crate::support::{
    new_key,
    stores::Stores,
    uses::{Replica, Used, minute},
};
use keyservice::{
    authorize::decision::{Decision, DenialReason},
    model::time::Timestamp,
    store::{KeyTarget, Position, Revocation},
};
use std::time::Duration;

on_every_store![
    a_key_that_was_revoked_or_has_expired_long_ago_leaves_the_store_and_every_memory,
    a_key_that_may_still_be_granted_or_was_denied_only_lately_stays,
    without_a_limit_nothing_leaves_the_store,
    the_history_goes_but_for_what_stands,
    a_request_id_is_forgotten_with_its_key,
    a_key_that_was_revoked_by_a_clock_that_was_behind_stays,
];

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn a_key_that_was_revoked_or_has_expired_long_ago_leaves_the_store_and_every_memory(
    stores: &Stores,
) {
    let (revoked, expired) = (Used::create(stores).await, Used::create(stores).await);
    let kept = Used::create(stores).await;
    revoke(stores, KeyTarget::Id(revoked.id)).await;
    expire(stores, &expired).await;
    make_older(stores, 3).await;
    Used::create(stores).await;
    let (first, second) = replicas(stores).await;
    first.grant(&kept, minute(0));
    first.store_all().await;
    assert_eq!(denial(&second, &revoked), DenialReason::Revoked);

    let (position, _) = stores.load().await;
    first.let_go(Some(2 * DAY)).await;
    second.let_go(None).await;
    let left = list(&stores.first, &all_of("acme")).await;
    assert_eq!(left.len(), 2);
    assert!(left.iter().any(|key| key.id == kept.id));
    for replica in [&first, &second] {
        for gone in [&revoked, &expired] {
            assert_eq!(denial(replica, gone), DenialReason::UnknownToken);
        }
        replica.grant(&kept, minute(1));
    }
    assert_eq!(stores.load().await.0, position);
    assert_eq!(changes_since(stores, position, 10).await, []);
}

async fn a_key_that_may_still_be_granted_or_was_denied_only_lately_stays(stores: &Stores) {
    let active = Used::create(stores).await;
    make_older(stores, 3).await;
    let revoked = Used::create(stores).await;
    revoke(stores, KeyTarget::Id(revoked.id)).await;
    make_older(stores, 1).await;
    let (replica, _) = replicas(stores).await;
    replica.let_go(Some(2 * DAY)).await;
    assert_eq!(list(&stores.first, &all_of("acme")).await.len(), 2);
    assert_eq!(denial(&replica, &revoked), DenialReason::Revoked);
    replica.grant(&active, minute(0));
}

async fn without_a_limit_nothing_leaves_the_store(stores: &Stores) {
    let revoked = Used::create(stores).await;
    revoke(stores, KeyTarget::Id(revoked.id)).await;
    make_older(stores, 10_000).await;
    let (replica, _) = replicas(stores).await;
    replica.let_go(None).await;
    assert_eq!(list(&stores.first, &all_of("acme")).await.len(), 1);
    assert_eq!(denial(&replica, &revoked), DenialReason::Revoked);
}

async fn the_history_goes_but_for_what_stands(stores: &Stores) {
    let [first, second, last] = [
        Used::create(stores).await,
        Used::create(stores).await,
        Used::create(stores).await,
    ];
    for gone in [&first, &second] {
        revoke(stores, KeyTarget::Id(gone.id)).await;
    }
    make_older(stores, 3).await;
    let (replica, _) = replicas(stores).await;
    replica.let_go(Some(2 * DAY)).await;
    let writes = stores.count("writes").await;
    // What created the key that is left, and the last write of all.
    assert_eq!((stores.count("keys").await, writes), (1, 2));
    let (position, _) = stores.load().await;
    let next = Used::create(stores).await;
    assert_eq!(changes_since(stores, position, 10).await.len(), 1);
    replica.let_go(Some(2 * DAY)).await;
    revoke(stores, KeyTarget::Id(last.id)).await;
    revoke(stores, KeyTarget::Id(next.id)).await;
    make_older(stores, 3).await;
    Used::create(stores).await;
    let (replica, _) = replicas(stores).await;
    replica.let_go(Some(2 * DAY)).await;
    assert_eq!(stores.count("keys").await, 1);
    assert!(stores.count("writes").await <= 2);
    assert!(stores.load().await.0.revision > Position::START.revision);
}

async fn a_request_id_is_forgotten_with_its_key(stores: &Stores) {
    let mut new = super::with_request_id("acme", "again");
    super::create(&stores.first, &new).await;
    revoke(stores, KeyTarget::Id(new.key.id)).await;
    make_older(stores, 3).await;
    Used::create(stores).await;
    let (replica, _) = replicas(stores).await;
    replica.let_go(Some(2 * DAY)).await;
    let first = new.key.id;
    new = super::with_request_id("acme", "again");
    super::create(&stores.first, &new).await;
    assert_ne!(new.key.id, first);
}

/// Its revocation came after a write that is young, so it is no older.
async fn a_key_that_was_revoked_by_a_clock_that_was_behind_stays(stores: &Stores) {
    let (_, new) = new_key("acme", "revoked");
    super::create(&stores.first, &new).await;
    let revocation = Revocation {
        now: Timestamp::from_micros(1_000_000).expect("in range"),
        ..super::revocation(KeyTarget::Id(new.key.id), None)
    };
    super::revoke_with(&stores.first, &revocation).await;
    let (replica, _) = replicas(stores).await;
    replica.let_go(Some(2 * DAY)).await;
    assert_eq!(stores.count("keys").await, 1);
    let create = match stores.cluster {
        None => "UPDATE writes SET write_time = 0",
        Some(_) => "UPDATE keyservice.writes SET write_time = 'epoch'",
    };
    stores.sql_behind_its_back(create).await;
    Used::create(stores).await;
    replica.let_go(Some(2 * DAY)).await;
    assert_eq!(stores.count("keys").await, 1, "only the new one");
}

async fn replicas(stores: &Stores) -> (Replica, Replica) {
    let first = Replica::start(stores, &stores.first).await;
    (first, Replica::start(stores, &stores.second).await)
}

fn denial(replica: &Replica, key: &Used) -> DenialReason {
    match replica.decide(key, Timestamp::now()) {
        Decision::Denial(denial) => denial.reason,
        Decision::Grant(grant) => panic!("{grant:?}"),
    }
}

async fn expire(stores: &Stores, key: &Used) {
    let id = key.id.as_uuid().simple().to_string();
    let (table, id, past) = match stores.cluster {
        None => ("keys", format!("x'{id}'"), "1000000"),
        Some(_) => ("keyservice.keys", format!("'{id}'"), "'2000-01-01'"),
    };
    stores
        .sql_behind_its_back(&format!(
            "UPDATE {table} SET expire_time = {past} WHERE key_id = {id}"
        ))
        .await;
}

/// Moves time on by so many days.
async fn make_older(stores: &Stores, days: i64) {
    for (table, column) in [("keys", "revoke_time"), ("writes", "write_time")] {
        let change = match stores.cluster {
            None => format!("UPDATE {table} SET {column} = {column} - {days} * 86400000000"),
            Some(_) => format!(
                "UPDATE keyservice.{table} SET {column} = {column} - interval '{days} days'"
            ),
        };
        stores.sql_behind_its_back(&change).await;
    }
}
