//! Every admin call is recorded, and so is every refusal.

use crate::support::{
    clients::callers::{BearerClient, Credential, client},
    directory, eventually,
    mount::Mount,
    postgres::Cluster,
    search::{contains, files_below},
    server::{Server, audit_command::records, sqlite_in},
};
use futures::future::join_all;
use keyservice::grpc::proto::{
    CreateRequest, ListRequest, RevokeRequest, RotateRequest, SuspendRequest, UpdateRequest,
    key_service_client::KeyServiceClient, revoke_request::Target, rotate_request, suspend_request,
};
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tonic::Code;

/// A server with two callers: an admin of two accounts and an authorizer.
struct Guarded {
    server: Server,
    dashboard: BearerClient,
    dashboard_secret: String,
    sender: BearerClient,
    unknown: BearerClient,
    _callers: Mount,
}

impl Guarded {
    async fn start(store: &str) -> Self {
        let dashboard = ["--role", "admin", "--accounts", "acme,initech"];
        let dashboard = Credential::new("dashboard", &dashboard);
        let sender = Credential::new("sender", &["--role", "authorizer"]);
        let unknown = Credential::new("unlisted", &["--role", "admin"]);
        let callers = [dashboard.line, sender.line].join("\n");
        let callers = Mount::new(&[("callers", &callers)]);
        let credentials = callers.arg("callers");
        let server = Server::start_with(store, &["--credentials", &credentials], &[]).await;
        let channel = server.channel().await;
        Self {
            dashboard: client(channel.clone(), &dashboard.secret),
            dashboard_secret: dashboard.secret,
            sender: client(channel.clone(), &sender.secret),
            unknown: client(channel, &unknown.secret),
            server,
            _callers: callers,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_records_every_admin_call() {
    let directory = directory();
    assert_every_call_is_recorded(&sqlite_in(&directory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_records_every_admin_call() {
    assert_every_call_is_recorded(&Cluster::shared().create_database()).await;
}

async fn assert_every_call_is_recorded(store: &str) {
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
    let of_a_domain = ListRequest {
        account_id: "acme".into(),
        domain: Some("example.com".into()),
        ..Default::default()
    };
    dashboard.list_with(of_a_domain).await.unwrap();
    let not_theirs = CreateRequest {
        account_id: "globex".into(),
        name: "foreign".into(),
        domain: Some("example.com".into()),
        ..Default::default()
    };
    dashboard.create_with(not_theirs).await.unwrap_err();
    guarded.sender.revoke(&key).await.unwrap_err();
    guarded.sender.create("acme", "not mine").await.unwrap_err();
    guarded.unknown.list("acme").await.unwrap_err();

    let expected = [
        &format!("dashboard Create OK acme {key} 1"),
        &format!("dashboard Create ALREADY_EXISTS acme {key} 1"),
        "dashboard Create PERMISSION_DENIED globex - 1",
        "dashboard Create INVALID_ARGUMENT - - 1",
        "dashboard List OK acme - 1",
        "dashboard List PERMISSION_DENIED globex - 1",
        "dashboard List INVALID_ARGUMENT - - 1",
        &format!("dashboard Revoke NOT_FOUND - {nobodys} 1"),
        &format!("dashboard Revoke NOT_FOUND initech {key} 1"),
        &format!("dashboard Revoke OK acme {key} 1"),
        &format!("dashboard Revoke OK acme {key} 1"),
        "dashboard List OK acme example.com 1",
        "dashboard Create PERMISSION_DENIED globex example.com 1",
        "sender Revoke PERMISSION_DENIED - - 1",
        "sender Create PERMISSION_DENIED - - 1",
    ];
    // Each record was stored before its call was answered. The command reads beside the server.
    assert_eq!(records(store, &[]), expected);
    assert_eq!(records(store, &["--limit", "3"]), expected[12..]);
    assert_eq!(records(store, &["--caller", "sender"]), expected[13..]);
    let of_domain = records(store, &["--domain", "example.com"]);
    assert_eq!(of_domain, expected[11..13]);
    let of_key: Vec<_> = expected.into_iter().filter(|r| r.contains(&key)).collect();
    assert_eq!(records(store, &["--key", &key]), of_key);
    let newest_of_key = &of_key[3..];
    assert_eq!(
        records(store, &["--key", &key, "--limit", "2"]),
        newest_of_key
    );
    assert_eq!(
        records(store, &["--account", "globex"]),
        [expected[2], expected[5], expected[12]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_refused_by_another_field_is_recorded_with_its_key() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let server = Server::start(&store).await;
    let mut keys = KeyServiceClient::new(server.channel().await);
    let key_id = "key_01m8dtx57dfx3vdsza30am3e8v".to_owned();
    let suspend = SuspendRequest {
        target: Some(suspend_request::Target::KeyId(key_id.clone())),
        ..Default::default()
    };
    keys.suspend(suspend).await.unwrap_err();
    let rotate = RotateRequest {
        target: Some(rotate_request::Target::KeyId(key_id.clone())),
        request_id: Some(String::new()),
        ..Default::default()
    };
    keys.rotate(rotate).await.unwrap_err();
    let update = UpdateRequest {
        key_id: key_id.clone(),
        ..Default::default()
    };
    keys.update(update).await.unwrap_err();
    let of_method = |method| format!("anyone {method} INVALID_ARGUMENT - {key_id} 1");
    assert_eq!(
        records(&store, &["--key", &key_id]),
        ["Suspend", "Rotate", "Update"].map(of_method)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_message_is_too_large_is_recorded() {
    let (directory, cluster) = (directory(), Cluster::shared());
    for store in [sqlite_in(&directory), cluster.create_database()] {
        let mut guarded = Guarded::start(&store).await;
        let too_long = guarded.dashboard.create("acme", &"x".repeat(10_000)).await;
        assert_eq!(too_long.unwrap_err().code(), Code::ResourceExhausted);
        // Records of calls that were too large are counted first and stored later.
        guarded.server.terminate().await;
        let expected = ["dashboard Create RESOURCE_EXHAUSTED - - 1"];
        assert_eq!(records(&store, &[]), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_admin_cannot_have_its_bearer_secret_stored_recorded_or_logged() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut guarded = Guarded::start(&store).await;
    let secret = guarded.dashboard_secret.clone();
    let key_id = guarded.dashboard.create("acme", "a key").await.unwrap();
    let key_id = key_id.key.unwrap().key_id;
    let creates: [fn(&mut CreateRequest, String); 4] = [
        |new, secret| new.account_id = secret,
        |new, secret| new.name = format!("made by {secret}"),
        |new, secret| new.domain = Some(secret),
        |new, secret| new.request_id = Some(secret),
    ];
    for put in creates {
        let mut request = CreateRequest {
            account_id: "acme".into(),
            name: "a key".into(),
            ..Default::default()
        };
        put(&mut request, secret.clone());
        let refused = guarded.dashboard.create_with(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(!format!("{refused:?}").contains(&secret), "{refused}");
    }
    guarded.dashboard.list(&secret).await.unwrap_err();
    guarded.dashboard.revoke(&secret).await.unwrap_err();
    let of_a_secret = RevokeRequest {
        target: Some(Target::KeyId(key_id)),
        account_id: Some(secret.clone()),
    };
    guarded
        .dashboard
        .revoke_with(of_a_secret)
        .await
        .unwrap_err();
    guarded.sender.list(&secret).await.unwrap_err();

    let log = guarded.server.log();
    guarded.server.terminate().await;
    assert!(!log.contains(&secret[5..]), "{log}");
    let records = records(&store, &[]).join("\n");
    assert!(records.contains("INVALID_ARGUMENT") && !records.contains(&secret[5..]));
    let files = files_below(directory.path());
    assert!(contains(&files, b"a key") && !contains(&files, &secret.as_bytes()[5..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_calls_are_recorded_as_counts() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut guarded = Guarded::start(&store).await;
    for _ in 0..300 {
        guarded.unknown.create("acme", "a key").await.unwrap_err();
    }
    guarded.unknown.list("acme").await.unwrap_err();
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
async fn a_caller_that_is_refused_very_often_does_not_flood_the_store() {
    const CALLS: usize = 700;
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut guarded = Guarded::start(&store).await;
    let calls = (0..CALLS).map(async |_| guarded.sender.clone().create("acme", "no").await);
    for refused in join_all(calls).await {
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    // Each caller has its own allowance.
    guarded.dashboard.list("globex").await.unwrap_err();
    let dashboards = ["dashboard List PERMISSION_DENIED globex - 1"];
    assert_eq!(records(&store, &["--caller", "dashboard"]), dashboards);

    guarded.server.terminate().await;
    let of_sender = records(&store, &["--caller", "sender"]);
    assert!((100..110).contains(&of_sender.len()), "{}", of_sender.len());
    let calls = of_sender.iter().map(|record| {
        let calls = record.strip_prefix("sender Create PERMISSION_DENIED - - ");
        calls
            .expect("all records are alike")
            .parse::<usize>()
            .expect("a number")
    });
    assert_eq!(calls.sum::<usize>(), CALLS, "every call is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_record_a_list_fails_and_a_refusal_is_still_answered() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut guarded = Guarded::start(&store).await;
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    file.execute_batch("BEGIN IMMEDIATE")
        .expect("the lock blocks all writes");

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

    file.execute_batch("ROLLBACK")
        .expect("the lock is released");
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
async fn a_call_is_recorded_even_if_its_caller_hangs_up() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let guarded = Guarded::start(&store).await;
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("opened");
    file.execute_batch("BEGIN IMMEDIATE")
        .expect("the lock blocks all writes");
    // Both calls wait for their records.
    let hang_up = async |mut client: BearerClient| {
        let call = timeout(Duration::from_millis(500), client.list("acme"));
        call.await.expect_err("it is not answered");
    };
    tokio::join!(hang_up(guarded.sender), hang_up(guarded.dashboard));
    file.execute_batch("ROLLBACK")
        .expect("the lock is released");
    let expected = [
        "dashboard List OK acme - 1",
        "sender List PERMISSION_DENIED - - 1",
    ];
    eventually("both are recorded", async || {
        let mut records = records(&store, &[]);
        records.sort();
        records == expected
    })
    .await;
}
