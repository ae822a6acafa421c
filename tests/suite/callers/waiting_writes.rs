//! Writes that wait at PostgreSQL while their caller is removed.

use super::lost_rights::Callers;
use crate::support::{
    certificates::Authority,
    eventually,
    postgres::{
        Cluster, database_in,
        proxy::Proxy,
        replicated::ReplicatedCluster,
        session,
        table_lock::{TableLock, with_schema},
    },
};
use keyservice::grpc::proto::CreateResponse;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

fn create(callers: &Callers) -> JoinHandle<Result<CreateResponse, Status>> {
    let mut acme = callers.client(&callers.acme);
    tokio::spawn(async move { acme.create("acme", "late").await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_a_removed_caller_has_ended_unmade_when_the_log_says_that_the_change_is_in_use()
{
    let (cluster, authority) = (Cluster::start(), Authority::new());
    authority.certify(&cluster, "db.example.com");
    let store = with_schema(cluster.create_database()).await;
    let over_tls = format!(
        "postgres://keyservice@db.example.com:{}/{}?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={}",
        cluster.port(),
        database_in(&store),
        authority.path().display()
    );
    let mut callers = Callers::start_on(Some(&over_tls)).await;
    let lock = TableLock::on_table("writers_lock", &store).await;
    let create = create(&callers);
    eventually("it waits", async || lock.blocks("create_keys").await).await;
    callers.replace_acme("").await;
    assert!(!lock.blocks("create_keys").await);
    let refused = create.await.expect("no panic").expect_err("removed");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    drop(lock);
    assert_eq!(callers.key_count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_not_said_to_be_in_use_while_a_write_of_a_removed_caller_may_still_be_made() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let proxy = Proxy::start(cluster.port(), 1).await;
    let behind_proxy = store.replace(&cluster.port().to_string(), &proxy.port().to_string());
    let behind_proxy = format!("{behind_proxy}?sslmode=disable");
    let mut callers = Callers::start_on(Some(&behind_proxy)).await;
    let lock = TableLock::on_table("writers_lock", &store).await;
    let create = create(&callers);
    eventually("it waits", async || lock.blocks("create_keys").await).await;
    // So that no request to cancel it reaches the server.
    proxy.change_conditions(|conditions| conditions.refuses_connections = true);
    callers.write_file("");
    eventually("the caller is unknown", async || {
        let answer = callers.client(&callers.acme).list("acme").await;
        answer.is_err_and(|refused| refused.code() == Code::Unauthenticated)
    })
    .await;
    assert!(!callers.change_is_logged());
    assert!(lock.blocks("create_keys").await);
    proxy.change_conditions(|conditions| conditions.refuses_connections = false);
    let refused = create.await.expect("no panic").expect_err("removed");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    eventually("it is in use", async || callers.change_is_logged()).await;
}

/// PostgreSQL answers a commit whose wait for a standby is cancelled as if the standby had it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_committed_before_it_could_be_broken_off_still_waits_for_the_standby() {
    let cluster = ReplicatedCluster::start(1).await;
    let store = with_schema(cluster.primary().create_database()).await;
    let mut callers = Callers::start_on(Some(&store)).await;
    let looker = session(&store).await;
    let waiting = async |text: &str| {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' \
                     AND datname = $1 AND query LIKE '%' || $2 || '%'";
        let row = looker
            .query_one(count, &[&database_in(&store), &text])
            .await;
        row.expect("counted").get::<_, i64>(0) == 1
    };
    cluster.hold_replication(true);
    let create = create(&callers);
    eventually("it is committed here", async || {
        waiting("create_keys").await
    })
    .await;
    callers.replace_acme("").await;
    eventually("it waits again", async || waiting("a commit").await).await;
    assert!(!create.is_finished());
    cluster.hold_replication(false);
    create.await.expect("no panic").expect("made in time");
    assert_eq!(callers.key_count().await, 1);
}

/// Whoever has the service's role, or an operator who sees a write that hangs, may ask the server to cancel it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_the_standby_also_when_others_end_that_wait() {
    let cluster = ReplicatedCluster::start(1).await;
    let store = with_schema(cluster.primary().create_database()).await;
    let callers = Callers::start_on(Some(&store)).await;
    let other = session(&store).await;
    cluster.hold_replication(true);
    let create = create(&callers);
    let mut cancelled = 0;
    eventually("a few waits are ended", async || {
        let cancel = "WITH waiting AS MATERIALIZED ( \
                          SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = $1) \
                      SELECT count(pg_cancel_backend(pid)) FROM waiting";
        let row = other.query_one(cancel, &[&database_in(&store)]).await;
        cancelled += row.expect("asked").get::<_, i64>(0);
        cancelled >= 5
    })
    .await;
    assert!(!create.is_finished());
    cluster.hold_replication(false);
    create.await.expect("no panic").expect("made in time");
    assert_eq!(callers.key_count().await, 1);
}
