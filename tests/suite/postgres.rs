//! Several replicas on one PostgreSQL: how they start, what wakes them, what they rely on.

use crate::support::{
    audit::records,
    eventually,
    postgres::{Cluster, database_in},
    server::{Server, assert_refused, command},
    tools::postgres_tool,
};
use futures::future::join_all;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// What a replica follows in time with this, it followed because it was notified.
const NO_POLLING: [&str; 2] = ["--lease=60s", "--renewal-interval=20s"];

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_followed_everywhere_in_milliseconds_by_notification() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    let writer = Server::start_with(&store, &NO_POLLING, &[]).await;
    let reader = Server::start_with(&store, &NO_POLLING, &[]).await;

    let delay = median_delay(&writer, &reader).await;
    assert!(delay < Duration::from_millis(100), "{delay:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_followed_everywhere_within_a_second_when_notifications_are_lost() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    let writer = Server::start(&store).await;
    let reader = Server::start(&store).await;
    cluster.lose_notifications(database_in(&store));

    let delay = median_delay(&writer, &reader).await;
    assert!(delay < Duration::from_secs(1), "{delay:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_could_not_listen_looks_for_what_it_missed_when_it_listens_again() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    let writer = Server::start_with(&store, &NO_POLLING, &[]).await;
    let role = everyday_role(&cluster, &store);
    let address = cluster.address_for(&role, database_in(&store));
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

#[tokio::test(flavor = "multi_thread")]
async fn ten_replicas_start_at_once_on_an_empty_database_and_migrate_it_once() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    let replicas = join_all((0..10).map(|_| Server::start(&store))).await;

    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/postgres/migrations");
    let files = std::fs::read_dir(files).expect("a directory").count();
    let recorded = "SELECT count(*) || ' up to ' || max(number) FROM keyservice.migrations";
    let recorded = cluster.psql(database_in(&store), recorded);
    assert_eq!(recorded, format!("{files} up to {files}"));
    let migrated = replicas
        .iter()
        .map(|replica| replica.log().matches("migrating").count());
    assert_eq!(migrated.sum::<usize>(), files);
    let (token, _) = replicas[0].client().await.create_key().await;
    for replica in &replicas {
        let mut client = replica.client().await;
        assert!(client.is_granted(&token).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_a_newer_release_migrated_is_refused_and_left_as_it_is() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    Server::start(&store).await.terminate().await;
    let later = "INSERT INTO keyservice.migrations (number, name) VALUES (1000, '1000_later.sql')";
    cluster.psql(database_in(&store), later);
    let before = dump(&store);

    let parts = ["version 1000", "a newer release has migrated it"];
    assert_refused(&mut command(&store), &parts).await;
    assert_eq!(dump(&store), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_days_work_needs_no_more_rights_than_its_page_grants() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    Server::start(&store).await.terminate().await;
    let role = everyday_role(&cluster, &store);
    let address = cluster.address_for(&role, database_in(&store));

    let server = Server::start(&address).await;
    let mut client = server.client().await;
    let (token, key_id) = client.create_key().await;
    assert!(client.is_granted(&token).await);
    assert_eq!(client.list("acme").await.expect("listed").len(), 1);
    client.revoke(&key_id).await.expect("revoked");
    assert!(client.is_revoked(&token).await);
    assert_eq!(records(&address, &[]).len(), 3);
    assert!(server.terminate().await.success());
    let left = "SELECT count(*) FROM keyservice.replicas";
    assert_eq!(cluster.psql(database_in(&store), left), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_without_the_right_to_create_a_schema_says_so() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    let role = format!("stranger_{}", database_in(&store));
    cluster.psql("postgres", &format!("CREATE ROLE {role} LOGIN"));

    let address = cluster.address_for(&role, database_in(&store));
    let parts = ["permission denied", "a role that may create a schema"];
    assert_refused(&mut command(&address), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_succeed_though_the_database_defaults_to_serializable() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    let database = database_in(&store);
    let stricter = "SET default_transaction_isolation = serializable";
    cluster.psql("postgres", &format!("ALTER DATABASE {database} {stricter}"));
    let replicas = join_all((0..2).map(|_| Server::start(&store))).await;

    let writers = join_all(replicas.iter().cycle().take(8).map(Server::client)).await;
    join_all(writers.into_iter().map(async |mut writer| {
        for _ in 0..5 {
            let (_, key_id) = writer.create_key().await;
            writer.revoke(&key_id).await.expect("revoked");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_on_disk_though_the_database_defaults_to_asynchronous_commit() {
    let mut cluster = Cluster::start();
    let store = cluster.database();
    cluster.set("synchronous_commit", "off");
    // Otherwise the server might write it in time all the same.
    cluster.set("wal_writer_delay", "10s");
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    let (_, key_id) = client.create_key().await;
    cluster.kill();
    server.kill().await;

    cluster.restart();
    let server = Server::start(&store).await;
    let keys = server.client().await.list("acme").await.expect("listed");
    assert_eq!(keys.first().map(|key| &key.key_id), Some(&key_id));
}

/// Of ten writes, how long one took that the other replica follows when it returns; the median,
/// since the machine may be busy.
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

/// A new role, with the rights on a migrated database that `docs/postgres.md` grants.
fn everyday_role(cluster: &Cluster, store: &str) -> String {
    let database = database_in(store);
    let role = format!("everyday_{database}");
    let page = include_str!("../../docs/postgres.md");
    let (_, block) = page.split_once("```sql\n").expect("a block");
    let (grants, _) = block.split_once("```").expect("its end");
    let grants = grants.replace(" everyday;", &format!(" {role};"));
    cluster.psql(database, &format!("CREATE ROLE {role} LOGIN; {grants}"));
    role
}

/// All that is in a database, but for the dump's own random lines.
fn dump(store: &str) -> String {
    let dumped = Command::new(postgres_tool("pg_dump")).arg(store).output();
    let dumped = dumped.expect("pg_dump runs");
    assert!(dumped.status.success());
    let text = String::from_utf8(dumped.stdout).expect("UTF-8");
    let lines = text.lines().filter(|line| !line.starts_with('\\'));
    lines.collect::<Vec<_>>().join("\n")
}
