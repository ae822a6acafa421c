//! `keyservice backup` and `keyservice restore`, as an operator runs them.

use crate::support::{
    directory,
    server::{self, Server, assert_refused},
    stores::accept_restore,
    tools::{run_with_input, shell},
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(directory())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.path("keys.db").display())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
        command
            .args(words)
            .env("KEYSERVICE_STORE", self.store())
            .current_dir(self.0.path());
        command
    }

    fn run(&self, words: &[&str]) -> String {
        let ran = self.command(words).output().expect("it runs");
        assert!(ran.status.success(), "{words:?}: {ran:?}");
        String::from_utf8(ran.stdout).expect("UTF-8")
    }

    async fn refuses(&self, words: &[&str], parts: &[&str]) {
        assert_refused(&mut self.command(words), parts).await;
    }

    fn mode(&self, name: &str) -> u32 {
        mode(&self.path(name))
    }

    /// The names and contents of all files but the index of a log, which readers change.
    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.0.path()).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut all: Vec<_> = paths
            .filter(|path| !path.to_string_lossy().ends_with("-shm"))
            .map(|path| (path.clone(), fs::read(path).expect("read")))
            .collect();
        all.sort();
        all
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_the_service_has_every_acknowledged_write_and_is_restored() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    let mut client = server.client().await;
    let (kept, _) = client.create_key().await;
    let (revoked, key_id) = client.create_key().await;
    client.revoke(&key_id).await.unwrap();
    let printed = files.run(&["backup", "backup.db"]);
    let expected = r#"{"file":"backup.db","keys":2,"last_write_time":""#;
    assert!(printed.starts_with(expected), "{printed}");
    assert!(
        printed.contains(r#""revision":3,"store_id":""#),
        "{printed}"
    );
    assert_eq!(files.mode("backup.db"), 0o600);
    let (later, _) = client.create_key().await;
    server.kill().await;
    fs::set_permissions(files.path("keys.db"), Permissions::from_mode(0o640)).expect("set");

    let printed = files.run(&["restore", "backup.db"]);
    assert!(printed.contains(r#""keys":2"#), "{printed}");
    assert_eq!(files.mode("keys.db"), 0o640);
    assert!(!files.path("keys.db-wal").exists() && !files.path("keys.db-shm").exists());
    accept_restore(&files.store());
    let server = Server::start(&files.store()).await;
    let mut client = server.client().await;
    assert!(client.is_granted(&kept).await);
    assert!(!client.is_granted(&revoked).await);
    assert!(!client.is_granted(&later).await);
    server.terminate().await;

    // What was moved away is a database with its log.
    let printed: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let replaced = printed["replaced"].as_str().expect("a path");
    let server = Server::start(&format!("sqlite:{replaced}")).await;
    assert!(server.client().await.is_granted(&later).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_replaces_a_file_only_if_it_is_told_to() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    fs::write(files.path("backup.db"), "something else").expect("written");
    let parts = ["backup.db exists", "--overwrite"];
    files.refuses(&["backup", "backup.db"], &parts).await;
    let kept = fs::read_to_string(files.path("backup.db"));
    assert_eq!(kept.expect("text"), "something else");
    files.run(&["backup", "--overwrite", "backup.db"]);
    assert_eq!(files.mode("backup.db"), 0o600);
    let parts = ["would replace the store itself"];
    files
        .refuses(&["backup", "--overwrite", "keys.db"], &parts)
        .await;
    server.client().await.create_key().await;
    let partial = files
        .all()
        .into_iter()
        .find(|(path, _)| path.to_string_lossy().ends_with(".partial"));
    assert_eq!(partial, None);
}

/// It would be a file of that name, and no password in one is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn no_copy_is_named_by_the_address_of_a_store() {
    let files = Files::new();
    Server::start(&files.store()).await.terminate().await;
    let before = files.all();
    for name in ["sqlite:backup.db", "postgres://kate:hunter2@localhost/keys"] {
        for command in ["backup", "restore"] {
            let words = [command, name];
            let parts = ["give the copy's path alone"];
            files.refuses(&words, &parts).await;
            let code = files.command(&words).status().expect("it runs").code();
            assert_eq!(code, Some(2), "{words:?}");
        }
    }
    assert!(before == files.all());
    files.run(&["backup", "./sqlite:backup.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_restore_touches_the_files_of_a_service_that_runs() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    let (token, _) = server.client().await.create_key().await;
    files.run(&["backup", "backup.db"]);
    let before = files.all();
    let parts = ["is in use by another keyservice process"];
    files.refuses(&["restore", "backup.db"], &parts).await;
    assert!(before == files.all());
    assert!(server.client().await.is_granted(&token).await);
    server.client().await.create_key().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_trusted_is_refused_and_nothing_is_moved() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    let mut client = server.client().await;
    for _ in 0..200 {
        client.create_key().await;
    }
    fs::copy(files.path("keys.db"), files.path("plain.db")).expect("copied");
    files.run(&["backup", "backup.db"]);
    server.kill().await;
    let backup = fs::read(files.path("backup.db")).expect("read");
    let write = |name, bytes: &[u8]| fs::write(files.path(name), bytes).expect("written");
    write("text.db", b"no database, but a text that is long enough");
    write("empty.db", b"");
    write("short.db", &backup[..backup.len() / 2]);
    let mut overwritten = backup.clone();
    let middle = overwritten.len() / 2;
    overwritten[middle..middle + 8192].fill(0xff);
    write("overwritten.db", &overwritten);
    write("newer.db", &backup);
    write("logged.db", &backup);
    write("logged.db-wal", &[1; 100]);
    let sql = "cd DIRECTORY && sqlite3 newer.db 'PRAGMA user_version = 99' && sqlite3 other.db 'CREATE TABLE t (a)'";
    shell(&sql.replace("DIRECTORY", &files.0.path().display().to_string())).expect("made");

    for (name, part) in [
        ("text.db", "is not a copy of a keyservice database"),
        ("empty.db", "is not a copy of a keyservice database"),
        ("other.db", "is not a copy of a keyservice database"),
        ("short.db", "short.db is damaged"),
        ("overwritten.db", "overwritten.db is damaged"),
        ("newer.db", "a newer release has migrated it"),
        ("plain.db", "the last writes may be missing"),
        ("logged.db", "has a write-ahead log beside it"),
        ("missing.db", "cannot read"),
    ] {
        let before = files.all();
        files.refuses(&["restore", name], &[part]).await;
        assert!(before == files.all(), "{name}");
    }
    files.run(&["restore", "--incomplete", "plain.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_through_standard_output_and_input_where_there_is_no_shell() {
    let (from, to) = (Files::new(), Files::new());
    let server = Server::start(&from.store()).await;
    let (token, _) = server.client().await.create_key().await;
    let copied: Output = from.command(&["backup", "-"]).output().expect("it runs");
    assert!(copied.status.success(), "{copied:?}");
    let said = String::from_utf8_lossy(&copied.stderr);
    assert!(said.contains("1 key, revision 1"), "{said}");
    let restored = run_with_input(&mut to.command(&["restore", "-"]), &copied.stdout);
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(to.mode("keys.db"), 0o600);
    accept_restore(&to.store());
    let server = Server::start(&to.store()).await;
    assert!(server.client().await.is_granted(&token).await);
}

/// The database goes before its log, so whatever is left when a restore is killed is refused or complete.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_on_where_one_was_killed() {
    let files = Files::new();
    let server = Server::start(&files.store()).await;
    let (token, _) = server.client().await.create_key().await;
    files.run(&["backup", "backup.db"]);
    server.kill().await;
    fs::rename(files.path("keys.db"), files.path("moved.db")).expect("moved");
    let parts = ["keys.db is missing or empty, but"];
    assert_refused(&mut server::command(&files.store()), &parts).await;
    files.run(&["restore", "backup.db"]);
    accept_restore(&files.store());
    let server = Server::start(&files.store()).await;
    assert!(server.client().await.is_granted(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_another_store_replaces_none_that_was_written_to_unless_it_is_told_to() {
    let [ours, others, empty] = [Files::new(), Files::new(), Files::new()];
    for (files, keys) in [(&ours, 2), (&others, 1), (&empty, 0)] {
        let server = Server::start(&files.store()).await;
        for _ in 0..keys {
            server.client().await.create_key().await;
        }
        files.run(&["backup", "backup.db"]);
        assert!(server.terminate().await.success());
    }
    let id = |printed: &str| {
        let printed: serde_json::Value = serde_json::from_str(printed).expect("JSON");
        printed["store_id"].as_str().expect("an id").to_owned()
    };
    let of_ours = id(&ours.run(&["backup", "again.db"]));
    let of_others = id(&others.run(&["backup", "again.db"]));
    let others_backup = others.path("backup.db").display().to_string();

    let before = ours.all();
    let (copy, store) = (
        format!("store {of_others}, 1 key, last write at 2"),
        format!("store {of_ours}, 2 keys, last write at 2"),
    );
    let parts = ["another store", &copy, &store, "--allow-other-store"];
    ours.refuses(&["restore", &others_backup], &parts).await;
    assert!(before == ours.all());
    ours.run(&["restore", "backup.db"]);
    ours.run(&["restore", "--allow-other-store", &others_backup]);
    assert_eq!(id(&ours.run(&["backup", "replaced.db"])), of_others);
    // As after the loss of a machine, where a service has already begun anew.
    assert_eq!(id(&empty.run(&["restore", &others_backup])), of_others);
    // Nothing tells whose it was.
    fs::write(ours.path("keys.db"), "no database").expect("written");
    assert_eq!(id(&ours.run(&["restore", "backup.db"])), of_ours);
    let parts = ["keys.db is the store itself"];
    ours.refuses(&["restore", "keys.db"], &parts).await;
}

/// What is left of a service that was killed, and what an operator is told of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_names_what_it_has_moved_away_and_only_commands_that_work() {
    let killed = Files::new();
    let server = Server::start(&killed.store()).await;
    server.client().await.create_key().await;
    killed.run(&["backup", "backup.db"]);
    server.terminate().await;
    let server = Server::start(&killed.store()).await;
    server.client().await.create_key().await;
    server.kill().await;
    const DATABASE: &str = "the database that was there is ";
    const LOG: &str = "the database that was there is gone";
    const UNREADABLE: &str = "cannot be read as a store";
    for (left, said) in [
        (&["", "-wal", "-shm"][..], Some((DATABASE, "(store "))),
        (&["", "-wal"], Some((DATABASE, "2 keys"))),
        (&["", "-shm"], Some((DATABASE, "(store "))),
        (&[""], Some((DATABASE, "(store "))),
        (&["-wal", "-shm"], Some((LOG, "-wal now"))),
        (&["-wal"], Some((LOG, "-wal now"))),
        (&["-shm"], None),
        (&[], None),
        (&["broken"], Some((UNREADABLE, ".replaced-"))),
    ] {
        let files = Files(
            tempfile::Builder::new()
                .prefix("a b")
                .tempdir()
                .expect("made"),
        );
        for end in left {
            let copied = if *end == "broken" {
                fs::write(files.path("keys.db"), "no database").map(|()| 0)
            } else {
                let name = format!("keys.db{end}");
                fs::copy(killed.path(&name), files.path(&name))
            };
            copied.expect("copied");
        }
        let backup = killed.path("backup.db").display().to_string();
        let ran = files.command(&["restore", &backup]).output();
        let ran = ran.expect("it runs");
        assert!(ran.status.success(), "{left:?}: {ran:?}");
        let hints = String::from_utf8_lossy(&ran.stderr);
        let moved = hints.lines().nth(2);
        assert_eq!(moved.is_some(), said.is_some(), "{left:?}: {hints}");
        if let (Some(moved), Some((one, other))) = (moved, said) {
            assert!(moved.contains(one) && moved.contains(other), "{moved}");
        }
        let command = moved.and_then(|it| it.split('`').nth(1));
        // Without its log, a copy of the file has nothing that the backup lacks.
        let has_later = left.contains(&"") && left.contains(&"-wal");
        assert_eq!(command.is_some(), has_later, "{left:?}: {hints}");
        if let Some(command) = command {
            shell(&format!("set -o pipefail; {command}")).expect("it replays");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replay_that_a_restore_prints_takes_the_digest_secret_of_the_store() {
    let files = Files::new();
    let secret = files.path("secret");
    fs::write(&secret, "secret".repeat(8)).expect("written");
    let flag = format!("--digest-secret-file {}", secret.display());
    let flags: Vec<_> = flag.split(' ').collect();
    for name in ["backup.db", "later.db"] {
        let server = Server::start_with(&files.store(), &flags, &[]).await;
        server.client().await.create_key().await;
        server.terminate().await;
        files.run(&["backup", name]);
    }
    let restored = files.command(&["restore", "backup.db"]).output();
    let hints = String::from_utf8(restored.expect("it runs").stderr).expect("UTF-8");
    let replay = hints.lines().nth(2).and_then(|it| it.split('`').nth(1));
    let replay = replay.expect(&hints);
    let without = replay.replace(" --digest-secret-file FILE", "");
    assert_ne!(without, replay);
    let said = shell(&format!(
        "set -o pipefail; {without} || (echo code $? >&2; false)"
    ));
    let said = said.expect_err("another secret");
    assert!(
        said.contains("with another digest secret") && said.contains("code 2"),
        "{said}"
    );
    let given = replay.replace("--digest-secret-file FILE", &flag);
    shell(&format!("set -o pipefail; {given}")).expect("it replays");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_left_to_its_own_programs() {
    let files = Files::new();
    let store = "postgres://u:hunter2@localhost/keys";
    for (command, program) in [("backup", "pg_dump"), ("restore", "pg_restore")] {
        let mut command = files.command(&[command, "backup.db"]);
        assert_refused(command.env("KEYSERVICE_STORE", store), &[program]).await;
    }
}
