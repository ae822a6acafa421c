//! Requests that cannot be read as calls of gRPC are the client's mistake, whatever method they call.

use crate::support::{
    clients::callers::{Bearer, answer},
    directory, eventually,
    hostile::frames::{
        DATA, END_HEADERS, END_STREAM, HEADERS, RawClient, frame, header_block, headers_of,
    },
    server::{
        Server,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
};
use futures::stream;
use keyservice::grpc::method_names;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_prost::ProstCodec;

const UNARY: [&str; 7] = [
    "tosend.keys.v1.KeyService/Authorize",
    "envoy.service.auth.v3.Authorization/Check",
    "tosend.keys.v1.KeyService/Create",
    "tosend.keys.v1.KeyService/List",
    "tosend.keys.v1.KeyService/Revoke",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
];
const STREAMING: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Bodies that are no message of any method, each with the status that it gets.
const BODIES: [(&str, &[u8], &str); 10] = [
    ("JSON", br#"{"token":"t"}"#, "INVALID_ARGUMENT"),
    ("a short prefix", &[0, 0, 0], "INVALID_ARGUMENT"),
    ("a prefix alone", &[0, 0, 0, 0, 9], "INVALID_ARGUMENT"),
    (
        "a short message",
        &[0, 0, 0, 0, 9, 10, 7],
        "INVALID_ARGUMENT",
    ),
    ("compressed", &[1, 0, 0, 0, 1, 0], "INVALID_ARGUMENT"),
    ("flag 2", &[2, 0, 0, 0, 0], "INVALID_ARGUMENT"),
    ("flag 255", &[255, 0, 0, 0, 0], "INVALID_ARGUMENT"),
    ("flag 255, and too large", &[255; 5], "INVALID_ARGUMENT"),
    ("too large", &[0, 255, 255, 255, 255], "RESOURCE_EXHAUSTED"),
    (
        "no protobuf",
        &[0, 0, 0, 0, 2, 255, 255],
        "INVALID_ARGUMENT",
    ),
];

/// What only a method that takes one message refuses.
const ONE_MESSAGE: [(&str, &[u8]); 3] = [
    ("no message", &[]),
    ("two messages", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("a message and a byte", &[0, 0, 0, 0, 0, 0]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_is_the_clients_mistake() {
    let calls = Calls::start().await;
    for method in UNARY.iter().chain(&STREAMING) {
        for (what, body, status) in BODIES {
            calls.end_with(method, what, &[], body, status).await;
        }
    }
    for method in UNARY {
        for (what, body) in ONE_MESSAGE {
            calls
                .end_with(method, what, &[], body, "INVALID_ARGUMENT")
                .await;
        }
    }
    let log = calls.0.log();
    assert!(log.contains("a request cannot be read: "), "{log}");
    assert!(!log.contains(r#"{\"token\""#), "it repeats the client");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_protobuf_is_named_in_plain_words_by_every_method() {
    let calls = Calls::start().await;
    let health = calls.0.logged_port("health_address").expect("a port");
    for method in method_names() {
        let ports = match method.starts_with("grpc.health.") {
            true => &[calls.0.port(), health][..],
            false => &[calls.0.port()],
        };
        for port in ports {
            let channel = channel(*port).await;
            let status = send_no_text(channel, method).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status}");
            let text = "the message is no valid protobuf message of its type: encode it by the \
                        service's proto, and see that every text is UTF-8";
            assert_eq!(status.message(), text, "{method}");
        }
    }
    assert_eq!(calls.0.log().matches("\"level\":\"ERROR\"").count(), 0);
}

/// Calls a method with a first field that has to be text and is not.
async fn send_no_text(channel: Channel, method: &str) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("connected");
    let message = Request::new(stream::iter([vec![255_u8]]));
    let path = format!("/{method}").parse().expect("a path");
    let codec = ProstCodec::<Vec<u8>, ()>::default();
    let answers = async {
        let answers = client.streaming(message, path, codec).await?;
        answers.into_inner().message().await
    };
    answers.await.expect_err("it is no text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_for_no_method_is_told_what_to_do() {
    let calls = Calls::start_with(&["--reflection=false"]).await;
    let health = calls.0.logged_port("health_address").expect("a port");
    let (unknown, off, health_alone) = (
        "no such method is served here: ",
        "the method is switched off here: ",
        "this port serves grpc.health.v1.Health alone: ",
    );
    for (port, method, told) in [
        (calls.0.port(), "/tosend.keys.v1.KeyService/Rename", unknown),
        (calls.0.port(), "/tosend.keys.v2.KeyService/Create", unknown),
        (calls.0.port(), "/grpc.health.v1.Health/List", unknown),
        (calls.0.port(), &format!("/{}", STREAMING[0]), off),
        (health, "/tosend.keys.v1.KeyService/Rename", health_alone),
        (health, "/tosend.keys.v1.KeyService/Create", health_alone),
        (health, &format!("/{}", STREAMING[1]), health_alone),
    ] {
        let answer = answer(channel(port).await, &Bearer::none(), method).await;
        let status = answer.expect_err("it is not served");
        assert_eq!(status.code(), Code::Unimplemented, "{method}: {status}");
        assert!(status.message().starts_with(told), "{method}: {status}");
    }
}

async fn channel(port: u16) -> Channel {
    let endpoint = Channel::from_shared(format!("http://127.0.0.1:{port}"));
    let connected = endpoint.expect("an address").connect().await;
    connected.expect("connected")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compression_that_is_not_supported_is_unimplemented() {
    let calls = Calls::start().await;
    for method in UNARY.iter().chain(&STREAMING) {
        for encoding in ["gzip", "snappy", "none"] {
            let headers = [("grpc-encoding", encoding)];
            let body = [1, 0, 0, 0, 1, 0];
            calls
                .end_with(method, encoding, &headers, &body, "UNIMPLEMENTED")
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_not_grpcs_are_the_clients_mistake() {
    let calls = Calls::start().await;
    let empty = [0, 0, 0, 0, 0];
    for method in UNARY.iter().chain(&STREAMING) {
        let path = format!("/{method}");
        for (http_method, content_type) in [
            ("GET", "application/grpc"),
            ("PUT", "application/grpc"),
            ("POST", "application/json"),
            ("POST", "application/grpc-web"),
        ] {
            let block = header_block(&[
                (":method", http_method),
                (":scheme", "http"),
                (":authority", "localhost"),
                (":path", &path),
                ("content-type", content_type),
            ]);
            let what = format!("{http_method} of {content_type}");
            calls
                .end(method, &what, &block, &empty, "INVALID_ARGUMENT")
                .await;
        }
    }
}

/// gRPC's implementation in C++ does the same. tonic and this service never fail a call for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_cannot_be_read_is_none() {
    let calls = Calls::start().await;
    for timeout in ["", "S", "-1S", "1 S", "123456789S", "soon"] {
        let headers = [("grpc-timeout", timeout)];
        let check = "grpc.health.v1.Health/Check";
        let empty = [0, 0, 0, 0, 0];
        calls.end_with(check, timeout, &headers, &empty, "OK").await;
    }
}

struct Calls(
    Server,
    #[expect(dead_code, reason = "it holds the store")] tempfile::TempDir,
);

impl Calls {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(more: &[&str]) -> Self {
        let directory = directory();
        let health = "--health-listen=127.0.0.1:0";
        let args = [METRICS, health, "--log=info,keyservice=debug"];
        let args = [&args, more].concat();
        let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
        Self(server, directory)
    }

    async fn end_with(
        &self,
        method: &str,
        what: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        status: &str,
    ) {
        let block = headers_of(&format!("/{method}"), headers);
        self.end(method, what, &block, body, status).await;
    }

    /// A call with these headers and this body counts as one with this status, and as no other.
    async fn end(&self, method: &str, what: &str, headers: &[u8], body: &[u8], status: &str) {
        let method = method.trim_start_matches("tosend.keys.v1.KeyService/");
        let before = Scrape::of(&self.0);
        let mut client = RawClient::connect_with_preface(self.0.port()).await;
        client.send(&frame(HEADERS, END_HEADERS, 1, headers)).await;
        client.send(&frame(DATA, END_STREAM, 1, body)).await;
        eventually(&format!("{method} with {what} is {status}"), async || {
            Scrape::of(&self.0).calls(method, status) == before.calls(method, status) + 1.0
        })
        .await;
        let after = Scrape::of(&self.0);
        for fault in ["INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"] {
            assert_eq!(after.calls(method, fault), 0.0, "{method} with {what}");
        }
    }
}
