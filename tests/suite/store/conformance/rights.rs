//! A write whose caller has lost its rights before it is made is not made.

use super::{
    accounts::suspend,
    batch_revoke::batch,
    create_as,
    domains::{addition, removal},
    key_changes::{replacement, suspension},
    on_every_store, revocation,
};
use crate::support::{
    eventually, new_key, postgres::table_lock::TableLock, rights::Rights, stores::Stores,
};
use futures::future::{BoxFuture, join_all};
use keyservice::{
    model::time::Timestamp,
    store::{KeyTarget, StillAllowed, StoreError},
};

on_every_store![no_write_is_made_for_a_caller_that_has_lost_its_rights,];

/// A write that is not made yet, by its name. It gives the error, if it fails.
pub(in crate::store) type Write<'a> = (&'static str, BoxFuture<'a, Option<StoreError>>);

/// One write of each kind, each of which would change something.
pub(in crate::store) async fn every_write<'a>(
    stores: &'a Stores,
    still_allowed: &StillAllowed,
) -> Vec<Write<'a>> {
    let store = &stores.first;
    let key = create_as(stores, "a key", |_| {}).await.key;
    let domain = addition("acme", "example.com", true);
    drop(store.domains.add_domain(&domain).await.expect("added"));

    let target = || KeyTarget::Id(key.id);
    let (_, mut create) = new_key("acme", "too late");
    let mut revoke = revocation(target(), None);
    let mut replace = replacement(&key.resumed().expect("active"));
    let mut suspend_key = suspension(target(), None);
    let mut revoke_many = batch(vec![key.id], Timestamp::now());
    let mut add = addition("acme", "example.org", false);
    let mut remove = removal("acme", "example.com");
    let mut suspend_account = suspend("acme", "unpaid");
    for allowed in [
        &mut create.still_allowed,
        &mut revoke.still_allowed,
        &mut replace.still_allowed,
        &mut suspend_key.still_allowed,
        &mut revoke_many.still_allowed,
        &mut add.still_allowed,
        &mut remove.still_allowed,
        &mut suspend_account.still_allowed,
    ] {
        *allowed = still_allowed.clone();
    }
    let (keys, domains, accounts) = (&store.keys, &store.domains, &store.accounts);
    let remove_again = remove.clone();
    vec![
        (
            "create",
            Box::pin(async move { keys.create(&create).await.err() }),
        ),
        (
            "revoke",
            Box::pin(async move { keys.revoke(&revoke).await.err() }),
        ),
        (
            "replace",
            Box::pin(async move { keys.replace(&replace).await.err() }),
        ),
        (
            "set_key_suspension",
            Box::pin(async move { keys.set_key_suspension(&suspend_key).await.err() }),
        ),
        (
            "batch_revoke",
            Box::pin(async move { keys.batch_revoke(&revoke_many).await.err() }),
        ),
        (
            "add_domain",
            Box::pin(async move { domains.add_domain(&add).await.err() }),
        ),
        (
            "remove_domain",
            Box::pin(async move { domains.remove_domain(&remove).await.err() }),
        ),
        (
            "remove_subdomains",
            Box::pin(async move { domains.remove_subdomains(&remove_again).await.err() }),
        ),
        (
            "set_suspension",
            Box::pin(async move { accounts.set_suspension(&suspend_account).await.err() }),
        ),
    ]
}

fn assert_disallowed(write: &str, error: Option<StoreError>) {
    let is_refused = matches!(error, Some(StoreError::Disallowed));
    assert!(is_refused, "{write}: {error:?}");
}

async fn no_write_is_made_for_a_caller_that_has_lost_its_rights(stores: &Stores) {
    let writes = every_write(stores, &StillAllowed::so_long_as(|| false)).await;
    let before = stores.load().await;
    for (write, made) in writes {
        assert_disallowed(write, made.await);
    }
    assert_eq!(stores.load().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_at_postgresql_is_broken_off_when_its_caller_loses_its_rights() {
    let stores = Stores::postgres().await;
    let rights = Rights::given();
    let writes = every_write(&stores, &rights.still_allowed()).await;
    let before = stores.load().await;
    let lock = TableLock::on_table("writers_lock", &stores.address).await;
    for (write, made) in writes {
        rights.give();
        let lose = async {
            eventually(write, async || lock.blocks("keyservice").await).await;
            rights.take();
            // Whoever takes them waits until the write has ended.
            rights.wait_until_unused().await;
        };
        let (error, ()) = tokio::join!(made, lose);
        assert_disallowed(write, error);
        eventually("it has left the server", async || {
            !lock.blocks("keyservice").await
        })
        .await;
    }
    drop(lock);
    assert_eq!(stores.load().await, before);
}

/// The test's thread alone runs the tasks, so both writes wait before the first turn, and are one group.
#[tokio::test]
async fn the_others_of_a_group_are_made_without_the_write_that_was_broken_off() {
    let stores = Stores::postgres().await;
    let rights = Rights::given();
    let [(_, mut lost), (_, kept)] = ["lost", "kept"].map(|name| new_key("acme", name));
    lost.still_allowed = rights.still_allowed();
    let lock = TableLock::on_table("writers_lock", &stores.address).await;
    let created = join_all([&lost, &kept].map(|new| stores.first.keys.create(new)));
    let lose = async {
        let blocks = async || lock.blocks("create_keys").await;
        eventually("both wait", blocks).await;
        rights.take();
        rights.wait_until_unused().await;
        eventually("one is there again", blocks).await;
        drop(lock);
    };
    let (mut created, ()) = tokio::join!(created, lose);
    let made = created.pop().expect("two").expect("answered");
    made.expect("on record").position();
    let lost = created.pop().expect("one more");
    assert_disallowed("the first of the group", lost.err());
    assert_eq!(stores.count("keys").await, 1);
}
