//! The file of an SQLite store: which files are accepted, and who may read them.

use crate::support::{
    directory,
    postgres::is_running_as_root,
    server::{self, Server, assert_refused, audit_command::audit_error, sqlite_in},
    tools::tool,
};
use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink},
    process::Command,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_a_path_that_cannot_be_opened() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("prose.db"), "no database ".repeat(1000)).expect("a file");
    std::fs::create_dir(path("folder")).expect("a directory");
    let whole = format!("sqlite:{}", path("whole.db"));
    Server::start(&whole).await.terminate().await;
    let whole = std::fs::read(path("whole.db")).expect("a file");
    std::fs::write(path("cut.db"), &whole[..whole.len() / 2]).expect("a file");
    for (name, advice) in [
        ("missing/keys.db", "make its directory first"),
        ("folder", "is no regular file"),
        ("prose.db", "check that it is a keyservice database"),
        ("prose.db", "give a backup to `keyservice restore`"),
        ("cut.db", "give a backup to `keyservice restore`"),
    ] {
        let mut command = server::command(&format!("sqlite:{}", path(name)));
        assert_refused(&mut command, &[&path(name), advice]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_another_program_is_refused_and_not_changed() {
    let directory = directory();
    let path = directory.path().join("keys.db");
    let theirs = rusqlite::Connection::open(&path).expect("it opens");
    theirs
        .execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 99")
        .expect("it is made");
    let before = std::fs::read(&path).expect("a file");
    let parts = ["keys.db is not a keyservice database"];
    assert_refused(&mut server::command(&sqlite_in(&directory)), &parts).await;
    assert_eq!(std::fs::read(&path).expect("a file"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_cannot_be_opened_under_a_second_name() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let store = |name: &str| format!("sqlite:{}", path(name).display());
    symlink("keys.db", path("link.db")).expect("a link");
    let dangling = ["link.db", "make the file that it leads to first"];
    assert_refused(&mut server::command(&store("link.db")), &dangling).await;

    let holder = Server::start(&store("keys.db")).await;
    let in_use = ["keys.db is in use"];
    assert_refused(&mut server::command(&store("link.db")), &in_use).await;
    std::fs::hard_link(path("keys.db"), path("twin.db")).expect("a link");
    let twice = ["twin.db has a second name", "remove one of them"];
    assert_refused(&mut server::command(&store("twin.db")), &twice).await;
    holder.terminate().await;
    let twice = ["keys.db has a second name"];
    assert_refused(&mut server::command(&store("keys.db")), &twice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_on_the_database_and_not_on_a_file_beside_it() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let _holder = Server::start(&store).await;
    for entry in directory.path().read_dir().expect("a directory") {
        let path = entry.expect("a file").path();
        if !path.ends_with("keys.db") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    assert_refused(&mut server::command(&store), &["keys.db is in use"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_cannot_be_opened_through_another_mount() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let _holder = Server::start(&sqlite_in(&directory)).await;
    std::fs::write(path("other.db"), "").expect("a file");
    // A mount of the file alone has no write-ahead log beside it.
    let mount = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut command = Command::new(tool("unshare"));
    command.args([
        "-rm",
        "sh",
        "-c",
        mount,
        "sh",
        &path("keys.db"),
        &path("other.db"),
    ]);
    let serve = server::command(&format!("sqlite:{}", path("other.db")));
    command.arg(serve.get_program()).args(serve.get_args());
    assert_refused(&mut command, &["other.db is in use"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_be_written_is_refused() {
    let directory = directory();
    Server::start(&sqlite_in(&directory))
        .await
        .terminate()
        .await;
    let path = directory.path().join("keys.db").display().to_string();
    let mount = "mount --bind -o ro \"$1\" \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new(tool("unshare"));
    let folder = directory.path().display().to_string();
    command.args(["-rm", "sh", "-c", mount, "sh", &folder]);
    let serve = server::command(&sqlite_in(&directory));
    command.arg(serve.get_program()).args(serve.get_args());
    assert_refused(&mut command, &[&path, "that its disk is not read-only"]).await;
}

/// As in a container with a root file system that is read-only. Sorting so many keys for an index takes more
/// than SQLite keeps in memory by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_migrated_where_no_temporary_file_can_be_made() {
    let directory = directory();
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    for migration in [
        include_str!("../../../src/store/sqlite/migrations/0001_keys.sql"),
        include_str!("../../../src/store/sqlite/migrations/0002_audit.sql"),
        include_str!("../../../src/store/sqlite/migrations/0003_opening.sql"),
        include_str!("../../../src/store/sqlite/migrations/0004_domains.sql"),
        "PRAGMA user_version = 4; PRAGMA application_id = 0x54584b53;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
         INSERT INTO keys (key_id, digest, account_id, name, preview, create_time, create_revision, revision)
         SELECT randomblob(16), randomblob(32), 'account-' || hex(randomblob(50)), 'a key', 'a', 1, i, i
         FROM n;
         INSERT INTO writes (revision, write_time, key_id) SELECT revision, 1, key_id FROM keys",
    ] {
        file.execute_batch(migration).expect("made");
    }
    drop(file);
    let read_only = "mount --bind \"$1\" \"$1\"; \
                     for place in / /tmp /var/tmp; do mount -o remount,bind,ro $place; done; \
                     cd / && ! touch /tmp/any /var/tmp/any && shift && exec \"$@\"";
    let folder = directory.path().display().to_string();
    let mut command = Command::new(tool("unshare"));
    command.args(["-rm", "sh", "-c", read_only, "sh", &folder]);
    let serve = server::command(&sqlite_in(&directory));
    command.arg(serve.get_program()).args(serve.get_args());
    let server = Server::start_command(&mut command).await;
    server.client().await.create_key().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_can_read_an_sqlite_store() {
    let directory = directory();
    let _server = Server::start(&sqlite_in(&directory)).await;
    for entry in directory.path().read_dir().expect("a directory") {
        let entry = entry.expect("a file");
        let mode = entry.metadata().expect("its mode").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_who_may_read_or_change_a_file_are_warned_of() {
    let directory = directory();
    let set = |path: &str, mode| {
        let path = directory.path().join(path);
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    };
    let secret = directory.path().join("digest-secret");
    std::fs::write(&secret, "x".repeat(32)).expect("written");
    let store = sqlite_in(&directory);
    let start = async || {
        let secret = secret.display().to_string();
        Server::start_with(&store, &["--digest-secret-file", &secret], &[]).await
    };
    set("digest-secret", 0o600);
    set("", 0o755);
    let server = start().await;
    assert!(!server.log().contains("may read") && !server.log().contains("may change"));
    server.terminate().await;

    set("digest-secret", 0o644);
    set("keys.db", 0o666);
    let server = start().await;
    for warning in [
        "--digest-secret-file: every user of this machine may read",
        "the database: every user of this machine may read",
        "the database: every user of this machine may change",
        "keys.db-wal; take",
        "keys.db-shm; take",
    ] {
        assert!(server.log().contains(warning), "{}", server.log());
    }
}

/// Only root can give a file to another user.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_or_a_log_that_another_user_has_put_into_a_shared_folder_is_refused() {
    if !is_running_as_root() {
        return;
    }
    for planted in [
        "keys.db",
        "keys.db-wal",
        "keys.db-shm",
        "keys.db-journal",
        "link.db",
    ] {
        let directory = directory();
        Server::start(&sqlite_in(&directory))
            .await
            .terminate()
            .await;
        let path = directory.path().join(planted);
        match planted {
            "keys.db" => {}
            "link.db" => symlink("keys.db", &path).expect("linked"),
            _ => std::fs::write(&path, "").expect("written"),
        }
        lchown(&path, Some(4711), None).expect("given away");
        let shared = Permissions::from_mode(0o1777);
        std::fs::set_permissions(directory.path(), shared).expect("set");
        let opened = if planted == "link.db" {
            planted
        } else {
            "keys.db"
        };
        let store = format!("sqlite:{}", directory.path().join(opened).display());
        let parts = [planted, "belongs to user 4711", "make the service's user"];
        assert_refused(&mut server::command(&store), &parts).await;
        let refused = audit_error(&store, &[]);
        assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
        let owner = path.symlink_metadata().expect("it is there").uid();
        assert_eq!(owner, 4711);

        let own = Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), own).expect("set");
        Server::start(&store).await.terminate().await;
    }
}

/// Whoever owns the folder could have SQLite give files of root to itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_beside_the_database_is_refused() {
    for end in ["-wal", "-shm", "-journal"] {
        let directory = directory();
        let store = sqlite_in(&directory);
        Server::start(&store).await.terminate().await;
        let theirs = directory.path().join("theirs");
        std::fs::write(&theirs, "").expect("written");
        let beside = directory.path().join(format!("keys.db{end}"));
        for is_hard in [false, true] {
            if is_hard {
                std::fs::hard_link(&theirs, &beside).expect("linked");
            } else {
                symlink("theirs", &beside).expect("linked");
            }
            let refused = audit_error(&store, &[]);
            assert!(refused.contains("it is a link"), "{refused}");
            assert_refused(&mut server::command(&store), &["it is a link"]).await;
            std::fs::remove_file(&beside).expect("removed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_a_view_computes_are_not_printed() {
    let directory = directory();
    let store = sqlite_in(&directory);
    Server::start(&store).await.terminate().await;
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    let plant = "DROP TABLE audit; CREATE VIRTUAL TABLE audit USING fts5(time, caller)";
    file.execute_batch(plant).expect("planted");
    drop(file);
    assert!(audit_error(&store, &[]).contains("is not a keyservice database"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_regular_is_refused() {
    let parts = ["/dev/null is no regular file"];
    assert_refused(&mut server::command("sqlite:/dev/null"), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_for_an_sqlite_file_in_use_names_the_other_process() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let holder = Server::start(&store).await;
    let process = format!("process {}", holder.pid());
    let parts = ["keys.db", &process, "give --store another file"];
    assert_refused(&mut server::command(&store), &parts).await;
}
