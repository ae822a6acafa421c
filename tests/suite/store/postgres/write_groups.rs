//! Writes that wait at the same time share transactions, which the database shows.

use crate::support::{
    caller, eventually, new_key,
    postgres::{session, table_lock::TableLock},
    stores::Stores,
};
use futures::{
    future::{join, join_all},
    poll,
};
use keyservice::{
    model::{account::Accounts, time::Timestamp},
    store::{KeyTarget, NewKey, Revocation, StillAllowed, StoreError},
};
use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// So few that [`join_all`] polls all of them in turn.
const MANY: usize = 24;

/// One of each kind is at the database. After them, those of each kind that wait are one group.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_behind_others_share_a_transaction() {
    let stores = Stores::postgres().await;
    let (old, new) = (many(), many());
    join_all(old.iter().map(|new| stores.first.keys.create(new))).await;
    let revocations: Vec<_> = old.iter().map(revocation_of).collect();
    let before = transactions(&stores).await;

    let lock = TableLock::against_writes("keys", &stores.address).await;
    let creations = join_all(new.iter().map(|new| stores.first.keys.create(new)));
    let revocations = revocations.iter();
    let revocations = join_all(revocations.map(|each| stores.first.keys.revoke(each)));
    let mut all = pin!(join(creations, revocations));
    assert!(poll!(&mut all).is_pending());
    eventually("two wait for the lock", async || {
        waiting(&stores).await == 2
    })
    .await;
    drop(lock);
    let (created, revoked) = all.await;
    for created in created {
        created.expect("answered").expect("on record").position();
    }
    for revoked in revoked {
        revoked.expect("answered").expect("found").position();
    }
    let made = transactions(&stores).await - before;
    assert!((2..=4).contains(&made), "{made} transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_given_up_before_its_turn_is_not_made() {
    let stores = Stores::postgres().await;
    let new = many();
    let lock = TableLock::against_writes("keys", &stores.address).await;
    let mut first = pin!(stores.first.keys.create(&new[0]));
    begin(&stores, first.as_mut()).await;
    {
        let mut others = pin!(join_all(
            new[1..].iter().map(|new| stores.first.keys.create(new))
        ));
        assert!(poll!(&mut others).is_pending());
    }
    drop(lock);
    first
        .await
        .expect("answered")
        .expect("on record")
        .position();
    let (_, last) = new_key("acme", "after those that were given up");
    let last = stores.first.keys.create(&last).await;
    last.expect("answered").expect("on record").position();
    assert_eq!(stores.count("keys").await, 2);
}

/// As for the writes behind it, its turn comes when those before it are done.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_lost_its_rights_before_its_turn_is_not_made() {
    let stores = Stores::postgres().await;
    let mut new = many();
    let lost = Arc::new(AtomicBool::new(false));
    let is_lost = lost.clone();
    new[MANY - 1].still_allowed = StillAllowed::so_long_as(move || !is_lost.load(Relaxed));
    let lock = TableLock::against_writes("keys", &stores.address).await;
    let mut first = pin!(stores.first.keys.create(&new[0]));
    begin(&stores, first.as_mut()).await;
    let others = new[1..].iter().map(|new| stores.first.keys.create(new));
    let mut others = pin!(join_all(others));
    assert!(poll!(&mut others).is_pending());
    lost.store(true, Relaxed);
    drop(lock);
    first
        .await
        .expect("answered")
        .expect("on record")
        .position();
    let mut made = others.await;
    let refused = made.pop().expect("the last").expect_err("not any more");
    assert!(matches!(refused, StoreError::Disallowed), "{refused}");
    assert!(made.iter().all(Result::is_ok));
    assert_eq!(stores.count("keys").await, MANY as i64 - 1);
}

/// Begins a write, up to the lock for which it waits.
async fn begin<W: Future>(stores: &Stores, mut write: Pin<&mut W>) {
    assert!(poll!(&mut write).is_pending());
    eventually("it waits for the lock", async || waiting(stores).await == 1).await;
}

fn many() -> Vec<NewKey> {
    let new = (0..MANY).map(|_| new_key("acme", "one of many").1);
    new.collect()
}

fn revocation_of(new: &NewKey) -> Revocation {
    Revocation {
        target: KeyTarget::Id(new.key.id),
        accounts: Accounts::All,
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

/// In how many transactions the writes were made.
async fn transactions(stores: &Stores) -> i64 {
    count(
        stores,
        "SELECT count(DISTINCT xmin::text) FROM keyservice.writes",
    )
    .await
}

/// How many statements wait for a lock.
async fn waiting(stores: &Stores) -> i64 {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    count(stores, waiting).await
}

async fn count(stores: &Stores, sql: &str) -> i64 {
    let row = session(&stores.address).await.query_one(sql, &[]).await;
    row.expect("counted").get(0)
}
