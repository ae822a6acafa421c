//! The parameters of libpq in a PostgreSQL address have the same meaning as in libpq.

use crate::support::{
    eventually,
    postgres::{Cluster, database_in},
    server::{Server, assert_refused, command},
};
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

#[tokio::test(flavor = "multi_thread")]
async fn application_name_and_options_reach_every_session() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    // This role has no rights until an option makes it the owner.
    let role = format!("nobody_{database}");
    let create = format!("CREATE ROLE {role} LOGIN NOINHERIT IN ROLE keyservice");
    cluster.psql("postgres", &create);
    let address = cluster.address_for(&role, database);
    let parameters = "application_name=key%20service&options=-c%20role%3Dkeyservice";
    let server = Server::start(&format!("{address}?{parameters}")).await;
    server.client().await.create_key().await;

    let names =
        format!("SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = '{role}'");
    assert_eq!(cluster.psql(database, &names), "key service");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connect_timeout_of_the_address_overrides_the_setting() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("an address");
    let started = Instant::now();

    let store = format!("postgres://someone@{address}/keys?connect_timeout=1");
    let limits = ["--connect-timeout=1h", "--acquire-timeout=1h"];
    assert_refused(command(&store).args(limits), &["no answer within 1s"]).await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_even_if_the_first_host_of_its_address_does_not_answer() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = format!("@{},", silent.local_addr().expect("an address"));

    let hosts = store.replacen('@', &silent, 1);
    let server = Server::start_with(&hosts, &["--connect-timeout=1s"], &[]).await;
    server.client().await.create_key().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writable_host_is_used_even_when_the_first_host_hangs() {
    let primary = Cluster::start();
    let store = primary.create_database();
    let database = database_in(&store);
    let standby = primary.start_standby();
    let hosts = |ports: [u16; 2]| {
        let [first, second] = ports;
        format!(
            "postgres://keyservice@127.0.0.1:{first},127.0.0.1:{second}/{database}\
             ?target_session_attrs=read-write"
        )
    };
    let limits = ["--statement-timeout=500ms"];
    let standby_first = hosts([standby.port(), primary.port()]);
    let standby_first = Server::start_with(&standby_first, &limits, &[]).await;
    let (token, key_id) = standby_first.client().await.create_key().await;
    let written = primary.psql("postgres", "SELECT pg_current_wal_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    eventually("the standby has the key", async || {
        standby.psql("postgres", &replayed) == "t"
    })
    .await;

    let primary_first = hosts([primary.port(), standby.port()]);
    let primary_first = Server::start_with(&primary_first, &limits, &[]).await;
    primary.freeze();
    standby.promote();
    let replicas = [standby_first, primary_first];
    for replica in &replicas {
        eventually("it uses the new primary", async || {
            replica.log().contains("following the store again") && replica.is_serving().await
        })
        .await;
    }
    let mut client = replicas[1].client().await;
    eventually("it writes again", async || {
        client.revoke(&key_id).await.is_ok()
    })
    .await;
    assert!(replicas[0].client().await.is_revoked(&token).await);
}
