//! When keys were last used, in every store, with replicas that note uses in memory and store them.

use super::{all_of, changes_since, list, on_every_store, revoke};
use crate::support::{
    stores::{Stores, load},
    uses::{Replica, Used, minute, seconds_after},
};
use keyservice::{
    authorize::decision::Decision,
    model::key::KeyId,
    store::{Batch, KeyTarget, NotedUse},
};

on_every_store![
    the_latest_use_stays_unless_the_store_knows_one_that_is_late_enough,
    a_use_takes_no_revision_and_changes_no_etag,
    the_first_use_is_stored_by_the_next_batch_and_then_one_an_hour,
    a_use_after_a_silence_is_stored_by_the_next_batch,
    of_two_replicas_the_latest_use_counts_and_only_one_stores_it,
    a_replica_that_starts_knows_what_is_stored,
    what_a_replica_has_not_stored_yet_is_stored_at_its_end,
    a_denial_is_no_use,
];

async fn the_latest_use_stays_unless_the_store_knows_one_that_is_late_enough(stores: &Stores) {
    let key = Used::create(stores).await;
    let at = |time, unless_since| NotedUse {
        key_id: key.id,
        time: minute(time),
        unless_since: minute(unless_since),
    };
    for (noted, expected) in [
        (at(10, 10), 10),
        (at(20, 9), 10),
        (at(20, 11), 20),
        (at(15, 15), 20),
    ] {
        let unknown = NotedUse {
            key_id: KeyId::new(noted.time, &[0; 10]),
            ..noted
        };
        let stored = stores.first.uses.record_uses(&[unknown, noted]).await;
        assert_eq!(stored.expect("answered"), [(key.id, minute(expected))]);
        assert_eq!(key.stored(stores).await, Some(minute(expected)));
    }
}

async fn a_use_takes_no_revision_and_changes_no_etag(stores: &Stores) {
    let key = Used::create(stores).await;
    let (position, _) = stores.load().await;
    let before = list(&stores.first, &all_of("acme")).await.remove(0);
    let replica = Replica::start(stores, &stores.first).await;
    replica.grant(&key, minute(0));
    replica.store_due(minute(0)).await;
    let used = list(&stores.second, &all_of("acme")).await.remove(0);
    assert_eq!(used.last_used_time, Some(minute(0)));
    assert_eq!(used.version, before.version);
    assert_eq!(changes_since(stores, position, 10).await, []);
    let (loaded_at, loaded) = load(&*stores.first.changes).await.expect("it loads");
    let uses: Vec<_> = loaded
        .into_iter()
        .filter_map(|batch| match batch {
            Batch::Uses(uses) => Some(uses),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(uses, [(key.id, minute(0))]);
    assert_eq!(loaded_at, position);
}

async fn the_first_use_is_stored_by_the_next_batch_and_then_one_an_hour(stores: &Stores) {
    let key = Used::create(stores).await;
    let replica = Replica::start(stores, &stores.first).await;
    let mut times = Vec::new();
    for number in 0..=120 {
        let used_at = seconds_after(minute(number), 59);
        replica.grant(&key, used_at);
        replica.store_due(used_at).await;
        let stored = key.stored(stores).await.expect("a use");
        assert!(
            stored <= used_at && used_at < seconds_after(stored, 3600),
            "{number}"
        );
        if times.last() != Some(&stored) {
            times.push(stored);
        }
    }
    assert_eq!(times, [minute(0), minute(58), minute(116)]);
}

async fn a_use_after_a_silence_is_stored_by_the_next_batch(stores: &Stores) {
    let key = Used::create(stores).await;
    let replica = Replica::start(stores, &stores.first).await;
    for number in [0, 10, 500] {
        replica.grant(&key, minute(number));
        replica.store_due(minute(number)).await;
    }
    assert_eq!(key.stored(stores).await, Some(minute(500)));
    replica.grant(&key, minute(510));
    replica.store_due(minute(569)).await;
    assert_eq!(key.stored(stores).await, Some(minute(510)));
}

async fn of_two_replicas_the_latest_use_counts_and_only_one_stores_it(stores: &Stores) {
    let key = Used::create(stores).await;
    let first = Replica::start(stores, &stores.first).await;
    let second = Replica::start(stores, &stores.second).await;
    for number in 0..50 {
        for replica in [&second, &first] {
            replica.grant(&key, minute(number));
            replica.store_due(minute(number)).await;
            assert_eq!(key.stored(stores).await, Some(minute(0)));
        }
    }
    second.grant(&key, minute(60));
    second.store_due(minute(60)).await;
    first.store_all().await;
    assert_eq!(key.stored(stores).await, Some(minute(60)));
}

async fn a_replica_that_starts_knows_what_is_stored(stores: &Stores) {
    let key = Used::create(stores).await;
    let first = Replica::start(stores, &stores.first).await;
    first.grant(&key, minute(0));
    first.store_due(minute(0)).await;
    let second = Replica::start(stores, &stores.second).await;
    second.grant(&key, minute(30));
    second.store_due(minute(30)).await;
    assert_eq!(key.stored(stores).await, Some(minute(0)));
    second.grant(&key, minute(58));
    second.store_due(minute(58)).await;
    assert_eq!(key.stored(stores).await, Some(minute(58)));
}

async fn what_a_replica_has_not_stored_yet_is_stored_at_its_end(stores: &Stores) {
    let (used, unused) = (Used::create(stores).await, Used::create(stores).await);
    let replica = Replica::start(stores, &stores.first).await;
    for number in [0, 7] {
        replica.grant(&used, minute(number));
        replica.store_due(minute(number)).await;
    }
    assert_eq!(used.stored(stores).await, Some(minute(0)));
    replica.store_all().await;
    assert_eq!(used.stored(stores).await, Some(minute(7)));
    assert_eq!(unused.stored(stores).await, None);
}

async fn a_denial_is_no_use(stores: &Stores) {
    let key = Used::create(stores).await;
    revoke(stores, KeyTarget::Id(key.id)).await;
    let replica = Replica::start(stores, &stores.first).await;
    let denied = replica.decide(&key, minute(0));
    assert!(matches!(denied, Decision::Denial(_)), "{denied:?}");
    replica.store_all().await;
    assert_eq!(key.stored(stores).await, None);
}
