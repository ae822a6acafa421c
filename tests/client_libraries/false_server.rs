//! A server that answers as none should. A library reports `allowed` after one thing alone: a single message that
//! grants, with the status OK behind it.

use crate::{
    MACHINE, plaintext,
    support::{
        clients::driver::{Driver, LIBRARIES},
        eventually,
        hostile::frames::{
            ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING,
            PREFACE, RST_STREAM, SETTINGS, frame, header_block, no_settings,
        },
    },
};
use prost::Message;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tosend_keyservice::proto::{
    AuthorizeResponse, Denial, Grant, Scope, authorize_response::Decision, scope::Kind,
};

const TOKEN: &str = "tsend_0TheTokenOfThisTest";
const SECRET: &str = "tsop_0TheSecretOfThisTest";
const DOMAIN: &str = "mail.example.com";

/// The frames of an answer: kind, flags, and payload.
type Script = Vec<(u8, u8, Vec<u8>)>;

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_but_one_grant_with_the_status_ok_is_allowed() {
    let _shared = MACHINE.read().await;
    for library in LIBRARIES {
        deceive(library).await;
    }
}

async fn deceive(library: &'static str) {
    let server = FalseServer::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, SECRET).expect("a file");
    let mut options = plaintext(&[server.port]);
    options["secret_file"] = json!(secret);
    let driver = Driver::open(library, &options).await;
    for (what, call, expected, script) in scripts() {
        // It has recovered from what was before.
        server.play(grant());
        eventually("an honest answer counts", async || {
            driver.authorize(TOKEN, DOMAIN).await["allowed"].is_object()
        })
        .await;

        server.play(script);
        let fields = json!({"token": TOKEN, "domain": DOMAIN, "key_id": "key_1"});
        let end = driver.call(call, &fields).await;
        assert!(
            !end[expected].is_null(),
            "{library}, {what}: {end}, not {expected}"
        );
        assert_is_tame(&end, &format!("{library}, {what}"));
    }
    assert!(driver.close().await.success(), "{library}");
}

/// What the server says, to which call, and how that ends.
fn scripts() -> Vec<(&'static str, &'static str, &'static str, Script)> {
    let granted = message(&grant_of(domain_scope(), true));
    let denied = message(&denial_of(false));
    let authorize = |what, end, script| (what, "authorize", end, script);
    let unavailable = |what, script| authorize(what, "unavailable", script);
    let revoke = |what, details: &[u8]| {
        let text = "no such key";
        (what, "revoke", "refused", failure("5", text, details))
    };
    vec![
        authorize("a grant", "allowed", grant()),
        authorize("a denial", "denied", whole(&[&denied])),
        unavailable("no message", whole(&[])),
        unavailable("a denial, then a grant", whole(&[&denied, &granted])),
        unavailable("a grant, then a denial", whole(&[&granted, &denied])),
        unavailable("two grants", whole(&[&granted, &granted])),
        unavailable("half a grant", whole(&[&granted[..9]])),
        unavailable("no status", vec![head(&[]), data(END_STREAM, &granted)]),
        unavailable("a reset", vec![head(&[]), data(0, &granted), reset(0)]),
        unavailable(
            "a status before the grant",
            vec![head(&[("grpc-status", "0")]), data(0, &granted), reset(8)],
        ),
        unavailable(
            "a grant with another status",
            vec![
                head(&[]),
                data(0, &granted),
                trailers(&[("grpc-status", "14")]),
            ],
        ),
        unavailable(
            "a grant with a status that is none",
            vec![
                head(&[]),
                data(0, &granted),
                trailers(&[("grpc-status", "x")]),
            ],
        ),
        unavailable(
            "a grant that is not granted",
            whole(&[&message(&grant_of(domain_scope(), false))]),
        ),
        unavailable(
            "a denial that is granted",
            whole(&[&message(&denial_of(true))]),
        ),
        unavailable("granted without a grant", whole(&[&message(&[0x18, 1])])),
        unavailable("no scope", whole(&[&message(&grant_of(None, true))])),
        unavailable(
            "a scope of no kind",
            whole(&[&message(&grant_of(Some(Scope { kind: None }), true))]),
        ),
        unavailable("an error that repeats all", failure("13", &echo(), &[])),
        authorize(
            "misuse that repeats all",
            "misused",
            failure("3", &echo(), &[]),
        ),
        unavailable("unreadable details", failure("14", "x", &[0xff; 9])),
        unavailable(
            "an unreadable detail",
            failure("14", "x", &details(14, &[0xff; 9])),
        ),
        unavailable("a page that repeats all", page()),
        revoke("unreadable details of a refusal", &[0xff; 9]),
        revoke("an unreadable detail of a refusal", &details(5, &[0xff; 9])),
        revoke("a reason of two lines", &details(5, &reason(&echo()))),
        unavailable("the end of each connection", vec![(GOAWAY, 0, vec![0; 8])]),
        unavailable(
            "headers without end",
            vec![(HEADERS, 0, header_block(&HEAD))],
        ),
    ]
}

/// One line, printable, not endless, and without a secret.
fn assert_is_tame(end: &Value, what: &str) {
    let text = match end {
        Value::String(text) => text,
        Value::Object(fields) => return fields.values().for_each(|it| assert_is_tame(it, what)),
        _ => return,
    };
    let is_tame = |letter: char| !letter.is_control() && letter != '\u{202e}';
    assert!(text.chars().all(is_tame), "{what}: {text:?}");
    assert!(text.len() < 4000, "{what}: {} bytes", text.len());
    for secret in [TOKEN, SECRET] {
        assert!(!text.contains(&secret[8..]), "{what}: {text}");
    }
}

