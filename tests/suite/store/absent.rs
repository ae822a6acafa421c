//! A start that finds no store, or no way to it.

use crate::support::{
    directory, eventually,
    postgres::{Cluster, free_port},
    server::{self, Server, assert_refused, sqlite_in},
};
use std::{fs, process::Command, time::Duration};
use tonic_health::pb::health_check_response::ServingStatus;

const REFUSED: &str = "there is no store at";

/// Starts as without the tests' own limit: it waits for its database.
fn patient(store: &str) -> Command {
    let mut command = server::command(store);
    command.env_remove("KEYSERVICE_STORE_WAIT_LIMIT");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_its_database_and_says_so() {
    let mut cluster = Cluster::start();
    let store = cluster.create_database();
    cluster.kill();
    let health = format!("127.0.0.1:{}", free_port());
    let mut server = Server::launch(patient(&store).args(["--health-listen", &health]));
    eventually("it says that it waits", async || {
        server.log().contains("waiting for the database: ")
    })
    .await;
    let mut probes = server.health_on_its_own_port().await;
    let status = probes.check("tosend.keys.v1.KeyService").await;
    assert_eq!(status, ServingStatus::NotServing);
    assert!(!server.is_listening() && !server.has_exited());

    cluster.restart();
    eventually("it serves", async || server.is_listening()).await;
    server.client().await.create_key().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_ends_at_a_signal_or_at_its_limit() {
    let store = format!("postgres://kate@127.0.0.1:{}/keys", free_port());
    let mut waiting = Server::launch(&mut patient(&store));
    eventually("it waits", async || waiting.log().contains("waiting for")).await;
    waiting.signal("TERM");
    assert_eq!(waiting.wait_for_exit().await.code(), Some(0));

    let mut limited = patient(&store);
    limited.args(["--store-wait-limit", "1500ms"]);
    let mut limited = Server::launch(&mut limited);
    assert_eq!(limited.wait_for_exit().await.code(), Some(1));
    assert!(
        limited.log().contains("check that the server runs"),
        "{}",
        limited.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_mend_itself_ends_a_start_at_once() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let other_database = store.replace("test", "nothing");
    let other_role = cluster.address_for("nobody_known", "postgres");
    for store in [
        other_database,
        other_role,
        format!("{store}?sslmode=verify-full"),
    ] {
        let mut command = patient(&store);
        let refused = assert_refused(&mut command, &["cannot open the store"]);
        let refused = tokio::time::timeout(Duration::from_secs(20), refused);
        refused
            .await
            .unwrap_or_else(|_| panic!("it waits: {store}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_is_told_once_by_its_address() {
    let directory = directory();
    for store in [sqlite_in(&directory), Cluster::shared().create_database()] {
        for is_new in [true, false] {
            let server = Server::start(&store).await;
            let log = server.log();
            assert_eq!(log.contains("a new one was created"), is_new, "{log}");
            let advice = log.matches("check --store").count();
            assert_eq!(advice, usize::from(is_new), "{log}");
            assert!(!log.contains("hunter2"));
            assert!(server.terminate().await.success());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_store_is_created_where_that_is_refused() {
    let directory = directory();
    let empty = directory.path().join("empty.db");
    fs::write(&empty, "").expect("written");
    let empty = format!("sqlite:{}", empty.display());
    let cluster = Cluster::shared();
    let postgres = cluster.create_database();
    for store in [&sqlite_in(&directory), &empty, &postgres] {
        let mut command = server::command(store);
        assert_refused(command.args(["--create-store", "false"]), &[REFUSED]).await;
    }
    assert!(!directory.path().join("keys.db").exists());
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'keyservice'";
    assert_eq!(cluster.psql_at(&postgres, schemas).trim(), "0");

    for store in [sqlite_in(&directory), postgres] {
        Server::start(&store).await.terminate().await;
        Server::start_with(&store, &["--create-store", "false"], &[]).await;
    }
}
