//! Who did what is on record: every admin call, refused ones too, and `keyservice audit` tells.

use crate::support::{
    audit::{Reader, complaint, printed, record_of_a_list, records},
    callers::{BearerClient, Credential, client},
    directory, eventually,
    keys_lock::with_tables,
    mount::Mount,
    postgres::{Cluster, database_in},
    server::{Server, sqlite_in},
    tools::{shell, tool},
};
use futures::future::join_all;
use keyservice::{
    grpc::proto::{CreateRequest, ListRequest, RevokeRequest, revoke_request::Target},
    model::{time::Timestamp, token::Digester},
    store::{AuditLog, sqlite::SqliteStore},
};
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tonic::Code;

/// A server that knows an admin of one account, an authorizer, and nobody else.
struct Guarded {
    server: Server,
    dashboard: BearerClient,
    sender: BearerClient,
    stranger: BearerClient,
    _callers: Mount,
}

impl Guarded {
    async fn start(store: &str) -> Self {
        let dashboard = ["--role", "admin", "--accounts", "acme,initech"];
        let dashboard = Credential::new("dashboard", &dashboard);
        let sender = Credential::new("sender", &["--role", "authorizer"]);
        let stranger = Credential::new("stranger", &["--role", "admin"]);
        let callers = [dashboard.line, sender.line].join("\n");
        let callers = Mount::new(&[("callers", &callers)]);
        let credentials = callers.arg("callers");
        let server = Server::start_with(store, &["--credentials", &credentials], &[]).await;
        let channel = server.channel().await;
        Self {
            dashboard: client(channel.clone(), &dashboard.secret),
            sender: client(channel.clone(), &sender.secret),
            stranger: client(channel, &stranger.secret),
            server,
            _callers: callers,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_admin_call_is_on_record_on_sqlite() {
    let directory = directory();
    put_every_call_on_record(&sqlite_in(&directory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_admin_call_is_on_record_on_postgres() {
    put_every_call_on_record(&Cluster::shared().database()).await;
}

async fn put_every_call_on_record(store: &str) {
    let mut guarded = Guarded::start(store).await;
    let dashboard = &mut guarded.dashboard;
    let once = || CreateRequest {
        account_id: "acme".into(),
        name: "made once".into(),
        request_id: Some("once".into()),
        ..Default::default()
    };
    let created = dashboard.create_with(once()).await.unwrap();
    let (token, key) = (created.token, created.key.unwrap().key_id);
    let nobodys = key.replace("key_0", "key_1");
    dashboard.create_with(once()).await.unwrap_err();
    dashboard.create("globex", "foreign").await.unwrap_err();
    dashboard.create("acme", "").await.unwrap_err();
    dashboard.list("acme").await.unwrap();
    dashboard.list("globex").await.unwrap_err();
    let no_account = ListRequest::default();
    dashboard.list_with(no_account).await.unwrap_err();
    dashboard.revoke(&nobodys).await.unwrap_err();
    let of_initech = RevokeRequest {
        target: Some(Target::KeyId(key.clone())),
        account_id: Some("initech".into()),
    };
    dashboard.revoke_with(of_initech).await.unwrap_err();
    dashboard.revoke_target(Target::Token(token)).await.unwrap();
    dashboard.revoke(&key).await.unwrap();
    guarded.sender.revoke(&key).await.unwrap_err();
    guarded.sender.create("acme", "not mine").await.unwrap_err();
    guarded.stranger.list("acme").await.unwrap_err();

    let expected = [
        &format!("dashboard Create OK acme {key} 1"),
        &format!("dashboard Create ALREADY_EXISTS acme {key} 1"),
        "dashboard Create PERMISSION_DENIED globex - 1",
        "dashboard Create INVALID_ARGUMENT - - 1",
        "dashboard List OK acme - 1",
        "dashboard List PERMISSION_DENIED globex - 1",
        "dashboard List INVALID_ARGUMENT - - 1",
        &format!("dashboard Revoke NOT_FOUND - {nobodys} 1"),
        &format!("dashboard Revoke NOT_FOUND - {key} 1"),
        &format!("dashboard Revoke OK acme {key} 1"),
        &format!("dashboard Revoke OK acme {key} 1"),
        "sender Revoke PERMISSION_DENIED - - 1",
        "sender Create PERMISSION_DENIED - - 1",
    ];
    // Each was stored before it was answered, and is read beside the server.
    assert_eq!(records(store, &[]), expected);
    assert_eq!(records(store, &["--limit", "3"]), expected[10..]);
    assert_eq!(records(store, &["--caller", "sender"]), expected[11..]);
    let of_key: Vec<_> = expected.into_iter().filter(|r| r.contains(&key)).collect();
    assert_eq!(records(store, &["--key", &key]), of_key);
    let newest_of_key = &of_key[3..];
    assert_eq!(
        records(store, &["--key", &key, "--limit", "2"]),
        newest_of_key
    );
    assert_eq!(
        records(store, &["--account", "globex"]),
        [expected[2], expected[5]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_service_could_read_is_on_record() {
    let (directory, cluster) = (directory(), Cluster::shared());
    for store in [sqlite_in(&directory), cluster.database()] {
        let mut guarded = Guarded::start(&store).await;
        let too_long = guarded.dashboard.create("acme", &"x".repeat(10_000)).await;
        assert_eq!(too_long.unwrap_err().code(), Code::ResourceExhausted);
        // What speaks of too much is not recorded at once.
        guarded.server.terminate().await;
        let expected = ["dashboard Create RESOURCE_EXHAUSTED - - 1"];
        assert_eq!(records(&store, &[]), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_those_whom_nobody_knows_are_counted() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut guarded = Guarded::start(&store).await;
    for _ in 0..300 {
        guarded.stranger.create("acme", "a key").await.unwrap_err();
    }
    guarded.stranger.list("acme").await.unwrap_err();
    guarded.server.terminate().await;
    let mut records = records(&store, &[]);
    records.sort();
    let expected = [
        "unknown Create UNAUTHENTICATED - - 300",
        "unknown List UNAUTHENTICATED - - 1",
    ];
    assert_eq!(records, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_selected_by_their_time() {
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
async fn a_caller_that_is_refused_again_and_again_does_not_flood_the_store() {
    const CALLS: usize = 700;
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut guarded = Guarded::start(&store).await;
    let calls = (0..CALLS).map(async |_| guarded.sender.clone().create("acme", "no").await);
    for refused in join_all(calls).await {
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    // Another caller has an allowance of its own.
    guarded.dashboard.list("globex").await.unwrap_err();
    let dashboards = ["dashboard List PERMISSION_DENIED globex - 1"];
    assert_eq!(records(&store, &["--caller", "dashboard"]), dashboards);

    guarded.server.terminate().await;
    let of_sender = records(&store, &["--caller", "sender"]);
    assert!((100..110).contains(&of_sender.len()), "{}", of_sender.len());
    let calls = of_sender.iter().map(|record| {
        let calls = record.strip_prefix("sender Create PERMISSION_DENIED - - ");
        calls
            .expect("of one kind")
            .parse::<usize>()
            .expect("a number")
    });
    assert_eq!(calls.sum::<usize>(), CALLS, "every call is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_record_a_list_is_not_answered_and_a_refusal_is() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut guarded = Guarded::start(&store).await;
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    file.execute_batch("BEGIN IMMEDIATE")
        .expect("no write can go on");

    let started = Instant::now();
    let refused = guarded.sender.create("acme", "no").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(started.elapsed() < Duration::from_secs(3));
    let unanswered = guarded.dashboard.list("acme").await.unwrap_err();
    assert_eq!(unanswered.code(), Code::Unavailable);
    assert!(
        guarded
            .server
            .log()
            .contains("\"outcome\":\"PERMISSION_DENIED\"")
    );

    file.execute_batch("ROLLBACK").expect("writes go on");
    guarded.dashboard.list("acme").await.unwrap();
    guarded.server.terminate().await;
    let mut records = records(&store, &[]);
    records.sort();
    let expected = [
        "dashboard List OK acme - 1",
        "dashboard List UNAVAILABLE - - 1",
        "sender Create PERMISSION_DENIED - - 1",
    ];
    assert_eq!(records, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_is_on_record_all_the_same() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let guarded = Guarded::start(&store).await;
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    file.execute_batch("BEGIN IMMEDIATE")
        .expect("no write can go on");
    // Both wait for their records meanwhile.
    let hang_up = async |mut client: BearerClient| {
        let call = timeout(Duration::from_millis(500), client.list("acme"));
        call.await.expect_err("it is not answered");
    };
    tokio::join!(hang_up(guarded.sender), hang_up(guarded.dashboard));
    file.execute_batch("ROLLBACK").expect("writes go on");
    let expected = [
        "dashboard List OK acme - 1",
        "sender List PERMISSION_DENIED - - 1",
    ];
    eventually("both are on record", async || {
        let mut records = records(&store, &[]);
        records.sort();
        records == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_makes_and_changes_no_file_whether_a_service_runs_has_crashed_or_has_stopped() {
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
    untouched("it runs");
    server.kill().await;
    untouched("it has crashed");
    Server::start(&store).await.terminate().await;
    untouched("it has stopped");
    let reader = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    let integrity = reader.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    assert_eq!(integrity, Ok("ok".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_though_its_file_is_read_and_the_reader_notices_where_that_matters() {
    let directory = directory();
    let store = sqlite_in(&directory);
    // More than the reader can get rid of before anybody takes its output.
    let many = vec![record_of_a_list(Timestamp::now()); 2000];
    let path = directory.path().join("keys.db");
    let file = SqliteStore::open(&path, &Digester::new(None)).expect("it opens");
    file.append_records(&many).await.expect("appended");
    drop(file);

    let reader = Reader::begin(&store);
    Server::start(&store).await.kill().await;
    let error = reader.end().expect_err("the file may have changed");
    assert!(error.contains("a service began to write"), "{error}");
    let reader = Reader::begin(&store);
    Server::start(&store).await.terminate().await;
    let rest = reader.end().expect("SQLite's locks show one moment");
    assert_eq!(rest, many.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_a_table_on_a_terminal_and_a_reader_may_leave_early() {
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
        printed(&store, &["--format", "table"]).replace('\n', "\r\n")
    );
    let table = printed(&store, &["--format", "table", "--limit", "1"]);
    let words: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0][1..],
        ["CALLER", "METHOD", "OUTCOME", "CALLS", "KEY", "ACCOUNT"]
    );
    assert_eq!(words[1][1..], ["anyone", "List", "OK", "1", "-", "acme"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_or_is_none_is_named_and_none_is_made() {
    let directory = directory();
    let missing = sqlite_in(&directory);
    let advice = "there is no store at sqlite:";
    assert!(complaint(&missing, &[]).contains(advice));
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("read").count(),
        0
    );
    std::fs::write(directory.path().join("keys.db"), "").expect("written");
    assert!(complaint(&missing, &[]).contains("is not a keyservice database"));

    let cluster = Cluster::shared();
    let empty = cluster.database();
    assert!(complaint(&empty, &[]).contains("there is no store at postgres://"));
    let unknown = cluster.address_of("unknown");
    assert!(complaint(&unknown, &[]).contains("database \"unknown\" does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_itself_keeps_the_command_from_writing() {
    let cluster = Cluster::shared();
    let store = with_tables(cluster.database()).await;
    let sql = "ALTER TABLE keyservice.audit RENAME TO kept; \
               CREATE SEQUENCE keyservice.trap; \
               CREATE VIEW keyservice.audit AS \
               SELECT kept.* FROM nextval('keyservice.trap'), keyservice.kept";
    cluster.psql(database_in(&store), sql);
    let refusal = "cannot execute nextval() in a read-only transaction";
    let complaint = complaint(&store, &[]);
    assert!(complaint.contains(refusal), "{complaint}");
}
