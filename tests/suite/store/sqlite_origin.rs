//! A database that was put into another file, or put back as a copy, is served only once somebody has accepted it.

use crate::support::{
    directory, eventually,
    server::{self, Server, assert_refused, audit_command::records, sqlite_in},
    stores::accept_restore,
    tools::{shell, terminal},
};
use keyservice::{model::token::Digester, store::sqlite::SqliteStore};
use std::process::{Command, Output};
use tempfile::TempDir;

const NOT_ACCEPTED: &str = "was restored from a backup, or copied";

struct Store {
    directory: TempDir,
    token: String,
}

impl Store {
    /// With a key that was revoked after a backup of each kind.
    async fn with_backups() -> Self {
        let directory = directory();
        let store = sqlite_in(&directory);
        let server = Server::start(&store).await;
        let (token, key_id) = server.client().await.create_key().await;
        let it = Self { directory, token };
        it.run("keyservice backup --store sqlite:keys.db ours.db");
        it.run("sqlite3 keys.db '.backup sqlite.db'");
        it.run("sqlite3 keys.db \"VACUUM INTO 'vacuum.db'\"");
        server
            .client()
            .await
            .revoke(&key_id)
            .await
            .expect("revoked");
        server.terminate().await;
        it
    }

    fn address(&self) -> String {
        sqlite_in(&self.directory)
    }

    fn run(&self, line: &str) {
        self.said(line);
    }

    fn said(&self, line: &str) -> String {
        let line = format!("cd {} && {line}", self.directory.path().display());
        shell(&line).expect("it runs")
    }

