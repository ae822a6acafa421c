//! PostgreSQL's notifications wake the replicas. Without them, each renewal still finds new writes.

use crate::support::{
    eventually,
    postgres::{
        Cluster, database_in,
        roles::{create_role_for, role_in},
    },
    server::Server,
};
use std::time::{Duration, Instant};

/// With these settings, only a notification makes a replica apply a write soon.
const NO_POLLING: [&str; 2] = ["--lease=60s", "--renewal-interval=20s"];

#[tokio::test(flavor = "multi_thread")]
async fn notifications_spread_a_write_to_every_replica_within_100_milliseconds() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let writer = Server::start_with(&store, &NO_POLLING, &[]).await;
    let reader = Server::start_with(&store, &NO_POLLING, &[]).await;

    let delay = median_delay(&writer, &reader).await;
    assert!(delay < Duration::from_millis(100), "{delay:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_notifications_a_write_reaches_every_replica_within_a_second() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let writer = Server::start(&store).await;
    let reader = Server::start(&store).await;
    cluster.drop_notifications(database_in(&store));

    let delay = median_delay(&writer, &reader).await;
    assert!(delay < Duration::from_secs(1), "{delay:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lost_its_notifications_catches_up_when_they_are_back() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let writer = Server::start_with(&store, &NO_POLLING, &[]).await;
    let address = create_role_for("service", &cluster, &store);
    let role = role_in(&address);
    let reader = Server::start_with(&address, &NO_POLLING, &[]).await;
    let (mut writer, mut reader) = (writer.client().await, reader.client().await);
    let (token, key_id) = writer.create_key().await;

    cluster.psql("postgres", &format!("ALTER ROLE {role} NOLOGIN"));
    let listening = format!("usename = '{role}' AND (query LIKE 'LISTEN%' OR query = '')");
    assert_eq!(cluster.end_sessions(&listening), 1);
    let revoke = tokio::spawn(async move { writer.revoke(&key_id).await });
    let committed = "SELECT count(*) FROM keyservice.keys WHERE revoke_time IS NOT NULL";
    eventually("the revocation is committed", async || {
        cluster.psql(database_in(&store), committed) == "1"
    })
    .await;
    assert!(reader.is_granted(&token).await);
    assert!(!revoke.is_finished());

    cluster.psql("postgres", &format!("ALTER ROLE {role} LOGIN"));
    revoke.await.expect("no panic").expect("revoked");
    assert!(reader.is_revoked(&token).await);
}

/// The median duration of ten writes, after each of which the other replica must decide by it. A
/// median, since the machine may be busy.
async fn median_delay(writer: &Server, reader: &Server) -> Duration {
    let (mut writer, mut reader) = (writer.client().await, reader.client().await);
    let mut delays = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let (token, key_id) = writer.create_key().await;
        delays.push(started.elapsed());
        assert!(reader.is_granted(&token).await);

        let started = Instant::now();
        writer.revoke(&key_id).await.expect("revoked");
        delays.push(started.elapsed());
        assert!(reader.is_revoked(&token).await);
    }
    delays.sort();
    delays[delays.len() / 2]
}
