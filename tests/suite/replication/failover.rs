//! A failover to a synchronous standby loses no acknowledged write.

use crate::support::{
    caller, new_key,
    postgres::{database_in, replicated::ReplicatedCluster, session},
    stores,
};
use keyservice::{
    model::{
        account::Accounts,
        key::{Key, Status, filter::KeyFilter},
        time::{LeaseTerm, Timestamp},
    },
    store::{
        KeyStore, KeyTarget, ListQuery, Position, Progress, Renewal, ReplicaId, ReplicaRegistry,
        Revocation, StillAllowed,
    },
};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// Longer than a commit waits for a healthy standby.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_revoke_returns_only_when_the_standby_has_the_first() {
    let mut cluster = ReplicatedCluster::start(1).await;
    let address = cluster.primary().create_database();
    let store = stores::open(&address).await;
    let (_, new) = new_key("acme", "dear");
    let _ = store.create(&new).await.expect("created");

    cluster.hold_replication(true);
    let revoked = timeout(WRITE_TIMEOUT, store.revoke(&revocation(&new.key))).await;
    revoked.expect_err("the standby does not have the write");
    // The primary has the write, and shows it after a restart.
    cluster.kill_primary();
    cluster.restart_primary();
    let revoked = timeout(WRITE_TIMEOUT, store.revoke(&revocation(&new.key))).await;
    revoked.expect_err("the standby still does not have the write");

    cluster.hold_replication(false);
    let revoked = store.revoke(&revocation(&new.key)).await;
    let _ = revoked.expect("the standby has the write");
    cluster.lose_primary();
    cluster.promote();
    let store = stores::open(&cluster.primary().address_of(database_in(&address))).await;
    assert_eq!(status(&store, &new.key).await, Status::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_refuses_to_list_the_replicas_that_hold_leases() {
    let cluster = ReplicatedCluster::start(1).await;
    let address = cluster.primary().create_database();
    let store = stores::open(&address).await;
    cluster.wait_until_replayed();
    let standby = cluster.standby();
    let on_standby = session(&standby.address_of(database_in(&address))).await;

    // The standby has acknowledged writes on its disk that it does not show yet.
    standby.psql("postgres", "SELECT pg_wal_replay_pause()");
    store.renew(&renewal()).await.expect("renewed");
    assert_eq!(store.replicas(&[]).await.expect("seen").replicas.len(), 1);
    let look = "SELECT keyservice.look_at_replicas('{}', '{}')";
    let refused = on_standby.batch_execute(look).await;
    let refused = refused.expect_err("a standby cannot know");
    assert_eq!(refused.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
}

fn revocation(key: &Key) -> Revocation {
    Revocation {
        target: KeyTarget::Id(key.id),
        accounts: Accounts::All,
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

async fn status(store: &dyn KeyStore, key: &Key) -> Status {
    let all = ListQuery {
        filter: KeyFilter {
            account_id: Some(key.account_id.clone()),
            ..KeyFilter::default()
        },
        after: None,
        limit: 10,
        search_len: 10,
        now: Timestamp::now(),
    };
    let listed = store.list(&all).await.expect("answered");
    listed.expect("all of them").keys[0].status(Timestamp::now())
}

fn renewal() -> Renewal {
    Renewal {
        id: ReplicaId::from_uuid(Uuid::from_u128(1)),
        name: "first".to_owned(),
        renewals: 1,
        term: LeaseTerm::new(Duration::from_secs(2)),
        applied: Position::START.revision,
        since: Progress::at(Position::START),
        limit: 100,
    }
}
