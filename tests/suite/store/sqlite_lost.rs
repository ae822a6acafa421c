//! A database that is deleted, moved, replaced, overwritten or truncated under a running service is
//! noticed before the next acknowledgement, and soon if there is nothing to write.

use crate::support::{
    directory, eventually,
    postgres::is_running_as_root,
    server::{self, Server, assert_refused},
    stores::accept_restore,
    tools::shell,
};
use rusqlite::Connection;
use std::{
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;
use tonic::Code;

/// What is done in the database's directory, and what the service says of it. `old.db` is a copy of the
/// database as an earlier service left it, and `other.db` is another database.
const LOSSES: &[(&str, &str)] = &[
    ("rm keys.db*", "keys.db was deleted, moved or replaced"),
    ("rm keys.db", "keys.db was deleted, moved or replaced"),
    (
        "mv keys.db elsewhere.db",
        "keys.db was deleted, moved or replaced",
    ),
    (
        "mv other.db keys.db",
        "keys.db was deleted, moved or replaced",
    ),
    (
        "cp old.db new && mv new keys.db",
        "keys.db was deleted, moved or replaced",
    ),
    (
        "mkdir d && mv keys.db* d && ln -s d/keys.db .",
        "keys.db was deleted, moved or replaced",
    ),
    (
        "mv ../data ../moved",
        "keys.db was deleted, moved or replaced",
    ),
    (
        "rm keys.db-wal",
        "keys.db-wal was deleted, moved or replaced",
    ),
    (
        "rm keys.db-shm",
        "keys.db-shm was deleted, moved or replaced",
    ),
    ("cp old.db keys.db", "keys.db was overwritten or truncated"),
    (
        "cp -p old.db keys.db",
        "keys.db was overwritten or truncated",
    ),
    (
        "cp other.db keys.db",
        "keys.db was overwritten or truncated",
    ),
    (
        "truncate -s 0 keys.db",
        "keys.db was overwritten or truncated",
    ),
    (
        "truncate -s -4096 keys.db",
        "keys.db was overwritten or truncated",
    ),
    (
        "truncate -s 0 keys.db-wal",
        "keys.db-wal was overwritten or truncated",
    ),
    (
        "truncate -s -1 keys.db-wal",
        "keys.db-wal was overwritten or truncated",
    ),
    (
        "cp other.db keys.db-wal",
        "keys.db-wal was overwritten or truncated",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_write_to_a_lost_database_is_acknowledged() {
    for (command, loss) in LOSSES {
        let store = Store::new().await;
        store.run(command);
        let refused = store.server.client().await.create("acme", "a key").await;
        let refused = refused.map(|_| ()).expect_err(command);
        assert_eq!(refused.code(), Code::Unavailable, "{command}");
        store.wait_until_not_serving(loss).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_end_soon_when_the_database_is_lost_and_nothing_is_written() {
    for (command, loss) in LOSSES {
        let store = Store::new().await;
        store.run(command);
        store.wait_until_not_serving(loss).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_moved_back_is_served_again_with_all_its_writes() {
    let store = Store::new().await;
    store.run("mv ../data ../moved");
    store
        .wait_until_not_serving("was deleted, moved or replaced")
        .await;
    std::fs::rename(store.root.path().join("moved"), store.data()).expect("moved back");
    eventually("it serves", async || store.server.is_serving().await).await;
    let mut client = store.server.client().await;
    assert!(client.is_granted(&store.token).await);
    let (token, _) = client.create_key().await;
    let address = store.address();
    store.server.kill().await;
    let server = Server::start(&address).await;
    assert!(server.client().await.is_granted(&token).await);
}

/// As the log and docs/sqlite.md say. Only root may read the open files of the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_database_is_saved_from_the_service_that_has_it_open() {
    if !is_running_as_root() {
        return;
    }
    for command in ["rm keys.db", "rm keys.db*", "mv other.db keys.db"] {
        let store = Store::new().await;
        store.run(command);
        store
            .wait_until_not_serving("BEFORE you stop the service")
            .await;
        let log = store.server.log();
        let words: Vec<_> = log.split([' ', ',']).collect();
        let opened = words.iter().position(|word| word.starts_with("/proc/"));
        let opened = opened.expect("the path of the open database");
        let copies = words[opened..].windows(3).filter(|it| it[1] == "to");
        let copies: Vec<_> = copies.take(3).collect();
        assert_eq!(copies.len(), 3, "{log}");
        for copy in copies {
            store.run(&format!("cp {} {}", copy[0], copy[2]));
        }
        let (address, data) = (store.address(), store.data());
        keyservice_in(
            &data,
            &["backup", "--store", "sqlite:keys.db.saved", "saved.db"],
        );
        store.server.kill().await;
        let other = "--allow-other-store";
        keyservice_in(
            &data,
            &["restore", other, "--store", "sqlite:keys.db", "saved.db"],
        );
        accept_restore(&address);
        let server = Server::start(&address).await;
        assert!(
            server.client().await.is_granted(&store.token).await,
            "{command}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_takes_the_place_of_a_deleted_database_that_a_service_still_has() {
    let store = Store::new().await;
    store.run("rm keys.db");
    store
        .wait_until_not_serving("BEFORE you stop the service")
        .await;
    let deleted = format!(
        "keys.db was deleted while process {} has it open",
        store.server.pid()
    );
    let log = std::fs::read(store.data().join("keys.db-wal")).expect("a file");
    for args in [
        &["backup", "--store", "sqlite:keys.db", "copy.db"][..],
        &["restore", "--store", "sqlite:keys.db", "old.db"],
        &["audit", "--store", "sqlite:keys.db"],
    ] {
        let refused = run_keyservice_in(&store.data(), args);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && said.contains(&deleted),
            "{said}"
        );
    }
    assert_refused(&mut server::command(&store.address()), &[&deleted]).await;
    assert!(!store.data().join("keys.db").exists());
    let after = std::fs::read(store.data().join("keys.db-wal")).expect("a file");
    assert!(after == log);

    let data = store.data();
    store.server.kill().await;
    keyservice_in(&data, &["restore", "--store", "sqlite:keys.db", "old.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_is_saved_when_the_service_stops() {
    let store = Store::new().await;
    store.run("rm keys.db-wal");
    store
        .wait_until_not_serving("stop the service, which saves")
        .await;
    let address = store.address();
    store.server.terminate().await;
    let server = Server::start(&address).await;
    assert!(server.client().await.is_granted(&store.token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_in_the_place_of_a_lost_database_is_not_changed() {
    for (command, _) in LOSSES
        .iter()
        .filter(|(command, _)| command.contains("old.db"))
    {
        let store = Store::new().await;
        store.run(command);
        store.wait_until_not_serving("keys.db was").await;
        let (data, old) = (store.data(), store.data().join("old.db"));
        store.server.terminate().await;
        let restored = std::fs::read(data.join("keys.db")).expect("a file");
        assert!(restored == std::fs::read(old).expect("a file"), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sqlite_tools_do_beside_the_service_is_no_loss() {
    let store = Store::new().await;
    let path = store.data().join("keys.db");
    let beside = Connection::open(&path).expect("it opens");
    let run = |sql: &str| beside.execute_batch(sql).expect(sql);
    let copy = store.data().join("vacuumed.db");
    for _ in 0..2 {
        run(
            "INSERT INTO audit_prunings (before) SELECT 1 + coalesce(max(before), 0) FROM audit_prunings",
        );
        run("PRAGMA wal_checkpoint(PASSIVE)");
        store.create_keys(30).await;
        run("PRAGMA wal_checkpoint(TRUNCATE)");
        store.create_keys(30).await;
        run("VACUUM; PRAGMA wal_checkpoint(RESTART)");
        store.create_keys(30).await;
    }
    run(&format!("VACUUM INTO '{}'", copy.display()));
    drop(beside);
    store.run("touch keys.db; chmod 640 keys.db; ln keys.db second; rm second");
    store.create_keys(600).await;
    assert!(store.server.is_serving().await);
    assert!(!store.server.log().contains("the store is not the one"));
}

/// A running service with a key, on a database that has been served before.
struct Store {
    root: TempDir,
    server: Server,
    token: String,
}

impl Store {
    async fn new() -> Self {
        let root = directory();
        let data = root.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        let address = |name: &str| format!("sqlite:{}", data.join(name).display());
        for name in ["keys.db", "other.db"] {
            let server = Server::start(&address(name)).await;
            server.client().await.create_key().await;
            server.terminate().await;
        }
        std::fs::copy(data.join("keys.db"), data.join("old.db")).expect("copied");
        let server = Server::start(&address("keys.db")).await;
        let mut client = server.client().await;
        let (token, _) = client.create_key().await;
        assert!(client.is_granted(&token).await);
        Self {
            root,
            server,
            token,
        }
    }

    fn data(&self) -> std::path::PathBuf {
        self.root.path().join("data")
    }

    fn address(&self) -> String {
        format!("sqlite:{}", self.data().join("keys.db").display())
    }

    fn run(&self, command: &str) {
        run_in(&self.data(), command);
    }

    async fn create_keys(&self, count: usize) {
        let mut client = self.server.client().await;
        for _ in 0..count {
            client.create_key().await;
        }
    }

    async fn wait_until_not_serving(&self, loss: &str) {
        let mut client = self.server.client().await;
        eventually(loss, async || {
            let answer = client.authorize(&self.token, "example.com").await;
            answer.is_err_and(|status| status.code() == Code::Unavailable)
                && !self.server.is_serving().await
                && self.server.log().contains(loss)
        })
        .await;
    }
}

fn run_in(directory: &Path, command: &str) {
    let done = shell(&format!("cd {} && {command}", directory.display()));
    done.expect(command);
}

fn keyservice_in(directory: &Path, args: &[&str]) {
    let done = run_keyservice_in(directory, args);
    assert!(done.status.success(), "{args:?}: {done:?}");
}

fn run_keyservice_in(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
    let done = command.args(args).current_dir(directory).output();
    done.expect("keyservice runs")
}
