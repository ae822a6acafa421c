//! Copies, backups and restores of an SQLite database: what is complete, what is refused, and what the
//! service says of it when it starts.

use crate::support::{
    directory,
    server::{self, Server, assert_refused, sqlite_in},
    stores::accept_restore,
    tools::shell,
};
use keyservice::grpc::proto::{Key, UpdateRequest};
use prost_types::FieldMask;
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;
use tonic::Status;

/// The commands of docs/sqlite.md, with which an operator makes a backup while the service runs.
const BACKUPS: [&str; 2] = [
    r#"umask 077; sqlite3 keys.db ".backup backup.db""#,
    r#"umask 077; sqlite3 keys.db "VACUUM INTO 'backup.db'""#,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_beside_the_service_has_every_acknowledged_key() {
    for back_up in BACKUPS {
        let files = Files::new();
        let server = Server::start(&files.store()).await;
        let (token, _) = server.client().await.create_key().await;
        files.run(back_up);
        let backup = std::fs::metadata(files.path("backup.db")).expect("a file");
        assert_eq!(
            backup.permissions().mode() & 0o077,
            0,
            "nobody else may read it"
        );
        server.client().await.create_key().await;
        server.terminate().await;

        files.copy("backup.db", "keys.db");
        accept_restore(&files.store());
        let server = Server::start(&files.store()).await;
        assert!(server.client().await.is_granted(&token).await, "{back_up}");
        assert_eq!(server.client().await.list("acme").await.unwrap().len(), 1);
        let log = server.log();
        assert!(log.contains("found the database\""), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_log_of_later_writes_is_refused_and_neither_is_changed() {
    for (back_up, when) in [
        ("cp keys.db backup.db", When::Stopped),
        (BACKUPS[0], When::Stopped),
        (BACKUPS[0], When::Running),
        (BACKUPS[1], When::Running),
    ] {
        let files = Files::new();
        let server = Server::start(&files.store()).await;
        server.client().await.create_key().await;
        server.terminate().await;
        if matches!(when, When::Stopped) {
            files.run(back_up);
        }
        let server = Server::start(&files.store()).await;
        server.client().await.create_key().await;
        if matches!(when, When::Running) {
            files.run(back_up);
        }
        let (kept, _) = server.client().await.create_key().await;
        server.kill().await;

        files.copy("keys.db", "crashed.db");
        files.copy("backup.db", "keys.db");
        let before = ["keys.db", "keys.db-wal"].map(|name| files.read(name));
        let parts = [
            "keys.db-wal does not belong to",
            "give it to `keyservice restore`",
        ];
        assert_refused(&mut server::command(&files.store()), &parts).await;
        let after = ["keys.db", "keys.db-wal"].map(|name| files.read(name));
        assert!(before == after, "{back_up}");

        // As the error says: put back the database, or restore the backup.
        files.copy("crashed.db", "keys.db");
        let server = Server::start(&files.store()).await;
        assert!(server.client().await.is_granted(&kept).await, "{back_up}");
        server.kill().await;
        files.copy("backup.db", "keys.db");
        std::fs::rename(files.path("keys.db"), files.path("moved.db")).expect("moved");
        restore(&files.store(), &files.path("moved.db"));
        let mut waiting = server::command(&files.store());
        waiting.arg("--store-wait-limit=0s");
        assert_refused(&mut waiting, &["may be missing, including revocations"]).await;
        accept_restore(&files.store());
        let server = Server::start(&files.store()).await;
        assert!(!server.client().await.is_granted(&kept).await, "{back_up}");
    }
}

/// Of a service that has written nothing too, since it may have migrated the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_the_log_of_a_service_that_wrote_nothing_is_refused() {
    for back_up in ["cp keys.db backup.db", BACKUPS[0], BACKUPS[1]] {
        let files = Files::new();
        Server::start(&files.store()).await.terminate().await;
        files.run(back_up);
        Server::start(&files.store()).await.kill().await;
        files.copy("backup.db", "keys.db");
        let before = ["keys.db", "keys.db-wal"].map(|name| files.read(name));
        let parts = [
            "keys.db-wal does not belong to",
            "give it to `keyservice restore`",
        ];
        assert_refused(&mut server::command(&files.store()), &parts).await;
        let after = ["keys.db", "keys.db-wal"].map(|name| files.read(name));
        assert!(before == after, "{back_up}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_before_its_first_write_has_lost_nothing() {
    let files = Files::new();
    for last in ["none", "killed", "killed again", "stopped", "killed"] {
        let server = Server::start(&files.store()).await;
        let log = server.log();
        assert!(!log.contains("may be missing"), "{last}: {log}");
        let found = log.contains("found the database and its write-ahead log");
        assert_eq!(found, last.starts_with("killed"), "{last}: {log}");
        if last == "killed again" {
            server.terminate().await;
        } else {
            server.kill().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_refused_after_a_kill_leaves_the_log_of_the_database() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    let (token, _) = server.client().await.create_key().await;
    server.kill().await;
    std::fs::write(files.path("secret"), "secret".repeat(32)).expect("a file");
    let secret = files.path("secret").display().to_string();
    let mut keyed = server::command(&files.store());
    keyed.args(["--digest-secret-file", &secret]);
    assert_refused(&mut keyed, &["made without a digest secret"]).await;

    let server = Server::start(&files.store()).await;
    let log = server.log();
    assert!(!log.contains("may be missing"), "{log}");
    assert!(server.client().await.is_granted(&token).await);
}

#[derive(Clone, Copy)]
enum When {
    Stopped,
    Running,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_another_service_beside_a_log_is_refused() {
    let (files, others) = (Files::new(), Files::new());
    for files in [&files, &others] {
        let server = Server::start(&files.store()).await;
        server.client().await.create_key().await;
        server.kill().await;
    }
    std::fs::copy(others.path("keys.db"), files.path("keys.db")).expect("copied");
    let parts = ["keys.db-wal does not belong to"];
    assert_refused(&mut server::command(&files.store()), &parts).await;
}

/// The restored record counts its changes on from the backup, and so has had as many soon.
#[tokio::test(flavor = "multi_thread")]
async fn the_etag_of_a_lost_change_fits_no_change_that_was_made_since() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    let (_, key_id) = server.client().await.create_key().await;
    server.terminate().await;
    files.copy("keys.db", "backup.db");
    let server = Server::start(&files.store()).await;
    let kept = server.client().await.list("acme").await.unwrap().remove(0);
    let lost = rename(&server, &key_id, "lost", None).await.expect("made");
    server.terminate().await;

    restore(&files.store(), &files.path("backup.db"));
    accept_restore(&files.store());
    let server = Server::start(&files.store()).await;
    let since = rename(&server, &key_id, "since", Some(&kept.etag)).await;
    let since = since.expect("the backup has the record of this etag");
    let late = rename(&server, &key_id, "late", Some(&lost.etag)).await;
    let refused = late.expect_err("its caller never saw the record");
    assert_eq!(
        server::error_reason(&refused).as_deref(),
        Some("ETAG_MISMATCH")
    );
    assert_eq!(server.client().await.list("acme").await.unwrap(), [since]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_database_is_not_deleted() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    server.client().await.create_key().await;
    server.kill().await;
    for spoil in ["rm keys.db", ": > keys.db"] {
        files.run(spoil);
        let parts = ["keys.db is missing or empty, but", "keys.db-wal has writes"];
        let log = files.read("keys.db-wal");
        assert_refused(&mut server::command(&files.store()), &parts).await;
        assert!(log == files.read("keys.db-wal"), "{spoil}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_copy_of_a_database_in_use_is_served_with_a_warning() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    server.client().await.create_key().await;
    files.copy("keys.db", "copy.db");
    server.terminate().await;
    accept_restore(&files.store_at("copy.db"));
    let copy = Server::start(&files.store_at("copy.db")).await;
    assert!(copy.log().contains("the last writes may be missing"));
    copy.terminate().await;
    let copy = Server::start(&files.store_at("copy.db")).await;
    assert!(!copy.log().contains("may be missing"), "{}", copy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_was_found_at_the_start() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    assert!(
        server
            .log()
            .contains("there was no store, so a new one was created")
    );
    server.client().await.create_key().await;
    server.kill().await;
    let server = Server::start(&files.store()).await;
    assert!(
        server
            .log()
            .contains("found the database and its write-ahead log")
    );
    assert!(
        server
            .log()
            .contains(r#""keys":1,"domains":0,"revision":1"#),
        "{}",
        server.log()
    );
    server.terminate().await;
    assert!(!files.path("keys.db-wal").exists());
    let server = Server::start(&files.store()).await;
    assert!(
        server.log().contains("found the database\""),
        "{}",
        server.log()
    );
}

#[test]
fn the_documents_show_the_commands_that_are_tested_here() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sqlite.md");
    let page = std::fs::read_to_string(page).expect("a page");
    for command in BACKUPS {
        assert!(
            page.contains(&command.replace("keys.db", "keyservice.db")),
            "{command}"
        );
    }
}

async fn rename(
    server: &Server,
    key_id: &str,
    name: &str,
    etag: Option<&str>,
) -> Result<Key, Status> {
    let request = UpdateRequest {
        key_id: key_id.to_owned(),
        update_mask: Some(FieldMask {
            paths: vec!["name".to_owned()],
        }),
        name: name.to_owned(),
        etag: etag.map(str::to_owned),
        ..UpdateRequest::default()
    };
    let updated = server.client().await.0.update(request).await?;
    Ok(updated.into_inner().key.expect("the key"))
}

/// Puts a backup in the place of the store, as an operator does.
fn restore(store: &str, backup: &Path) {
    let restored = Command::new(env!("CARGO_BIN_EXE_keyservice"))
        .args(["restore", "--store", store])
        .arg(backup)
        .output()
        .expect("it runs");
    assert!(restored.status.success(), "{restored:?}");
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(directory())
    }

    fn store(&self) -> String {
        sqlite_in(&self.0)
    }

    fn store_at(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(name).display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, command: &str) {
        let line = format!("cd {} && {command}", self.0.path().display());
        shell(&line).expect(command);
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }

    fn copy(&self, from: &str, to: &str) {
        std::fs::copy(self.path(from), self.path(to)).expect("copied");
    }
}