    fn accept(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_keyservice"))
            .args(["accept-restore", "--store", &self.address()])
            .args(arguments)
            .output()
            .expect("it runs")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_recognised_however_it_was_put_in_place() {
    for put in [
        "keyservice restore --store sqlite:keys.db ours.db",
        "keyservice restore --store sqlite:keys.db sqlite.db",
        "cp ours.db keys.db",
        "cp sqlite.db keys.db",
        "cp vacuum.db keys.db",
        "cp -a keys.db moved && mv moved keys.db",
        "rm keys.db && cp ours.db keys.db",
    ] {
        let store = Store::with_backups().await;
        store.run(put);
        let parts = [NOT_ACCEPTED, "keyservice accept-restore"];
        assert_refused(&mut server::command(&store.address()), &parts).await;
        accept_restore(&store.address());
        // Once is enough, also after a kill.
        Server::start(&store.address()).await.kill().await;
        let server = Server::start(&store.address()).await;
        let is_old = !put.starts_with("cp -a");
        assert_eq!(
            server.client().await.is_granted(&store.token).await,
            is_old,
            "{put}"
        );
    }
}

/// Somebody takes the wrong backup first. Its records tell nothing of what came after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_over_an_unaccepted_copy_replays_from_the_database_that_was_served() {
    let store = Store::with_backups().await;
    store.run("keyservice restore --store sqlite:keys.db sqlite.db");
    let restore =
        || store.said("keyservice restore --store \"sqlite:$PWD/keys.db\" ours.db 2>&1 >/dev/null");
    for _ in 0..2 {
        let said = restore();
        assert!(said.contains("that nobody has accepted"), "{said}");
        assert!(said.contains("served before is "), "{said}");
        let replay = said
            .split('`')
            .rfind(|it| it.contains("| keyservice replay"));
        store.run(&format!("set -o pipefail; {}", replay.expect(&said)));
    }
    accept_restore(&store.address());
    let server = Server::start(&store.address()).await;
    assert!(!server.client().await.is_granted(&store.token).await);
    server.terminate().await;

    // A copy that was accepted is a database as any other. Once all that was served is elsewhere, none is named.
    let said = restore();
    assert!(!said.contains("that nobody has accepted"), "{said}");
    store.run("mkdir elsewhere && mv *.replaced-* elsewhere");
    let said = restore();
    assert!(said.contains("is not among"), "{said}");
    assert!(!said.contains("| keyservice replay"), "{said}");
    // An older one says nothing of the time since. One that cannot be read may be the one that was served.
    for older in ["a broken one", "a log alone"] {
        store.run("rm *.replaced-*; ln elsewhere/* .");
        let said = restore();
        assert!(said.contains("| keyservice replay"), "{said}");
        store.run(match older {
            "a log alone" => "head -c 1000 keys.db > keys.db.replaced-20990101T000000.000000Z-wal",
            _ => "echo broken > keys.db.replaced-20990101T000000.000000Z",
        });
        let said = restore();
        assert!(!said.contains("| keyservice replay"), "{older}: {said}");
    }
}

/// Nobody is to accept for nothing what this release cannot serve.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_newer_release_is_refused_for_its_schema() {
    let store = Store::with_backups().await;
    store.run("cp ours.db keys.db && sqlite3 keys.db 'PRAGMA user_version = 99'");
    let parts = ["version 99", "a newer release has migrated it"];
    assert_refused(&mut server::command(&store.address()), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_within_its_file_system_or_vacuumed_under_the_service_is_the_same_store()
 {
    let store = Store::with_backups().await;
    store.run("mkdir other && mv keys.db other/ && mv other/keys.db .");
    let server = Server::start(&store.address()).await;
    store.run("sqlite3 keys.db VACUUM");
    server.client().await.create_key().await;
    server.terminate().await;
    Server::start(&store.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_until_a_restored_file_is_accepted_and_goes_on_by_itself() {
    let store = Store::with_backups().await;
    store.run("keyservice restore --store sqlite:keys.db ours.db");
    let mut patient = server::command(&store.address());
    patient.env_remove("KEYSERVICE_STORE_WAIT_LIMIT");
    let mut waiting = Server::launch(&mut patient);
    eventually("it says what it waits for", async || {
        let log = waiting.log();
        [NOT_ACCEPTED, "keyservice accept-restore"]
            .iter()
            .all(|part| log.contains(part))
    })
    .await;
    assert!(!waiting.is_listening());
    let unasked = store.accept(&[]);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    let said = String::from_utf8_lossy(&unasked.stderr).into_owned();
    for part in [
        "of the store ",
        " with 1 key",
        "writes after 2",
        "may be missing",
        "up to 2",
        "--yes",
    ] {
        assert!(said.contains(part), "{said}");
    }

    // A command that writes to the file has it meanwhile.
    let path = store.directory.path().join("keys.db");
    let writing = SqliteStore::open_restored(&path, &Digester::new(None)).expect("opened");
    let said_so_far = || waiting.log().matches(NOT_ACCEPTED).count();
    let before = said_so_far();
    eventually("it still waits", async || said_so_far() >= before + 2).await;
    drop(writing);

    eventually("it is free and accepted", async || {
        store.accept(&["--yes"]).status.success()
    })
    .await;
    eventually("it serves", async || waiting.is_listening()).await;
    assert!(waiting.client().await.is_granted(&store.token).await);
    let recorded = records(&store.address(), &["--caller", "keyservice"]);
    assert_eq!(recorded, ["keyservice AcceptRestore OK - - 1"]);

    let again = store.accept(&["--output", "json"]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(
        String::from_utf8_lossy(&again.stdout).trim(),
        r#"{"accepted":false}"#
    );
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(
        records(&store.address(), &["--caller", "keyservice"]),
        recorded
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_waits_serves_what_is_restored_under_it() {
    let store = Store::with_backups().await;
    let server = Server::start(&store.address()).await;
    let (later, _) = server.client().await.create_key().await;
    server.kill().await;
    store.run(
        "mkdir other && cp keys.db keys.db-wal keys.db-shm other/ && rm keys.db* && mv other/* .",
    );
    let mut patient = server::command(&store.address());
    patient.env_remove("KEYSERVICE_STORE_WAIT_LIMIT");
    let mut waiting = Server::launch(&mut patient);
    let waits_on = async || {
        let said = || waiting.log().matches(NOT_ACCEPTED).count();
        let before = said();
        eventually("it waits", async || said() > before).await;
    };
    waits_on().await;
    store.run("keyservice restore --store sqlite:keys.db ours.db");
    waits_on().await;
    accept_restore(&store.address());
    eventually("it serves", async || waiting.is_listening()).await;
    assert!(waiting.client().await.is_granted(&store.token).await);
    assert!(!waiting.client().await.is_granted(&later).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_at_a_terminal_is_asked() {
    for (answer, is_accepted) in [("n\n", false), ("y\n", true)] {
        let store = Store::with_backups().await;
        store.run("cp ours.db keys.db");
        let line = format!("keyservice accept-restore --store {}", store.address());
        let asked = crate::support::tools::run_with_input(&mut terminal(&line), answer.as_bytes());
        let said = String::from_utf8_lossy(&asked.stdout);
        assert!(said.contains("Go on? [y/N]"), "{said}");
        assert_eq!(asked.status.success(), is_accepted, "{said}");
        let after = store.accept(&["--output", "json"]);
        assert_eq!(after.status.success(), is_accepted, "{after:?}");
    }
}

/// Its log has the last writes, and must not be taken for lost afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_copied_with_its_log_is_accepted_with_it() {
    let store = Store::with_backups().await;
    let server = Server::start(&store.address()).await;
    let (token, _) = server.client().await.create_key().await;
    server.kill().await;
    store.run(
        "mkdir other && cp keys.db keys.db-wal keys.db-shm other/ && rm keys.db* && mv other/* .",
    );
    assert_refused(&mut server::command(&store.address()), &[NOT_ACCEPTED]).await;
    accept_restore(&store.address());
    let server = Server::start(&store.address()).await;
    assert!(server.client().await.is_granted(&token).await);
    assert!(!server.log().contains("last writes may be missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_release_before_is_its_own_store() {
    let store = Store::with_backups().await;
    store.run(
        "sqlite3 keys.db 'DROP TABLE origin; DROP TABLE store_identity; DROP TABLE histories; ALTER TABLE audit DROP COLUMN key_end; PRAGMA user_version = 14' \
         && cp keys.db old.db && mv old.db keys.db",
    );
    let server = Server::start(&store.address()).await;
    // What is lost later is not of the history of before.
    let is_of_now = |line: &str| line.contains("history of the store") && line.contains("parent");
    assert_eq!(
        server.log().lines().filter(|line| is_of_now(line)).count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_writes_to_a_restored_file_does_not_accept_it() {
    for put in ["cp ours.db keys.db", "cp sqlite.db keys.db"] {
        let store = Store::with_backups().await;
        store.run(put);
        let path = store.directory.path().join("keys.db");
        let opened = SqliteStore::open_restored(&path, &Digester::new(None));
        drop(opened.expect("opened"));
        // Its threads end a little later.
        eventually("a start is refused for want of acceptance", async || {
            let mut refused = Server::launch(&mut server::command(&store.address()));
            assert!(!refused.wait_for_exit().await.success());
            refused.log().contains(NOT_ACCEPTED)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_another_digest_secret_leaves_nothing_beside_a_restored_file() {
    let store = Store::with_backups().await;
    store.run("keyservice restore --store sqlite:keys.db ours.db");
    accept_restore(&store.address());
    store.run("cp keys.db as-it-was.db && printf '%s' $(seq 40) > secret");
    let secret = store.directory.path().join("secret");
    let mut other = server::command(&store.address());
    other.arg("--digest-secret-file").arg(secret);
    assert_refused(&mut other, &["--digest-secret"]).await;
    store.run("cmp keys.db as-it-was.db && ! ls keys.db-wal keys.db-shm");
    Server::start(&store.address()).await;
}
