//! A write whose caller has lost its rights before its turn is not made.

use super::{
    accounts::suspend,
    batch_revoke::batch,
    create_as,
    domains::{addition, removal},
    key_changes::{replacement, suspension},
    on_every_store, revocation,
};
use crate::support::{new_key, stores::Stores};
use keyservice::{
    model::time::Timestamp,
    store::{KeyTarget, StillAllowed, StoreError},
};

on_every_store![no_write_is_made_for_a_caller_that_has_lost_its_rights,];

async fn no_write_is_made_for_a_caller_that_has_lost_its_rights(stores: &Stores) {
    let store = &stores.first;
    let key = create_as(stores, "a key", |_| {}).await.key;
    let domain = addition("acme", "example.com", true);
    drop(store.domains.add_domain(&domain).await.expect("added"));
    let before = stores.load().await;

    let target = || KeyTarget::Id(key.id);
    let (_, mut create) = new_key("acme", "too late");
    let mut revoke = revocation(target(), None);
    let mut replace = replacement(&key.resumed().expect("active"));
    let mut suspend_key = suspension(target(), None);
    let mut revoke_many = batch(vec![key.id], Timestamp::now());
    let mut add = addition("acme", "example.org", false);
    let mut remove = removal("acme", "example.com");
    let mut suspend_account = suspend("acme", "unpaid");
    for still_allowed in [
        &mut create.still_allowed,
        &mut revoke.still_allowed,
        &mut replace.still_allowed,
        &mut suspend_key.still_allowed,
        &mut revoke_many.still_allowed,
        &mut add.still_allowed,
        &mut remove.still_allowed,
        &mut suspend_account.still_allowed,
    ] {
        *still_allowed = StillAllowed::so_long_as(|| false);
    }
    let refused = [
        ("create", store.keys.create(&create).await.err()),
        ("revoke", store.keys.revoke(&revoke).await.err()),
        ("replace", store.keys.replace(&replace).await.err()),
        (
            "set_key_suspension",
            store.keys.set_key_suspension(&suspend_key).await.err(),
        ),
        (
            "batch_revoke",
            store.keys.batch_revoke(&revoke_many).await.err(),
        ),
        ("add_domain", store.domains.add_domain(&add).await.err()),
        (
            "remove_domain",
            store.domains.remove_domain(&remove).await.err(),
        ),
        (
            "remove_subdomains",
            store.domains.remove_subdomains(&remove).await.err(),
        ),
        (
            "set_suspension",
            store.accounts.set_suspension(&suspend_account).await.err(),
        ),
    ];
    for (write, error) in refused {
        let is_refused = matches!(error, Some(StoreError::Disallowed));
        assert!(is_refused, "{write}: {error:?}");
    }
    assert_eq!(stores.load().await, before);
}