const HEAD: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

fn grant() -> Script {
    whole(&[&message(&grant_of(domain_scope(), true))])
}

/// These messages, and the status OK.
fn whole(messages: &[&[u8]]) -> Script {
    let status = trailers(&[("grpc-status", "0")]);
    vec![head(&[]), data(0, &messages.concat()), status]
}

fn failure(code: &str, text: &str, details: &[u8]) -> Script {
    let text: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let details = data_encoding::BASE64_NOPAD.encode(details);
    let mut fields = vec![("grpc-status", code), ("grpc-message", &*text)];
    if !details.is_empty() {
        fields.push(("grpc-status-details-bin", &*details));
    }
    vec![head(&[]), trailers(&fields)]
}

/// What a proxy may show that does not like a request.
fn page() -> Script {
    let head = header_block(&[(":status", "400"), ("content-type", "text/plain")]);
    vec![
        (HEADERS, END_HEADERS, head),
        data(END_STREAM, format!("Bad Request\n{}", echo()).as_bytes()),
    ]
}

fn echo() -> String {
    let end = "x".repeat(1500);
    format!("no:\r\n\u{1b}[31m\u{9b}1m\u{202e}\u{0}Authorization: Bearer {SECRET}\n{TOKEN} {end}")
}

fn head(more: &[(&str, &str)]) -> (u8, u8, Vec<u8>) {
    (HEADERS, END_HEADERS, header_block(&[&HEAD, more].concat()))
}

fn trailers(fields: &[(&str, &str)]) -> (u8, u8, Vec<u8>) {
    (HEADERS, END_HEADERS | END_STREAM, header_block(fields))
}

fn data(flags: u8, bytes: &[u8]) -> (u8, u8, Vec<u8>) {
    (DATA, flags, bytes.to_vec())
}

fn reset(code: u32) -> (u8, u8, Vec<u8>) {
    (RST_STREAM, 0, code.to_be_bytes().to_vec())
}

/// As gRPC frames a message.
fn message(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("it is short");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

fn grant_of(scope: Option<Scope>, granted: bool) -> Vec<u8> {
    let (key_id, account_id) = ("key_1".to_owned(), "acme".to_owned());
    let grant = Grant {
        key_id,
        account_id,
        scope,
    };
    let decision = Some(Decision::Grant(grant));
    AuthorizeResponse { decision, granted }.encode_to_vec()
}

fn domain_scope() -> Option<Scope> {
    let kind = Some(Kind::Domain(DOMAIN.to_owned()));
    Some(Scope { kind })
}

fn denial_of(granted: bool) -> Vec<u8> {
    let reason = 3;
    let denial = Denial {
        reason,
        ..Denial::default()
    };
    let decision = Some(Decision::Denial(denial));
    AuthorizeResponse { decision, granted }.encode_to_vec()
}

/// A `google.rpc.Status` with this `google.rpc.ErrorInfo`.
fn details(code: i32, info: &[u8]) -> Vec<u8> {
    let details = vec![prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
        value: info.to_vec(),
    }];
    let status = tonic_types::pb::Status {
        code,
        details,
        ..Default::default()
    };
    status.encode_to_vec()
}

fn reason(reason: &str) -> Vec<u8> {
    let reason = reason.to_owned();
    let info = tonic_types::pb::ErrorInfo {
        reason,
        ..Default::default()
    };
    info.encode_to_vec()
}

struct FalseServer {
    port: u16,
    script: Arc<Mutex<Script>>,
}

impl FalseServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let script = Arc::<Mutex<Script>>::default();
        let of_all = script.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, of_all.clone()));
            }
        });
        Self { port, script }
    }

    /// What it answers from now on.
    fn play(&self, script: Script) {
        *self.script.lock().expect("unpoisoned") = script;
    }
}

/// Serves until the connection is closed. It is always healthy, and plays the script for every call.
async fn serve(mut connection: TcpStream, script: Arc<Mutex<Script>>) -> Option<()> {
    let mut preface = [0; PREFACE.len()];
    connection.read_exact(&mut preface).await.ok()?;
    connection.write_all(&no_settings()).await.ok()?;
    loop {
        let Frame {
            kind,
            flags,
            stream,
            payload,
        } = Frame::read(&mut connection).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => {
                let ack = frame(SETTINGS, ACK, 0, &[]);
                connection.write_all(&ack).await.ok()?;
            }
            PING if flags & ACK == 0 => {
                let ack = frame(PING, ACK, 0, &payload);
                connection.write_all(&ack).await.ok()?;
            }
            DATA if payload.is_empty() => {}
            DATA => {
                let asked = String::from_utf8_lossy(&payload);
                let is_health = asked.contains("tosend.keys.v1.KeyService");
                let answer = if is_health {
                    vec![head(&[]), data(0, &message(&[0x08, 1]))]
                } else {
                    script.lock().expect("unpoisoned").clone()
                };
                for (kind, flags, payload) in answer {
                    let stream = if kind == GOAWAY { 0 } else { stream };
                    let bytes = frame(kind, flags, stream, &payload);
                    connection.write_all(&bytes).await.ok()?;
                    match (kind, flags) {
                        (GOAWAY, _) => return None,
                        (HEADERS, 0) => return endless_headers(connection, stream).await,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// Ends when the library closes the connection, or has read 100 MB of them.
async fn endless_headers(mut connection: TcpStream, stream: u32) -> Option<()> {
    let more = header_block(&[("x", &"x".repeat(10_000))]);
    for _ in 0..10_000 {
        let more = frame(CONTINUATION, 0, stream, &more);
        connection.write_all(&more).await.ok()?;
    }
    None
}
