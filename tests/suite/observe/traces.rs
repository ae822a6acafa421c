//! Traces, as a collector receives them.

use crate::support::{
    clients::callers::Credential,
    directory, eventually,
    mount::Mount,
    postgres::free_port,
    server::{self, Server, assert_refused, collector::Collector, sqlite_in},
};
use data_encoding::HEXLOWER;
use keyservice::grpc::proto::AuthorizeRequest;
use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    trace::v1::{
        Span,
        span::SpanKind,
        status::StatusCode::{self, Error, Unset},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tonic::Request;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const AUTHORIZE: &str = "tosend.keys.v1.KeyService/Authorize";

#[tokio::test(flavor = "multi_thread")]
async fn a_call_continues_the_trace_of_its_caller() {
    let mut traced = Traced::start().await;
    traced.authorize(&format!("00-{TRACE}-{PARENT}-01")).await;
    let [span] = &traced.spans().await[..] else {
        panic!("not one span");
    };
    assert_eq!(span.name, AUTHORIZE);
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(HEXLOWER.encode(&span.trace_id), TRACE);
    assert_eq!(HEXLOWER.encode(&span.parent_span_id), PARENT);
    assert_eq!(status(span), Unset);
    let expected = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", AUTHORIZE),
        ("rpc.response.status_code", "OK"),
    ];
    assert_eq!(attributes(span), BTreeMap::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_trace_starts_a_new_one() {
    let mut traced = Traced::start().await;
    for traceparent in ["", "nonsense"] {
        traced.authorize(traceparent).await;
    }
    let spans = traced.spans().await;
    assert_eq!(spans.len(), 2);
    assert_ne!(spans[0].trace_id, spans[1].trace_id);
    assert!(spans.iter().all(|span| span.parent_span_id.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsampled_call_is_not_exported() {
    let mut traced = Traced::start().await;
    traced.authorize(&format!("00-{TRACE}-{PARENT}-00")).await;
    assert!(traced.spans().await.is_empty());
}

/// It could join its calls to others' traces, have each of them exported, or put a token there.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_caller_chooses_a_trace_or_whether_it_is_sampled() {
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let unlisted = Credential::new("unlisted", &["--role", "admin"]);
    let mut traced = Traced::start_guarded(&sender.line, &[]).await;
    for secret in ["", &unlisted.secret, "tsop_garbage"] {
        for sampled in ["00", "01"] {
            let traceparent = format!("00-{TRACE}-{PARENT}-{sampled}");
            traced
                .try_authorize(secret, &[("traceparent", &traceparent)])
                .await;
        }
    }
    let channel = traced.server.channel().await;
    let mut health = HealthClient::new(channel);
    let mut check = Request::new(HealthCheckRequest::default());
    let traceparent = format!("00-{TRACE}-{PARENT}-01").parse().expect("ASCII");
    check.metadata_mut().insert("traceparent", traceparent);
    health.check(check).await.expect("healthy");
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    traced
        .try_authorize(&sender.secret, &[("traceparent", &traceparent)])
        .await;

    let spans = traced.spans().await;
    let (of_sender, of_others) = spans.split_last().expect("seven");
    assert_eq!(of_others.len(), 6);
    let health = traced.collector.spans();
    for span in health
        .iter()
        .filter(|span| span.span_id != of_sender.span_id)
    {
        assert_ne!(HEXLOWER.encode(&span.trace_id), TRACE, "{span:?}");
        assert!(span.parent_span_id.is_empty());
    }
    assert_eq!(HEXLOWER.encode(&of_sender.trace_id), TRACE);
}

/// The exporter takes a bounded number of spans.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_nobody_leave_room_for_the_spans_of_callers() {
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let env = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_SCHEDULE_DELAY", "60000"),
    ];
    let mut traced = Traced::start_guarded(&sender.line, &env).await;
    let mut stranger = traced.server.client().await;
    for _ in 0..1000 {
        stranger
            .authorize("x", "example.com")
            .await
            .expect_err("refused");
    }
    for _ in 0..10 {
        traced.try_authorize(&sender.secret, &[]).await;
    }
    let spans = traced.spans().await;
    let refused = |span: &&Span| attributes(span)["rpc.response.status_code"] == "UNAUTHENTICATED";
    let of_strangers = spans.iter().filter(refused).count();
    assert!((1..=40).contains(&of_strangers), "{of_strangers}");
    assert_eq!(spans.len() - of_strangers, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_cuts_what_a_collector_says() {
    let collector = Collector::saying(&"long ".repeat(100_000)).await;
    let directory = directory();
    let env = [collector.env(), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let server = Server::start_with(&sqlite_in(&directory), &[], &env).await;
    server.client().await.create_key().await;
    eventually("it is logged", async || server.log().contains("long long")).await;
    let log = server.log();
    let said = log.lines().filter(|line| line.contains("long long"));
    for line in said {
        assert!(line.len() < 10_000, "{}", line.len());
        let fields: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(fields["level"], "WARN");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_sampler_decides_about_calls_of_nobody() {
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let sampled = [("traceparent", traceparent.as_str())];
    for (sampler, expected) in [("parentbased_always_off", 1), ("always_off", 0)] {
        let env = [("OTEL_TRACES_SAMPLER", sampler)];
        let mut traced = Traced::start_guarded(&sender.line, &env).await;
        traced.try_authorize("", &sampled).await;
        traced.try_authorize(&sender.secret, &sampled).await;
        assert_eq!(traced.spans().await.len(), expected, "{sampler}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_client_is_exported_whoever_it_is() {
    const TOKEN: &str = "tsend_0123456789abcdefghijklmnopqrstuvwxyz0123456789abc";
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let mut traced = Traced::start_guarded(&sender.line, &[]).await;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let (tracestate, long) = (format!("x={TOKEN}"), "x".repeat(60_000));
    for secret in ["", &sender.secret] {
        let headers = [
            ("traceparent", traceparent.as_str()),
            ("tracestate", &tracestate),
            ("baggage", &tracestate),
            ("user-agent", TOKEN),
        ];
        traced.try_authorize(secret, &headers).await;
        let later_version = format!("01-{TRACE}-{PARENT}-01-{TOKEN}");
        traced
            .try_authorize(secret, &[("traceparent", &later_version)])
            .await;
        let oversized = [("traceparent", traceparent.as_str()), ("tracestate", &long)];
        traced.try_authorize(secret, &oversized).await;
    }
    let spans = traced.spans().await;
    assert_eq!(spans.len(), 6);
    assert!(spans.iter().all(|span| span.trace_state.is_empty()));
    let bytes = traced.collector.bytes();
    let exported = String::from_utf8_lossy(&bytes);
    assert!(
        !exported.contains("tsend_") && !exported.contains("tsop_"),
        "{exported}"
    );
}

/// The specification restarts the trace then, because it cannot know which of the two counts.
#[tokio::test(flavor = "multi_thread")]
async fn two_trace_parents_are_none() {
    let mut traced = Traced::start().await;
    let (first, second) = (
        format!("00-{TRACE}-{PARENT}-01"),
        format!("00-{TRACE}-{PARENT}-00"),
    );
    traced
        .try_authorize("", &[("traceparent", &first), ("traceparent", &second)])
        .await;
    let [span] = &traced.spans().await[..] else {
        panic!("not one span");
    };
    assert_ne!(HEXLOWER.encode(&span.trace_id), TRACE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_is_an_error_when_the_server_failed_and_not_when_the_caller_did() {
    let mut traced = Traced::start().await;
    let mut client = traced.server.client().await;
    client
        .create("", "no account")
        .await
        .expect_err("bad input");
    let unknown = "key_00000000000000000000000000";
    client.revoke(unknown).await.expect_err("no such key");
    traced.break_store();
    client.create("acme", "broken").await.expect_err("no table");
    let spans = traced.spans().await;
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let attributes = attributes(span);
            (
                status(span),
                attributes["rpc.response.status_code"],
                attributes.get("error.type").copied(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Unset, "INVALID_ARGUMENT", None),
            (Unset, "NOT_FOUND", None),
            (Error, "INTERNAL", Some("INTERNAL")),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_span_of_an_unknown_method_does_not_name_it() {
    let mut traced = Traced::start().await;
    let path = "/tosend.keys.v1.KeyService/Destroy";
    let answer = traced
        .server
        .call(path, Request::new(AuthorizeRequest::default()))
        .await;
    answer.expect_err("no such method");
    let [span] = &traced.spans().await[..] else {
        panic!("not one span");
    };
    assert_eq!(span.name, "grpc");
    assert_eq!(status(span), Error);
    let expected = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "_OTHER"),
        ("rpc.response.status_code", "UNIMPLEMENTED"),
        ("error.type", "UNIMPLEMENTED"),
    ];
    assert_eq!(attributes(span), BTreeMap::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_name_of_spans_is_keyservice_unless_the_environment_sets_it() {
    for (env, name) in [
        (("", ""), "keyservice"),
        (("OTEL_SERVICE_NAME", "keys-eu"), "keys-eu"),
        (
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=keys-us"),
            "keys-us",
        ),
    ] {
        let mut traced = Traced::start_with(&[env]).await;
        traced.authorize("").await;
        traced.spans().await;
        assert_eq!(
            traced.collector.service_names(),
            BTreeSet::from([name.to_owned()])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_may_have_a_password_and_a_lines_end() {
    let collector = Collector::start().await;
    let (name, endpoint) = collector.env();
    let endpoint = format!(" {}\n", endpoint.replace("://", "://kate:hunter2@"));
    let mut traced =
        Traced::start_with(&[(name, &endpoint), ("OTEL_TRACES_SAMPLER", "always_on")]).await;
    traced.collector = collector;
    traced.authorize("").await;
    assert_eq!(traced.spans().await.len(), 1);
    assert!(!traced.server.log().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_without_an_endpoint_or_when_traces_are_turned_off() {
    for env in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let mut traced = Traced::start_with(&[env]).await;
        traced.authorize(&format!("00-{TRACE}-{PARENT}-01")).await;
        assert!(traced.spans().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_or_silent_collector_delays_neither_calls_nor_the_shutdown() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    for endpoint in [address, format!("127.0.0.1:{}", free_port())] {
        let directory = directory();
        let mut server = start_with_failing_collector(&endpoint, &directory).await;
        let asked = Instant::now();
        server.signal("TERM");
        assert_eq!(server.wait_for_exit().await.code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait_for_the_last_spans() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let directory = directory();
    let mut server = start_with_failing_collector(&address, &directory).await;
    server.signal("TERM");
    eventually("the server has drained", async || {
        server.log().contains("\"stopped\"")
    })
    .await;
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_exporter_setting_is_refused_with_advice() {
    for (variable, value, advice) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "give grpc"),
        (ENDPOINT, "no endpoint", "http://localhost:4317"),
        (ENDPOINT, "ftp://kate:hunter2@h", "http://localhost:4317"),
        (ENDPOINT, "http://no host", "http://localhost:4317"),
    ] {
        let mut command = server::command("sqlite:/never/opened");
        command.env(ENDPOINT, "http://127.0.0.1:4317");
        assert_refused(command.env(variable, value), &[advice]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_reports_a_collector_that_accepts_no_spans() {
    let directory = directory();
    let server =
        start_with_failing_collector(&format!("127.0.0.1:{}", free_port()), &directory).await;
    eventually("the failure is logged", async || {
        server.log().contains("BatchSpanProcessor.ExportError")
    })
    .await;
}

/// Starts a server whose collector accepts no spans, and asserts that many calls are still answered.
async fn start_with_failing_collector(endpoint: &str, directory: &TempDir) -> Server {
    let endpoint = format!("http://{endpoint}");
    let env = [
        (ENDPOINT, endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
    ];
    let server = Server::start_with(&sqlite_in(directory), &[], &env).await;
    let mut client = server.client().await;
    let token = client
        .create("acme", "traced")
        .await
        .expect("created")
        .token;
    for _ in 0..1000 {
        assert!(client.is_granted(&token).await);
    }
    server
}

/// A server that exports to a collector.
struct Traced {
    server: Server,
    collector: Collector,
    directory: TempDir,
    _callers: Option<Mount>,
}

impl Traced {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(env: &[(&str, &str)]) -> Self {
        let (directory, collector) = (directory(), Collector::start().await);
        let env = [&[collector.env()], env].concat();
        Self {
            server: Server::start_with(&sqlite_in(&directory), &[], &env).await,
            collector,
            directory,
            _callers: None,
        }
    }

    /// Only this line's caller may call.
    async fn start_guarded(line: &str, env: &[(&str, &str)]) -> Self {
        let (directory, collector) = (directory(), Collector::start().await);
        let env = [&[collector.env()], env].concat();
        let callers = Mount::new(&[("callers", line)]);
        let args = ["--credentials", &callers.arg("callers")];
        Self {
            server: Server::start_with(&sqlite_in(&directory), &args, &env).await,
            collector,
            directory,
            _callers: Some(callers),
        }
    }

    /// Calls Authorize with these headers, whatever the answer.
    async fn try_authorize(&self, secret: &str, headers: &[(&'static str, &str)]) {
        let mut request = Request::new(AuthorizeRequest::default());
        let metadata = request.metadata_mut();
        if !secret.is_empty() {
            let bearer = format!("Bearer {secret}").parse().expect("ASCII");
            metadata.insert("authorization", bearer);
        }
        for (name, value) in headers {
            metadata.append(*name, value.parse().expect("ASCII"));
        }
        let _ = self.server.client().await.0.authorize(request).await;
    }

    async fn authorize(&self, traceparent: &str) {
        let mut request = Request::new(AuthorizeRequest {
            token: "tsend_unknown".into(),
            domain: "example.com".into(),
        });
        let header = traceparent.parse().expect("a header");
        request.metadata_mut().insert("traceparent", header);
        let answer = self.server.client().await.0.authorize(request).await;
        answer.expect("a decision");
    }

    /// Makes every SQL statement fail from now on.
    fn break_store(&self) {
        let path = self.directory.path().join("keys.db");
        let file = rusqlite::Connection::open(path).expect("it opens");
        let rename = "ALTER TABLE keys RENAME TO gone";
        file.execute(rename, []).expect("it is renamed");
    }

    /// Stops the server and returns all spans except those of health checks.
    async fn spans(&mut self) -> Vec<Span> {
        self.server.signal("TERM");
        assert_eq!(self.server.wait_for_exit().await.code(), Some(0));
        let mut spans = self.collector.spans();
        spans.retain(|span| span.name != "grpc.health.v1.Health/Check");
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

fn status(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(Unset, |status| status.code())
}

fn attributes(span: &Span) -> BTreeMap<&str, &str> {
    let attributes = span.attributes.iter().map(|attribute| {
        let value = attribute.value.as_ref();
        match value.and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => (attribute.key.as_str(), text.as_str()),
            other => panic!("{} is no text: {other:?}", attribute.key),
        }
    });
    attributes.collect()
}
