//! The server allows fewer connections than a replica may open: calls wait for those that there are,
//! and leases come first.

use crate::support::{
    eventually,
    postgres::{
        Cluster,
        roles::{create_role_for, role_in},
    },
    server::{Server, assert_refused, command},
    stores::use_everything,
};
use futures::future::join_all;
use std::time::{Duration, Instant};

/// A migrated database, and an address for a role that may open this many connections to it.
async fn limited_to(connections: u32, cluster: &Cluster) -> (String, String) {
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let service = create_role_for("service", cluster, &store);
    limit(cluster, &service, connections);
    (store, service)
}

fn limit(cluster: &Cluster, service: &str, connections: u32) {
    let role = role_in(service);
    let limit = format!("ALTER ROLE {role} CONNECTION LIMIT {connections}");
    cluster.psql("postgres", &limit);
}

async fn create_at_once(server: &Server, count: usize) {
    let clients = join_all((0..count).map(|_| server.client())).await;
    let created = join_all(clients.into_iter().map(async |mut client| {
        let created = client.create("acme", "a key").await;
        created.map(drop)
    }));
    for created in created.await {
        created.expect("created");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_creates_at_once_wait_for_the_five_connections_that_are_left_for_calls() {
    let cluster = Cluster::shared();
    let (_, service) = limited_to(8, &cluster).await;
    let server = Server::start_with(&service, &["--lease=1s"], &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;

    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        create_at_once(&server, 60).await;
        assert!(client.is_granted(&token).await);
        assert!(server.is_serving().await);
    }
    let log = server.log();
    let warned = log.matches("calls wait for the connections that this replica has");
    // Only two writes are at the database at once, so the connections are used up only while the
    // announcements of others have not ended.
    assert!(warned.count() <= 1, "{log}");
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
}

/// The two connections for leases break, and the server allows no more than calls have.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_gets_its_connections_at_the_expense_of_calls() {
    let cluster = Cluster::start();
    let (_, service) = limited_to(8, &cluster).await;
    let server = Server::start_with(&service, &["--lease=2s"], &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    create_at_once(&server, 60).await;

    for of_calls in ["idle", "busy"] {
        limit(&cluster, &service, 6);
        let end = cluster
            .end_sessions("query LIKE '%keyservice.renew_by_feed(%' OR query LIKE '%look_at%'");
        assert!(end > 0);
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(4) {
            if of_calls == "busy" {
                create_at_once(&server, 60).await;
            }
            assert!(client.is_granted(&token).await, "{}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        limit(&cluster, &service, 8);
    }
    create_at_once(&server, 60).await;
}

/// Authorize needs no other connection.
#[tokio::test(flavor = "multi_thread")]
async fn with_two_connections_a_replica_holds_its_lease_and_calls_say_what_is_short() {
    let cluster = Cluster::shared();
    let (store, service) = limited_to(2, &cluster).await;
    let writer = Server::start(&store).await;
    let (token, _) = writer.client().await.create_key().await;
    let server = Server::start_with(&service, &["--lease=1s"], &[]).await;
    let mut client = server.client().await;

    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        assert!(client.is_granted(&token).await);
        let refused = client.create("acme", "a key").await.expect_err("no room");
        assert_eq!(refused.code(), tonic::Code::Unavailable);
    }
    let log = server.log();
    assert!(log.contains("too many connections for role"), "{log}");

    limit(&cluster, &service, 1);
    let parts = ["too many connections for role", "CONNECTION LIMIT"];
    drop(server);
    eventually("its sessions have ended", async || {
        let role = role_in(&service);
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
        cluster.psql("postgres", &count) == "0"
    })
    .await;
    assert_refused(&mut command(&service), &parts).await;
}
