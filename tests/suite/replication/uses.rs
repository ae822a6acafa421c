//! Uses of keys, and what else happens meanwhile.

use crate::support::{
    eventually,
    postgres::{Cluster, table_lock::TableLock},
    server::{Server, sqlite_in},
    stores::Stores,
    uses::{Replica, Used, minute},
};
use std::time::{Duration, SystemTime};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_no_use_that_memory_has() {
    let stores = Stores::postgres().await;
    let key = Used::create(&stores).await;
    let replica = Replica::start(&stores, &stores.first).await;
    replica.grant(&key, minute(0));
    let rename = "ALTER TABLE keyservice.key_uses RENAME TO away";
    stores.sql(rename).await.expect("renamed");
    for number in 0..300 {
        replica.grant(&key, minute(number));
        replica
            .recorder()
            .store_due(minute(number))
            .await
            .expect_err("there is no table");
    }
    let rename = "ALTER TABLE keyservice.away RENAME TO key_uses";
    stores.sql(rename).await.expect("renamed");
    replica.store_due(minute(500)).await;
    assert_eq!(key.stored(&stores).await, Some(minute(299)));
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_that_wait_for_the_database_hold_up_no_call() {
    let stores = Stores::postgres().await;
    let key = Used::create(&stores).await;
    let replica = Replica::start(&stores, &stores.first).await;
    replica.grant(&key, minute(0));
    let lock = TableLock::against_writes("key_uses", &stores.address).await;
    let recorder = replica.recorder();
    let (stored, ()) = tokio::join!(recorder.store_all(), async {
        eventually("the uses wait", async || lock.blocks("key_uses").await).await;
        replica.grant(&key, minute(1));
        Used::create(&stores).await;
        assert_eq!(key.stored(&stores).await, None);
        drop(lock);
    });
    stored.expect("stored in the end");
    assert_eq!(key.stored(&stores).await, Some(minute(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_on_sqlite_stores_the_last_uses_when_it_ends() {
    let directory = crate::support::directory();
    assert_last_uses_are_stored(&sqlite_in(&directory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_on_postgres_stores_the_last_uses_when_it_ends() {
    assert_last_uses_are_stored(&Cluster::shared().create_database()).await;
}

async fn assert_last_uses_are_stored(store: &str) {
    let server = Server::start(store).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    assert_eq!(
        client.list("acme").await.expect("listed")[0].last_used_time,
        None
    );
    let before = SystemTime::now();
    assert!(client.is_granted(&token).await);
    let after = SystemTime::now();
    server.terminate().await;

    let server = Server::start(store).await;
    let key = server
        .client()
        .await
        .list("acme")
        .await
        .expect("listed")
        .remove(0);
    let time = |time: Option<_>| SystemTime::try_from(time.expect("there is one"));
    let used = time(key.last_used_time).expect("a time");
    assert!(used <= after && before <= used + Duration::from_secs(60));
    let created = time(key.create_time).expect("a time");
    assert!(
        created <= used,
        "it is rounded, but not to before the key was there"
    );
}
