//! A database that was restored from a dump is told from one that was copied as it is, and is served only once
//! somebody has accepted it: a person, or a replica that remembers what was written.

use crate::support::{
    caller, eventually,
    postgres::{
        Cluster, Version, address, as_server_user, database_in,
        roles::{create_role_for, role_in},
        session,
    },
    server::{self, Server, assert_refused, audit_command::records, command},
    stores::{accept_restore, open, open_restored, try_to_open},
    tools::postgres_tool,
};
use keyservice::{
    model::{account::Accounts, key::KeyId, time::Timestamp},
    store::{KeyStore, KeyTarget, Revocation, StillAllowed},
};
use std::{
    path::Path,
    process::{Command, Output},
};

const IS_OWN: &str = "SELECT keyservice.is_own()";
const NOT_ACCEPTED: &str = "was restored from a backup, or copied";

fn is_own(cluster: &Cluster, database: &str) -> bool {
    cluster.psql(database, IS_OWN).trim() == "t"
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_rows_as_they_are_keeps_a_store() {
    for version in Version::ALL {
        let cluster = Cluster::shared_of(version);
        let store = cluster.create_database();
        drop(open(&store).await);
        let database = database_in(&store);
        for work in [
            "VACUUM FREEZE keyservice.origin",
            "VACUUM FULL keyservice.origin",
            "CLUSTER keyservice.origin USING origin_pkey",
            "VACUUM FREEZE",
        ] {
            cluster.psql(database, work);
            assert!(is_own(&cluster, database), "{version:?}: {work}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_takes_over_is_the_same_store() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    drop(open(&store).await);
    let standby = cluster.start_standby();
    standby.promote();
    Server::start(&address(standby.port(), database_in(&store))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_pg_upgrade_has_made_has_the_same_store() {
    let mut old = Cluster::start();
    let store = old.create_database();
    drop(open(&store).await);
    old.stop();
    let mut new = Cluster::start();
    new.stop();
    let programs = postgres_tool("pg_upgrade");
    let programs = programs.parent().expect("a folder").display().to_string();
    let (from, to) = (old.data_directory(), new.data_directory());
    let upgraded = as_server_user(&postgres_tool("pg_upgrade"), to.parent().expect("a folder"))
        .args([
            "--username=keyservice",
            "--old-bindir",
            &programs,
            "--new-bindir",
            &programs,
        ])
        .arg("--old-datadir")
        .arg(from)
        .arg("--new-datadir")
        .arg(to)
        .output();
    let upgraded = upgraded.expect("it runs");
    assert!(upgraded.status.success(), "{upgraded:?}");
    new.restart();
    Server::start(&address(new.port(), database_in(&store))).await;
}

/// How a dump is made, and restored into `INTO`.
const RESTORES: [(&str, &str); 7] = [
    ("pg_dump > dump", "psql -Xqv ON_ERROR_STOP=1 -f dump INTO"),
    (
        "pg_dump --inserts > dump",
        "psql -Xqv ON_ERROR_STOP=1 -f dump INTO",
    ),
    (
        "pg_dump --inserts > dump",
        "psql -Xq1v ON_ERROR_STOP=1 -f dump INTO",
    ),
    (
        "pg_dump --format custom --file dump",
        "pg_restore --exit-on-error --dbname INTO dump",
    ),
    (
        "pg_dump --format custom --file dump",
        "pg_restore --single-transaction --dbname INTO dump",
    ),
    (
        "pg_dump --format directory --file dump",
        "pg_restore --jobs 2 --exit-on-error --dbname INTO dump",
    ),
    (
        "pg_dump --format tar --inserts --file dump",
        "pg_restore --exit-on-error --dbname INTO dump",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_recognised_in_every_format() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    drop(open(&store).await);
    // Its transactions have the numbers that those of the first had.
    let fresh = Cluster::start();
    for (dump, restore) in RESTORES {
        let folder = tempfile::tempdir().expect("a folder");
        run(&cluster, database_in(&store), dump, folder.path());
        for other in [&cluster, &fresh] {
            let restored = other.create_database();
            let restore = restore.replace("INTO", database_in(&restored));
            run(other, "postgres", &restore, folder.path());
            assert!(!is_own(other, database_in(&restored)), "{dump}, {restore}");
        }
    }
}

fn run(cluster: &Cluster, database: &str, line: &str, folder: &Path) {
    let mut words = line.split(' ');
    let program = postgres_tool(words.next().expect("a program"));
    let line = format!(
        "{} {}",
        program.display(),
        words.collect::<Vec<_>>().join(" ")
    );
    let ran = Command::new("bash")
        .args(["-c", &line])
        .current_dir(folder)
        .envs([
            ("PGHOST", "127.0.0.1"),
            ("PGUSER", "keyservice"),
            ("PGDATABASE", database),
        ])
        .env("PGPORT", cluster.port().to_string())
        .output();
    let ran = ran.expect("bash runs");
    assert!(ran.status.success(), "{line}: {ran:?}");
}

/// Puts a dump of the store in its place, and returns how it is called from then on.
fn restore_dump(cluster: &Cluster, store: &str) -> String {
    let restored = cluster.create_database();
    let folder = tempfile::tempdir().expect("a folder");
    run(cluster, database_in(store), "pg_dump > dump", folder.path());
    let into = format!(
        "psql -Xqv ON_ERROR_STOP=1 -f dump {}",
        database_in(&restored)
    );
    run(cluster, "postgres", &into, folder.path());
    restored
}

fn accept(store: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyservice"))
        .args(["accept-restore", "--store", store])
        .args(arguments)
        .output()
        .expect("it runs")
}

/// Nobody is to accept for nothing what this release cannot serve.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_of_a_newer_release_is_refused_for_its_schema() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    drop(open(&store).await);
    let later = "INSERT INTO keyservice.migrations (number, name) VALUES (1000, '1000_later.sql')";
    cluster.psql(database_in(&store), later);
    let restored = restore_dump(&cluster, &store);
    let parts = ["version 1000", "a newer release has migrated it"];
    assert_refused(&mut command(&restored), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_until_a_restored_database_is_accepted_and_goes_on_by_itself() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let (token, key_id) = server.client().await.create_key().await;
    let restored = restore_dump(&cluster, &store);
    server
        .client()
        .await
        .revoke(&key_id)
        .await
        .expect("revoked");
    server.terminate().await;
    let role = create_role_for("service", &cluster, &restored);

    let last_write = cluster.psql(
        database_in(&restored),
        "SELECT to_char(max(write_time) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') FROM keyservice.writes",
    );
    let parts = [NOT_ACCEPTED, last_write.trim(), "keyservice accept-restore"];
    assert_refused(&mut command(&role), &parts).await;

    let mut patient = server::command(&role);
    patient.env_remove("KEYSERVICE_STORE_WAIT_LIMIT");
    let mut waiting = Server::launch(&mut patient);
    eventually("it says what it waits for", async || {
        parts.iter().all(|part| waiting.log().contains(part))
    })
    .await;
    assert!(!waiting.is_listening());

    let unasked = accept(&role, &[]);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    let id = "SELECT store_id FROM keyservice.store_identity";
    let id = cluster.psql(database_in(&store), id).trim().to_owned();
    let said = String::from_utf8_lossy(&unasked.stderr).into_owned();
    assert!(
        said.contains(&format!("of the store {id} with 1 key")),
        "{said}"
    );
    assert!(!is_own(&cluster, database_in(&restored)));
    let accepted = accept(&role, &["--yes", "--output", "json"]);
    assert!(accepted.status.success(), "{accepted:?}");
    let accepted: serde_json::Value = serde_json::from_slice(&accepted.stdout).expect("JSON");
    let since = accepted["missing_since"].as_str().expect("a time");
    assert!(since.starts_with(last_write.trim()), "{accepted}");
    assert_eq!(accepted["store_id"], id.as_str());
    assert_eq!(accepted["keys"], 1);
    eventually("it serves", async || waiting.is_listening()).await;
    // As the question says: what was revoked since the dump is granted as before.
    assert!(waiting.client().await.is_granted(&token).await);
    let histories = "SELECT string_agg(after_revision::text, ',') FROM keyservice.histories";
    assert_eq!(cluster.psql(database_in(&restored), histories), "0,1");
    let record = "keyservice AcceptRestore OK - - 1";
    let recorded = records(&restored, &[]);
    assert!(
        recorded
            .iter()
            .any(|it| it.starts_with("keyservice AcceptRestore OK")),
        "{record}: {recorded:?}"
    );

    let again = accept(&role, &["--output", "json"]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(
        String::from_utf8_lossy(&again.stdout).trim(),
        r#"{"accepted":false}"#
    );
    assert_eq!(records(&restored, &[]), recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_vouches_for_a_restored_database_that_has_all_it_remembers() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &["--lease", "2s"], &[]).await;
    let (token, _) = server.client().await.create_key().await;
    let restored = restore_dump(&cluster, &store);
    let (from, to) = (database_in(&restored).to_owned(), database_in(&store));
    for sql in [
        format!("ALTER DATABASE {to} ALLOW_CONNECTIONS false"),
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{to}'"),
        format!("ALTER DATABASE {to} RENAME TO replaced"),
        format!("ALTER DATABASE {from} RENAME TO {to}"),
    ] {
        cluster.psql("postgres", &sql);
    }
    eventually("it vouches", async || is_own(&cluster, to)).await;
    assert!(server.log().contains("it is accepted"), "{}", server.log());
    assert!(server.client().await.is_granted(&token).await);
    Server::start(&store).await;
}

/// As a replay does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_writes_to_a_restored_database_does_not_accept_it() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let (token, key_id) = Server::start(&store)
        .await
        .client()
        .await
        .create_key()
        .await;
    let restored = restore_dump(&cluster, &store);
    let refused = try_to_open(&restored).await.err().expect("it is refused");
    assert!(refused.to_string().contains(NOT_ACCEPTED), "{refused}");

    let revocation = Revocation {
        target: KeyTarget::Id(KeyId::parse(&key_id).expect("an id")),
        accounts: Accounts::All,
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    };
    let revoked = open_restored(&restored).await.revoke(&revocation).await;
    assert!(revoked.expect("written").is_some());
    assert!(!is_own(&cluster, database_in(&restored)));
    assert_refused(&mut command(&restored), &[NOT_ACCEPTED]).await;
    accept_restore(&restored);
    let server = Server::start(&restored).await;
    assert!(!server.client().await.is_granted(&token).await);
}

/// A write that the database lost is not in the history that a replica follows: another one vouches then.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_vouches_by_a_write_that_the_database_does_not_have() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store)
        .await
        .client()
        .await
        .create_key()
        .await;
    let restored = restore_dump(&cluster, &store);
    let database = database_in(&restored);
    let vouch = |write: &str| {
        cluster.psql(
            database,
            &format!("SELECT keyservice.accept_restore(now(), 'keyservice', {write})"),
        )
    };
    for lost in ["2, gen_random_uuid()", "1, gen_random_uuid()"] {
        assert_eq!(vouch(lost).trim(), "f");
        assert!(!is_own(&cluster, database));
    }
    let held = "1, (SELECT write_id FROM keyservice.writes WHERE revision = 1)";
    assert_eq!(vouch(held).trim(), "t");
    assert!(is_own(&cluster, database));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_service_and_the_owner_can_accept_a_restore_or_undo_that() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    drop(open(&store).await);
    let auditor = create_role_for("audit", &cluster, &store);
    let service = create_role_for("service", &cluster, &store);
    let writes = [
        "SELECT keyservice.mark_origin()",
        "SELECT keyservice.accept_restore(now(), 'x')",
        "UPDATE keyservice.origin SET written_by = '1'",
        "DELETE FROM keyservice.origin",
        "INSERT INTO keyservice.origin VALUES (1, '1')",
    ];
    let auditors = session(&auditor).await;
    for sql in writes {
        assert!(auditors.batch_execute(sql).await.is_err(), "{sql}");
    }
    let services = session(&service).await;
    for sql in &writes[3..] {
        assert!(services.batch_execute(sql).await.is_err(), "{sql}");
    }
    services.batch_execute(writes[0]).await.expect("it vouches");
    assert!(is_own(&cluster, database_in(&store)));
    assert!(role_in(&service).starts_with("service"));
}
