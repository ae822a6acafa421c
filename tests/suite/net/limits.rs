//! Limits on what one client may use, so that enough is left for the others.

use super::{SOON, start};
use crate::support::{
    clients::health::Health,
    eventually,
    hostile::{
        frames::{
            DATA, END_HEADERS, GOAWAY, HEADERS, PING, PREFACE, RawClient, SETTINGS, frame,
            headers_of,
        },
        random_tokens::authorize,
    },
    server::{
        Server, command, error_reason,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
    tools::{shell, tool},
};
use futures::{StreamExt, stream};
use http::uri::PathAndQuery;
use keyservice::grpc::proto::{
    AuthorizeRequest, CreateRequest, key_service_client::KeyServiceClient,
};
use rusqlite::Connection;
use std::{
    process::Command,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, client::Grpc, metadata::AsciiMetadataKey, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

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

/// A call that brings these messages and does not end. Returns how it is answered.
async fn call_without_end(
    channel: &Channel,
    path: &'static str,
    messages: Vec<AuthorizeRequest>,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("it is connected");
    let messages = stream::iter(messages).chain(stream::pending());
    let codec = ProstCodec::<_, ()>::default();
    let path = PathAndQuery::from_static(path);
    let mut answer = grpc.streaming(Request::new(messages), path, codec).await?;
    while answer.get_mut().message().await?.is_some() {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_message_does_not_come_in_time_ends_and_says_why() {
    let (server, _directory) = start(&["--message-timeout", "300ms"]).await;
    let channel = server.channel().await;
    // One whole message is not enough: the service waits until the client has sent all.
    for messages in [vec![], vec![AuthorizeRequest::default()]] {
        for path in [
            "/tosend.keys.v1.KeyService/Authorize",
            "/tosend.keys.v1.KeyService/Revoke",
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
        ] {
            let started = Instant::now();
            let call = call_without_end(&channel, path, messages.clone());
            let ended = timeout(SOON, call).await.expect("it ends");
            let status = ended.expect_err("it has no message");
            assert!(started.elapsed() >= Duration::from_millis(300));
            assert_eq!(status.code(), Code::Cancelled, "{path}");
            for part in ["within 300ms", "--message-timeout"] {
                assert!(status.message().contains(part), "{status:?}");
            }
        }
    }
}

/// A message that stops halfway, under the server's limit and under the caller's own deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_message_counts_as_its_clients_fault() {
    let (server, _directory) = start(&["--message-timeout", "300ms", METRICS]).await;
    let message = authorize("no token".to_owned());
    let (most, _) = message.split_at(message.len() - 1);
    for method in ["Authorize", "Create", "List", "Revoke"] {
        let path = format!("/tosend.keys.v1.KeyService/{method}");
        for (headers, cancelled) in [(&[][..], 1.0), (&[("grpc-timeout", "200m")], 2.0)] {
            let headers = headers_of(&path, headers);
            let mut raw = RawClient::connect_with_preface(server.port()).await;
            raw.send(&frame(HEADERS, END_HEADERS, 1, &headers)).await;
            raw.send(&frame(DATA, 0, 1, most)).await;
            eventually("the call ends", async || {
                let scrape = Scrape::of(&server);
                assert_eq!(scrape.calls(method, "DEADLINE_EXCEEDED"), 0.0, "{method}");
                scrape.calls(method, "CANCELLED") == cancelled
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_once_its_first_message_has_come() {
    const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let message_timeout = Duration::from_millis(300);
    let (server, _directory) = start(&["--message-timeout", "300ms"]).await;
    let channel = server.channel().await;
    let mut watch = Health::new(channel.clone()).watch("").await;
    watch.message().await.expect("a status");

    let (requests, receiver) = mpsc::channel(1);
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let list_services = || ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    requests.send(list_services()).await.expect("it is sent");
    let answers = reflection.server_reflection_info(ReceiverStream::new(receiver));
    let mut answers = answers.await.expect("a stream").into_inner();
    let answer = answers.message().await.expect("an answer");
    assert!(answer.is_some());

    let without_message = call_without_end(&channel, REFLECTION, vec![]);
    let ended = timeout(SOON, without_message).await;
    let status = ended.expect("it ends").expect_err("no message came");
    assert_eq!(status.code(), Code::Cancelled, "{status}");
    sleep(2 * message_timeout).await;
    requests.send(list_services()).await.expect("it is sent");
    let answer = answers.message().await.expect("an answer");
    assert!(answer.is_some(), "the stream goes on");
    let next = timeout(Duration::from_millis(100), watch.message()).await;
    assert!(next.is_err(), "the watch goes on: {next:?}");
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
        labels: (10..26).map(longest_label).collect(),
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

/// A label with a number, and a name and a value as long as they may be.
fn longest_label(number: usize) -> (String, String) {
    let prefix = format!("{}x", "abc.".repeat(63));
    let name = format!("{prefix}/{number}{}", "n".repeat(61));
    (name, "v".repeat(63))
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

/// Each takes far more memory than HTTP/2 counts for it.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_more_fields_than_any_client_needs_is_refused() {
    let (server, _directory) = start(&[]).await;
    let mut client = KeyServiceClient::new(server.channel().await);
    let with_fields = |count| {
        let mut request = authorize_with_metadata(1);
        for field in 0..count {
            let name: AsciiMetadataKey = format!("a{field}").parse().expect("ASCII");
            let value = "1".parse().expect("ASCII");
            request.metadata_mut().insert(name, value);
        }
        request
    };
    // A client sends some fields of its own.
    client.authorize(with_fields(50)).await.expect("few");
    for count in [65, 150] {
        let refused = client.authorize(with_fields(count)).await;
        let refused = refused.expect_err("many");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{count}");
        assert!(refused.message().contains("the limit is 64"), "{refused:?}");
    }
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
    // The client has the answer a moment before the server knows that it has.
    eventually("the slot is free again", async || {
        client.revoke(&key_id).await.is_ok()
    })
    .await;
}
