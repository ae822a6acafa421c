//! The schema: how it is created and migrated, and which rights that needs.

use crate::support::{
    postgres::{Cluster, database_in, roles::create_role_for},
    server::{Server, assert_refused, audit_command::records, command},
    tools::postgres_tool,
};
use futures::future::join_all;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn ten_replicas_start_at_once_on_an_empty_database_and_migrate_it_once() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
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
async fn a_schema_from_a_newer_release_is_refused_and_not_changed() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await.terminate().await;
    let later = "INSERT INTO keyservice.migrations (number, name) VALUES (1000, '1000_later.sql')";
    cluster.psql(database_in(&store), later);
    let before = dump(&store);

    let parts = ["version 1000", "a newer release has migrated it"];
    assert_refused(&mut command(&store), &parts).await;
    assert_eq!(dump(&store), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_and_reading_records_need_only_the_rights_that_the_command_grants() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await.terminate().await;
    let service = create_role_for("service", &cluster, &store);
    let auditor = create_role_for("audit", &cluster, &store);

    let server = Server::start(&service).await;
    let mut client = server.client().await;
    let (token, key_id) = client.create_key().await;
    assert!(client.is_granted(&token).await);
    assert_eq!(client.list("acme").await.expect("listed").len(), 1);
    client.revoke(&key_id).await.expect("revoked");
    assert!(client.is_revoked(&token).await);
    assert_eq!(records(&auditor, &[]).len(), 3);
    assert!(server.terminate().await.success());
    let left = "SELECT count(*) FROM keyservice.replicas";
    assert_eq!(cluster.psql(database_in(&store), left), "0");
}

/// A dump of a database without the dump's random lines.
fn dump(store: &str) -> String {
    let dumped = Command::new(postgres_tool("pg_dump")).arg(store).output();
    let dumped = dumped.expect("pg_dump runs");
    assert!(dumped.status.success());
    let text = String::from_utf8(dumped.stdout).expect("UTF-8");
    let lines = text.lines().filter(|line| !line.starts_with('\\'));
    lines.collect::<Vec<_>>().join("\n")
}
