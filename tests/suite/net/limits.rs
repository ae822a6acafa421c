//! Limits on what one client may use, so that enough is left for the others.

use super::{SOON, start};
use crate::support::{
    clients::health::Health,
    eventually,
    hostile::frames::{GOAWAY, PING, PREFACE, RawClient, SETTINGS},
    server::{
        Server, command, error_reason,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
    tools::{shell, tool},
};
use keyservice::grpc::proto::{
    AuthorizeRequest, CreateRequest, key_service_client::KeyServiceClient,
};
use rusqlite::Connection;
use std::{
    process::Command,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_no_complete_preface_is_closed() {
    let (server, _directory) = start(&["--handshake-timeout", "300ms"]).await;
    for beginning in [&b""[..], &PREFACE[..1], &PREFACE[..23]] {
        let started = Instant::now();
        let mut raw = RawClient::connect(server.port()).await;
        raw.send(beginning).await;
        assert!(raw.is_closed_within(SOON).await, "{beginning:?}");
        assert!(started.elapsed() >= Duration::from_millis(300));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_raises_its_open_file_limit_to_the_hard_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let serve = command(&sqlite_in(&directory));
    let mut limited = Command::new("bash");
    limited
        .args(["-c", "ulimit -Sn 64; exec \"$0\" \"$@\""])
        .arg(serve.get_program())
        .args(serve.get_args());
    let server = Server::start_command_listening(&mut limited).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid()));
    let limits = limits.expect("limits");
    let open_files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = open_files.expect("a line").split_whitespace().collect();
    let (soft, hard) = (words[3], words[4]);
    assert_eq!(soft, hard, "{limits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_http_2_is_closed_at_once() {
    let (server, _directory) = start(&["--handshake-timeout", "1h"]).await;
    for garbage in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0; 24]] {
        let mut raw = RawClient::connect(server.port()).await;
        raw.send(garbage).await;
        assert!(raw.is_closed_within(SOON).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_refused_and_the_connection_stays_open() {
    let (server, _directory) = start(&["--max-message-size", "2000"]).await;
    let mut client = server.client().await;
    let refused = client.authorize(&"x".repeat(3000), "example.com").await;
    let refused = refused.expect_err("too large");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    for part in ["the limit is 2000", "--max-message-size"] {
        assert!(refused.message().contains(part), "{refused:?}");
    }
    let refused = client.create("acme", &"x".repeat(3000)).await;
    assert_eq!(
        refused.expect_err("too large").code(),
        Code::ResourceExhausted
    );
    client.create("acme", "small").await.expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_limit_allows_a_create_with_every_field_at_its_longest() {
    let (server, _directory) = start(&[]).await;
    let label = "b".repeat(59);
    let longest = CreateRequest {
        account_id: "a".repeat(128),
        name: "\u{10348}".repeat(100),
        domain: Some([&*label; 4].join(".")),
        expire_time: Some(prost_types::Timestamp {
            seconds: 253_402_300_799,
            nanos: 999_999_000,
        }),
        request_id: Some("r".repeat(128)),
    };
    let mut client = server.client().await;
    let created = client.create_with(longest).await.expect("created");
    assert!(
        client
            .authorize(&created.token, &[&*label; 4].join("."))
            .await
            .is_ok()
    );
}

fn authorize_with_metadata(length: usize) -> Request<AuthorizeRequest> {
    let mut request = Request::new(AuthorizeRequest {
        domain: "example.com".into(),
        ..Default::default()
    });
    let value = "x".repeat(length).parse().expect("ASCII");
    request.metadata_mut().insert("x-large", value);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_over_the_limit_is_refused_and_the_connection_stays_open() {
    let (server, _directory) = start(&["--max-header-size", "2048", METRICS]).await;
    let channel = server.channel().await;
    let mut watch = Health::new(channel.clone()).watch("").await;
    watch.message().await.expect("a status");
    let mut client = KeyServiceClient::new(channel);
    let small = authorize_with_metadata(1000);
    client.authorize(small).await.expect("small");
    for length in [2048, 4000, 50_000] {
        let refused = client.authorize(authorize_with_metadata(length)).await;
        let refused = refused.expect_err("large");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{length}");
        for part in ["the limit is 2048", "--max-header-size"] {
            assert!(refused.message().contains(part), "{refused:?}");
        }
    }
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.calls("Authorize", "RESOURCE_EXHAUSTED"), 3.0);
    let next = timeout(Duration::from_millis(100), watch.message()).await;
    assert!(next.is_err(), "its watch ended: {next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_shows_the_error_for_metadata_over_the_limit() {
    let (server, _directory) = start(&[]).await;
    let port = server.port();
    let list = |length| {
        let header = format!("x-large: {}", "x".repeat(length));
        shell(&format!(
            "grpcurl -plaintext -rpc-header '{header}' -d '{{\"account_id\": \"acme\"}}' \
             localhost:{port} tosend.keys.v1.KeyService/List"
        ))
    };
    list(7000).expect("a list");
    for length in [8192, 16_000, 60_000] {
        let refused = list(length).expect_err("too large");
        assert!(refused.contains("Code: ResourceExhausted"), "{refused}");
        assert!(refused.contains("--max-header-size"), "{refused}");
    }
}

/// h2 refuses such metadata without a gRPC status. From 256 KiB on it closes the connection.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_far_over_the_limit_does_not_affect_other_clients() {
    let (server, _directory) = start(&[]).await;
    let mut client = server.client().await;
    let mut hostile = server.client().await;
    for length in [70_000, 200_000, 1_000_000] {
        let refused = hostile.0.authorize(authorize_with_metadata(length)).await;
        refused.expect_err("far too large");
        client.list("acme").await.expect("its connection is open");
        let mut again = server.client().await;
        again
            .list("acme")
            .await
            .expect("new connections are accepted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_at_most_max_streams_calls_in_flight() {
    let (server, _directory) = start(&["--max-streams", "2"]).await;
    let mut raw = RawClient::connect_with_preface(server.port()).await;
    let settings = raw.read_frame().await.expect("a frame");
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    assert_eq!(settings.setting(MAX_CONCURRENT_STREAMS), Some(2));

    let mut health = HealthClient::new(server.channel().await);
    let mut watches = Vec::new();
    for _ in 0..2 {
        let watch = health.watch(HealthCheckRequest::default()).await;
        let mut watch = watch.expect("a watch").into_inner();
        watch.message().await.expect("a status");
        watches.push(watch);
    }
    let check = |mut health: HealthClient<_>| async move {
        let check = health.check(HealthCheckRequest::default());
        timeout(Duration::from_millis(500), check).await
    };
    assert!(check(health.clone()).await.is_err(), "it waits for a slot");
    watches.pop();
    eventually("a slot becomes free", async || {
        check(health.clone()).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_answer_pings_is_closed() {
    let args = [
        "--keepalive-interval",
        "200ms",
        "--keepalive-timeout",
        "200ms",
    ];
    let (server, _directory) = start(&args).await;
    let mut raw = RawClient::connect_with_preface(server.port()).await;
    let kinds = raw.read_kinds_until_closed(SOON).await;
    assert!(kinds.contains(&PING), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_at_its_maximum_age_gets_goaway_and_is_closed_after_its_grace() {
    let args = [
        "--max-connection-age",
        "500ms",
        "--max-connection-age-grace",
        "500ms",
    ];
    let (server, _directory) = start(&args).await;
    let started = Instant::now();
    let mut raw = RawClient::connect_with_preface(server.port()).await;
    assert_eq!(raw.read_frame().await.expect("a frame").kind, SETTINGS);
    while raw.read_frame().await.expect("a frame").kind != GOAWAY {}
    assert!(started.elapsed() >= Duration::from_millis(500));
    raw.read_kinds_until_closed(SOON).await;
    let age = started.elapsed();
    assert!(
        age >= Duration::from_millis(1000),
        "it was closed after {age:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_when_connections_reach_their_maximum_age() {
    let args = [
        "--max-connection-age",
        "200ms",
        "--max-connection-age-grace",
        "10s",
    ];
    let (server, _directory) = start(&args).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/steady.py");
    let (python, port) = (tool("python3"), server.port());
    let ran = shell(&format!("{} {script} localhost:{port} 2", python.display()));
    println!("{} calls", ran.expect("no call fails").trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_calls_over_the_limit_are_refused_at_once_and_authorize_still_answers() {
    let (server, directory) = start(&["--max-admin-calls", "1"]).await;
    let mut client = server.client().await;
    let created = client.create("acme", "a key").await.expect("created");

    let store = Connection::open(directory.path().join("keys.db")).expect("opened");
    store
        .execute_batch("BEGIN IMMEDIATE")
        .expect("no write can go on");
    let mut writer = client.clone();
    // A List below may hold the only slot at the moment, so the writer tries again.
    let waiting = tokio::spawn(async move {
        loop {
            let created = writer.create("acme", "it waits").await;
            if !matches!(&created, Err(refused) if refused.code() == Code::ResourceExhausted) {
                return created;
            }
        }
    });
    eventually("the slot is taken", async || {
        let refused = client.list("acme").await.err();
        refused.is_some_and(|refused| {
            let reason = error_reason(&refused);
            refused.code() == Code::ResourceExhausted
                && reason.as_deref() == Some("TOO_MANY_ADMIN_CALLS")
        })
    })
    .await;
    let key_id = created.key.expect("a key").key_id;
    let refused = client.revoke(&key_id).await.expect_err("refused");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(client.is_granted(&created.token).await);

    store.execute_batch("ROLLBACK").expect("writes go on");
    waiting.await.expect("no panic").expect("created");
    client.revoke(&key_id).await.expect("revoked");
}
