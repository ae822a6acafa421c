//! Runs the commands of the page about backups, on a store of each kind that is in use.

use super::production::{blocks, path};
use crate::replay::calls::whole_log;
use crate::support::{
    directory, eventually,
    postgres::{self, Cluster},
    server::{Server, command},
};
use std::{fs, path::Path, process::Command};

const PAGE: &str = include_str!("../../../docs/backup.md");

/// The blocks of the page: the backup and the restore of SQLite, then those of PostgreSQL, and the replay.
fn block(index: usize) -> &'static str {
    let blocks: Vec<_> = blocks(PAGE, "sh").collect();
    assert_eq!(blocks.len(), 5);
    blocks[index]
}

fn run(script: &str, directory: &Path, variables: &[(&str, &str)]) {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        .env("PATH", path(directory))
        .envs(variables.iter().copied());
    let ran = bash.output().expect("bash runs");
    assert!(ran.status.success(), "{script}: {ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_backed_up_beside_its_service_and_restored() {
    let directory = directory();
    let store = format!("sqlite:{}/keyservice.db", directory.path().display());
    let server = Server::start(&store).await;
    let (token, key_id) = server.client().await.create_key().await;
    run(block(0), directory.path(), &[]);
    server.client().await.revoke(&key_id).await.unwrap();
    let (lost, _) = server.client().await.create_key().await;
    let log = whole_log(server).await;
    fs::write(directory.path().join("service.log"), log).expect("written");
    run(block(1), directory.path(), &[]);
    run(block(4), directory.path(), &[]);
    let server = Server::start(&store).await;
    assert!(!server.client().await.is_granted(&token).await);
    assert!(!server.client().await.is_granted(&lost).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_under_a_running_replica_brings_no_revoked_key_back() {
    let (cluster, directory) = (Cluster::start(), directory());
    cluster.psql("postgres", "CREATE DATABASE keyservice");
    let owner = postgres::address(cluster.port(), "keyservice");
    Server::start(&owner).await.terminate().await;
    cluster.psql("postgres", "CREATE ROLE keyservice_service LOGIN");
    let port = cluster.port().to_string();
    let variables = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", &port),
        ("PGUSER", "keyservice"),
    ];
    let rights = "keyservice grants --role keyservice_service --for service | psql --quiet --dbname keyservice";
    run(rights, directory.path(), &variables);
    let store = cluster.address_for("keyservice_service", "keyservice");
    let server = Server::start_command(command(&store).args(["--lease", "2s"])).await;
    let mut client = server.client().await;
    let (kept, _) = client.create_key().await;
    let mut revoked = Vec::new();
    for _ in 0..20 {
        revoked.push(client.create_key().await);
    }
    run(block(2), directory.path(), &variables);
    for (_, key_id) in &revoked {
        client.revoke(key_id).await.unwrap();
    }
    let (lost, _) = client.create_key().await;

    run(block(3), directory.path(), &variables);
    eventually("it serves by the restored database", async || {
        for (token, _) in &revoked {
            assert!(!client.is_granted(token).await);
        }
        server.log().contains("the store lost writes") && client.is_granted(&kept).await
    })
    .await;
    assert!(!client.is_granted(&lost).await);
    for (token, _) in &revoked {
        assert!(!client.is_granted(token).await);
    }
    // Who starts now knows nothing but the restored database.
    let newcomer = Server::start(&store).await;
    for (token, _) in &revoked {
        assert!(!newcomer.client().await.is_granted(token).await);
    }
}
