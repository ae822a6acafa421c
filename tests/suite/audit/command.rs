//! `keyservice audit` prints the records of a store, whether or not a server runs on it.

use crate::support::{
    directory, eventually,
    postgres::{Cluster, database_in, session, table_lock::with_schema},
    server::{
        Server,
        audit_command::{Reader, audit, audit_error, audit_output, record_of_a_list, records},
        sqlite_in,
    },
    stores::Stores,
    tools::{shell, tool},
};
use keyservice::{
    callers::secret::Secret,
    model::{
        audit_record::{AdminMethod, AuditRecord, MethodName},
        time::Timestamp,
        token::{Digester, Token},
    },
    store::{AuditLog, sqlite::SqliteStore},
};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn since_and_until_select_records_by_their_time() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    client.list("before").await.unwrap();
    let now = Timestamp::now().to_system_time();
    let now = humantime::format_rfc3339_micros(now).to_string();
    client.list("after").await.unwrap();

    let (before, after) = (["anyone List OK before - 1"], ["anyone List OK after - 1"]);
    assert_eq!(records(&store, &["--until", &now]), before);
    assert_eq!(records(&store, &["--since", &now]), after);
    assert_eq!(records(&store, &["--since", "1h"]).len(), 2);
    assert_eq!(
        records(&store, &["--since", "1h", "--until", "30m"]).len(),
        0
    );
    assert_eq!(records(&store, &["--until", "2020-01-31"]).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn until_must_be_later_than_since_and_headings_stand_above_records_only() {
    let directory = directory();
    let store = sqlite_in(&directory);
    for reversed in [["30m", "1h"], ["2030-01-31", "2030-01-31"]] {
        let ran = audit(&store, &["--since", reversed[0], "--until", reversed[1]]);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("is not later than --since"), "{said}");
        assert_eq!(ran.status.code(), Some(2));
    }
    Server::start(&store).await.terminate().await;
    let none = audit(&store, &["--format", "table"]);
    assert_eq!(none.stdout, b"");
    let said = String::from_utf8_lossy(&none.stderr);
    assert_eq!(said, "keyservice: no record is as asked for\n");
    let server = Server::start(&store).await;
    server.client().await.list("acme").await.expect("listed");
    let table = audit(&store, &["--format", "table"]).stdout;
    let table = String::from_utf8(table).expect("UTF-8");
    let columns =
        "REVISION  CALLER  METHOD  OUTCOME  CALLS  KEY  ACCOUNT  DOMAIN  SUBDOMAINS  KEY_END\n";
    assert!(table.contains(columns), "{table}");
    let row = "  -         anyone  List    OK       1      -    acme     -       -           -\n";
    assert!(table.ends_with(row), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn method_selects_records_and_a_name_of_none_is_refused() {
    for stores in [Stores::sqlite(), Stores::postgres().await] {
        let mut record = vec![record_of_a_list(Timestamp::now()); 4];
        record[1].method = AdminMethod::Revoke.into();
        record[2].method = MethodName::of_dry_run(AdminMethod::BatchRevoke);
        record[3].method = MethodName::accept_restore();
        let audit_log = &stores.first.audit;
        audit_log.append_records(&record).await.expect("appended");
        for method in ["Revoke", "BatchRevokeDryRun", "list", "AcceptRestore"] {
            for limit in [&[][..], &["--limit", "2"]] {
                let found = records(&stores.address, &[&["--method", method], limit].concat());
                let [found] = &found[..] else {
                    panic!("{method}: {found:?}");
                };
                assert!(
                    found.to_lowercase().contains(&method.to_lowercase()),
                    "{found}"
                );
            }
        }
        let both = ["--method", "Revoke", "--method", "List"];
        assert_eq!(records(&stores.address, &both).len(), 2);
        let error = audit(&stores.address, &["--method", "Delete"]);
        let said = String::from_utf8_lossy(&error.stderr);
        assert!(
            said.contains("the methods are Create, List, Revoke"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_changes_no_file_while_a_server_runs_after_it_crashed_or_after_it_stopped() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let files = || {
        let entries = std::fs::read_dir(directory.path()).expect("a directory");
        let entries = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = entries
            .map(|path| (path.clone(), std::fs::read(path).expect("read")))
            .collect();
        files.sort();
        files
    };
    let server = Server::start(&store).await;
    server.client().await.list("acme").await.unwrap();
    let untouched = |state: &str| {
        let before = files();
        assert_eq!(records(&store, &[]), ["anyone List OK acme - 1"], "{state}");
        assert!(before == files(), "{state}");
    };
    untouched("the server runs");
    server.kill().await;
    untouched("the server has crashed");
    Server::start(&store).await.terminate().await;
    untouched("the server has stopped");
    let reader = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    let integrity = reader.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    assert_eq!(integrity, Ok("ok".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_while_the_command_reads_its_file_and_the_command_notices_new_writes() {
    let directory = directory();
    let store = sqlite_in(&directory);
    // More records than fit into the pipe of the command's output.
    let many = vec![record_of_a_list(Timestamp::now()); 2000];
    let path = directory.path().join("keys.db");
    append_to(&path, &many).await;

    let reader = Reader::start(&store);
    Server::start(&store).await.kill().await;
    let error = reader.finish().expect_err("the file may have changed");
    assert!(error.contains("a service began to write"), "{error}");
    let reader = Reader::start(&store);
    Server::start(&store).await.terminate().await;
    let rest = reader.finish().expect("SQLite's locks show one moment");
    assert_eq!(rest, many.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_left_in_a_pager_holds_nothing_open_in_sqlite() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let many = vec![record_of_a_list(Timestamp::now()); 2000];
    append_to(&directory.path().join("keys.db"), &many).await;
    let server = Server::start(&store).await;
    let reader = Reader::start(&store);
    let mut client = server.client().await;
    for _ in 0..1000 {
        client.create_key().await;
    }
    let log = directory.path().join("keys.db-wal").metadata();
    let log_len = log.expect("a log").len();
    assert!(log_len < 16 << 20, "{log_len} bytes");
    // Only what was there when the command began is shown.
    assert_eq!(reader.finish(), Ok(many.len() - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_left_in_a_pager_holds_nothing_open_in_postgres() {
    let stores = Stores::postgres().await;
    let many = vec![record_of_a_list(Timestamp::now()); 3000];
    stores
        .first
        .audit
        .append_records(&many)
        .await
        .expect("appended");
    let reader = Reader::start(&stores.address);
    let watcher = session(&stores.address).await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL \
                AND datname = current_database() AND pid <> pg_backend_pid()";
    eventually("no snapshot is open", async || {
        watcher
            .query_one(open, &[])
            .await
            .expect("answered")
            .get::<_, i64>(0)
            == 0
    })
    .await;
    assert_eq!(reader.finish(), Ok(many.len() - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_end_nowhere_in_the_middle_of_records_of_one_time() {
    for stores in [Stores::sqlite(), Stores::postgres().await] {
        let records = vec![record_of_a_list(Timestamp::now()); 2500];
        stores
            .first
            .audit
            .append_records(&records)
            .await
            .expect("appended");
        let count = |args: &[&str]| audit_output(&stores.address, args).lines().count();
        assert_eq!(count(&[]), 2500);
        for limit in [1, 999, 1000, 1001, 2000, 2500, 2501] {
            assert_eq!(count(&["--limit", &limit.to_string()]), limit.min(2500));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_named_and_hides_no_other() {
    let record = |time: &str, caller: &str, calls: &str| {
        format!(
            "INSERT INTO audit (time, caller, method, outcome, calls) \
             VALUES ({time}, {caller}, 'List', 'OK', {calls});"
        )
    };
    let directory = directory();
    let sqlite = with_schema(sqlite_in(&directory)).await;
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    let records = [
        record("1", "'first'", "1"),
        record("2", "CAST(x'ff' AS TEXT)", "1"),
        record("3", "'too many'", "5000000000"),
        record("4", "'last'", "1"),
        record("300000000000000000", "'too late'", "1"),
    ];
    file.execute_batch(&records.concat()).expect("inserted");
    drop(file);
    let cluster = Cluster::shared();
    let postgres = with_schema(cluster.create_database()).await;
    let records = [
        record("'1970-01-02'", "'first'", "1"),
        record("'20000-01-01'", "'too late'", "1"),
        record("'1970-01-03'", "'last'", "1"),
    ];
    let sql = format!(
        // Records of before the check of the time were not checked.
        "SET search_path = keyservice; ALTER TABLE audit DROP CONSTRAINT time_range; {}",
        records.concat()
    );
    cluster.psql(database_in(&postgres), &sql);
    for (store, unreadable) in [(sqlite, 3), (postgres, 1)] {
        for format in ["json", "table"] {
            let read = audit(&store, &["--format", format]);
            let printed = String::from_utf8(read.stdout).expect("UTF-8");
            let lines = printed.lines().skip(usize::from(format == "table"));
            assert_eq!(lines.count(), unreadable + 2, "{printed}");
            assert!(printed.contains("first") && printed.contains("last"));
            let mark = if format == "json" {
                "unreadable"
            } else {
                "cannot be read"
            };
            assert_eq!(printed.matches(mark).count(), unreadable, "{printed}");
            let said = String::from_utf8_lossy(&read.stderr);
            let count = format!("keyservice: {unreadable} of the records cannot be read");
            assert!(!read.status.success() && said.starts_with(&count), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_a_table_and_a_closed_pipe_is_no_error() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    for _ in 0..300 {
        client.list("acme").await.unwrap();
    }
    let binary = env!("CARGO_BIN_EXE_keyservice");
    let audit = format!("{binary} audit --store {store}");
    let first = shell(&format!("set -o pipefail; {audit} | head -n 1"));
    assert_eq!(first.expect("no error").lines().count(), 1);

    let by_variable = shell(&format!(
        "KEYSERVICE_STORE={store} {binary} audit --limit 3"
    ));
    assert_eq!(by_variable.expect("no error").lines().count(), 3);

    let python = tool("python3");
    let on_a_terminal = "-c 'import pty, sys; pty.spawn(sys.argv[1:])'";
    let shown = shell(&format!("{} {on_a_terminal} {audit}", python.display()));
    assert_eq!(
        shown.expect("shown"),
        audit_output(&store, &["--format", "table"]).replace('\n', "\r\n")
    );
    let table = audit_output(&store, &["--format", "table", "--limit", "1"]);
    let words: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0][1..],
        [
            "REVISION",
            "CALLER",
            "METHOD",
            "OUTCOME",
            "CALLS",
            "KEY",
            "ACCOUNT",
            "DOMAIN",
            "SUBDOMAINS",
            "KEY_END"
        ]
    );
    assert_eq!(
        words[1][1..],
        ["-", "anyone", "List", "OK", "1", "-", "acme", "-", "-", "-"]
    );
    let mut domains = server.domains().await;
    for (include_subdomains, shown) in [(true, "included"), (false, "excluded")] {
        domains
            .add_with("acme", "example.com", include_subdomains)
            .await
            .unwrap();
        let table = audit_output(&store, &["--format", "table", "--limit", "1"]);
        assert_eq!(
            table.split_whitespace().rev().nth(1),
            Some(shown),
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_names_a_missing_or_foreign_store_and_creates_none() {
    let directory = directory();
    let missing = sqlite_in(&directory);
    let advice = "there is no store at sqlite:";
    assert!(audit_error(&missing, &[]).contains(advice));
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("read").count(),
        0
    );
    std::fs::write(directory.path().join("keys.db"), "").expect("written");
    assert!(audit_error(&missing, &[]).contains("is not a keyservice database"));

    let cluster = Cluster::shared();
    let empty = cluster.create_database();
    assert!(audit_error(&empty, &[]).contains("there is no store at postgres://"));
    let unknown = cluster.address_of("unknown");
    assert!(audit_error(&unknown, &[]).contains("database \"unknown\" does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_filter_is_refused_before_the_store_is_asked_and_is_not_repeated() {
    let directory = directory();
    let missing = sqlite_in(&directory);
    let (token, secret) = (
        Token::generate(&mut rand::rng()),
        Secret::generate(&mut rand::rng()),
    );
    for secret in [token.expose(), secret.expose()] {
        for filter in [
            "--account",
            "--caller",
            "--domain",
            "--key",
            "--method",
            "--since",
        ] {
            let refused = audit(&missing, &[filter, secret]);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(!refused.status.success() && said.contains(filter), "{said}");
            assert!(!said.contains(&secret[5..]), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_refuses_every_write_of_the_command() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let sql = "INSERT INTO keyservice.audit (time, calls, caller, method, outcome) \
               VALUES (now(), 1, 'sender', 'List', 'OK'); \
               CREATE SEQUENCE keyservice.trap; \
               CREATE OR REPLACE VIEW keyservice_audit.records AS \
               SELECT number, time, revision, calls, caller, method, account_id, key_id, domain, \
                   include_subdomains, outcome, key_end, NULL::uuid AS store_id, NULL::uuid AS history_id, \
                   NULL::bigint AS history_after, NULL::uuid AS history_parent \
               FROM nextval('keyservice.trap'), keyservice.audit";
    cluster.psql(database_in(&store), sql);
    let refusal = "cannot execute nextval() in a read-only transaction";
    let audit_error = audit_error(&store, &[]);
    assert!(audit_error.contains(refusal), "{audit_error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_and_an_owner_of_damaged_tables_are_told_what_to_do() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let database = database_in(&store);
    let role = format!("no_reader_of_{database}");
    cluster.psql(database, &format!("CREATE ROLE {role} LOGIN"));
    let as_role = audit_error(&cluster.address_for(&role, database), &[]);
    let advice = "the rights that `keyservice grants --role ROLE --for audit` prints";
    assert!(
        as_role.contains("permission denied") && as_role.contains(advice),
        "{as_role}"
    );

    let record = "INSERT INTO keyservice.audit (time, calls, caller, method, outcome) \
                  VALUES (now(), 1, 'sender', 'List', 'OK')";
    cluster.psql(database, record);
    for damage in [
        "DROP VIEW keyservice_audit.records",
        "ALTER VIEW keyservice_audit.records RENAME COLUMN calls TO count",
    ] {
        let damaged = cluster.create_copy(database);
        cluster.psql(database_in(&damaged), damage);
        let said = audit_error(&damaged, &[]);
        assert!(
            said.contains("does not exist") && said.contains("restore both from a backup"),
            "{said}"
        );
    }
}

/// Appends records to a file that no service has open.
async fn append_to(path: &Path, records: &[AuditRecord]) {
    let file = SqliteStore::open(path, &Digester::new(None)).expect("it opens");
    file.append_records(records).await.expect("appended");
}
