//! A token leaves the service in one CreateResponse and nowhere else. The tests make every kind of
//! call, also with tokens in wrong places, while the server logs and traces as much as possible. Then
//! they search every byte that the server has written for any part of a token.

use crate::support::{
    clients::{
        reflected,
        session::{DIGEST_SECRET, Session},
    },
    directory,
    envoy::HttpRequest,
    eventually,
    hostile::wire::{self, RawAuthorizeRequest},
    postgres::Cluster,
    search::{Search, contains, files_below},
    server::{audit_command::audit_output, sqlite_in},
};
use data_encoding::{BASE64, HEXLOWER};
use keyservice::{
    callers::secret::Secret,
    grpc::proto::{
        AuthorizeRequest, CreateRequest, denial::Reason, key_service_server::SERVICE_NAME,
        revoke_request::Target,
    },
    model::token::{PREFIX, Token},
};
use protox::prost_reflect::{DynamicMessage, MethodDescriptor};
use std::time::{Duration, SystemTime};
use tonic::{Code, Request};

const PASSWORD: &str = "correct-horse-battery-staple";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_sqlite_never_shows_any_part_of_a_token_again() {
    let directory = directory();
    let mut session = Session::start(&sqlite_in(&directory)).await;
    make_every_call(&mut session).await;
    let records = audit_records(&sqlite_in(&directory));
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("it opens");
    let rename = |sql| file.execute(sql, []).expect("it is renamed");
    rename("ALTER TABLE keys RENAME TO gone");
    call_with_a_broken_store(&mut session, Code::Internal).await;
    rename("ALTER TABLE gone RENAME TO keys");

    let files = files_below(directory.path());
    assert!(contains(&files, b"keys.db-wal"));
    session.assert_stored_in(&files);
    let stored = [("the files", files), ("the audit records", records)];
    assert_no_token_is_shown(session, stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_postgres_never_shows_any_part_of_a_token_again() {
    let mut cluster = Cluster::start();
    for setting in ["log_statement = 'all'", "log_min_messages = 'debug1'"] {
        cluster.psql("postgres", &format!("ALTER SYSTEM SET {setting}"));
    }
    cluster.psql("postgres", "SELECT pg_reload_conf()");
    let store = cluster.create_database();
    let mut session = Session::start(&store.replace('@', &format!(":{PASSWORD}@"))).await;
    make_every_call(&mut session).await;
    let records = audit_records(&store);
    cluster.psql("postgres", "CHECKPOINT");
    cluster.kill();
    call_with_a_broken_store(&mut session, Code::Unavailable).await;

    let files = files_below(&cluster.data_directory());
    session.assert_stored_in(&files);
    let log = std::fs::read(cluster.data_directory().with_file_name("log")).expect("a log");
    let digest = HEXLOWER.encode(&session.digest());
    assert!(
        contains(&log, digest.as_bytes()),
        "the log contains parameters of statements"
    );
    let stored = [
        ("PostgreSQL's files", files),
        ("PostgreSQL's log", log),
        ("the audit records", records),
    ];
    assert_no_token_is_shown(session, stored).await;
}

#[test]
fn the_search_finds_a_part_of_a_token_in_every_encoding() {
    let token = Token::generate(&mut rand::rng());
    let token = token.expose();
    let search = Search::new([&token[PREFIX.len()..]]);
    let piece = &token[20..32];
    for form in [
        piece.to_owned(),
        piece.to_uppercase(),
        format!("{:?}", piece.as_bytes()),
        HEXLOWER.encode(piece.as_bytes()),
        BASE64.encode(format!("Bearer {token}").as_bytes()),
    ] {
        let printed = format!("before {form} after");
        assert!(search.find(printed.as_bytes()).is_some(), "{printed}");
    }
    let less = format!("{}…{}", &token[..17], &token[51..]);
    assert_eq!(search.find(less.as_bytes()), None);
}

/// Stops the server, and searches everything that it has written and stored.
async fn assert_no_token_is_shown<const N: usize>(session: Session, stored: [(&str, Vec<u8>); N]) {
    let tokens = session.tokens.clone();
    let secrets = tokens.iter().map(|token| &token[PREFIX.len()..]);
    let search = Search::new(secrets.chain([DIGEST_SECRET, PASSWORD]));
    for (place, bytes) in session.end().await.into_iter().chain(stored) {
        if let Some(found) = search.find(&bytes) {
            panic!("in {place}: {found}");
        }
    }
}

/// All audit records, as JSON and as a table.
fn audit_records(store: &str) -> Vec<u8> {
    let [json, table] = ["json", "table"].map(|format| audit_output(store, &["--format", format]));
    assert!(json.lines().count() > 30, "{json}");
    assert!(json.contains("\"INVALID_ARGUMENT\"") && table.contains("NOT_FOUND"));
    [json, table].concat().into_bytes()
}

async fn make_every_call(session: &mut Session) {
    get_every_decision(session).await;
    list_and_revoke(session).await;
    find_keys_by_their_tokens(session).await;
    // A caller's secret is as secret as a token. It is among those that are searched for at the end.
    let secret = Secret::generate(&mut rand::rng()).expose().to_owned();
    session.tokens.push(secret.clone());
    for token in [session.granted_token(), session.mistyped_token(), secret] {
        put_a_token_into_every_field(session, &token).await;
    }
    put_tokens_into_headers_and_paths(session).await;
    send_malformed_requests(session).await;
}

async fn get_every_decision(session: &mut Session) {
    let soon = SystemTime::now() + Duration::from_millis(500);
    let restricted = session.create(|new| new.domain = Some("example.com".into()));
    let restricted = restricted.await.expect("created");
    let expiring = session.create(|new| new.expire_time = Some(soon.into()));
    let expiring = expiring.await.expect("created");
    for (token, domain, reason) in [
        (session.granted_token(), "example.com", None),
        (restricted, "example.org", Some(Reason::DomainNotAllowed)),
        (
            session.unknown_token(),
            "example.com",
            Some(Reason::UnknownToken),
        ),
        (
            session.mistyped_token(),
            "example.com",
            Some(Reason::MalformedToken),
        ),
    ] {
        assert_eq!(session.authorize(&token, domain).await, Ok(reason));
    }
    eventually("the key expires", async || {
        session.authorize(&expiring, "example.com").await == Ok(Some(Reason::Expired))
    })
    .await;
}

async fn list_and_revoke(session: &mut Session) {
    let once = |new: &mut CreateRequest| new.request_id = Some("once".into());
    let token = session.create(once).await.expect("created");
    assert_eq!(session.create(once).await, Err(Code::AlreadyExists));
    let next_page = session.list(|_| {}).await.expect("a page");
    session
        .list(|list| list.page_token = next_page)
        .await
        .expect("the next page");

    let (unknown, changed) = (session.unknown_token(), session.mistyped_token());
    for (token, account, answer) in [
        (&token, Some("another"), Err(Code::NotFound)),
        (&token, None, Ok(())),
        (&token, None, Ok(())),
        (&unknown, None, Err(Code::NotFound)),
        (&changed, None, Err(Code::InvalidArgument)),
    ] {
        let target = Target::Token(token.clone());
        assert_eq!(session.revoke(target, account).await, answer);
    }
    let decision = session.authorize(&token, "example.com").await;
    assert_eq!(decision, Ok(Some(Reason::Revoked)));
}

/// Nothing but a field that is named `token` takes a token or a secret, in any call.
async fn put_a_token_into_every_field(session: &mut Session, token: &str) {
    for method in reflected::methods() {
        for path in reflected::text_fields(&method.input()) {
            let field = path.last().expect("a field").full_name().to_owned();
            if !field.ends_with(".token") && !field.ends_with(".tokens") {
                let mut message = request(&method, session, path[0].name());
                reflected::put_text(&mut message, &path, token);
                let answer = session.call(&method, &message).await;
                let right = match field.ends_with(".etag") {
                    true => Code::Aborted,
                    false => Code::InvalidArgument,
                };
                assert_eq!(answer, Err(right), "{} with {field}", method.full_name());
            }
        }
    }
    let answer = session
        .authorize(token, &format!("{token}.example.com"))
        .await;
    assert_eq!(answer, Err(Code::InvalidArgument));
}

/// Each call that finds a key by its token gets that of a new key.
async fn find_keys_by_their_tokens(session: &mut Session) {
    for method in reflected::methods() {
        for path in reflected::text_fields(&method.input()) {
            let field = path.last().expect("a field");
            if ["token", "tokens"].contains(&field.name()) {
                let token = session.create(|_| {}).await.expect("created");
                let mut message = request(&method, session, path[0].name());
                reflected::put_text(&mut message, &path, &token);
                let answer = session.call(&method, &message).await;
                assert_eq!(answer, Ok(()), "{}", field.full_name());
            }
        }
    }
}

/// A request that has what every request needs. An update takes this field.
fn request(method: &MethodDescriptor, session: &Session, field_name: &str) -> DynamicMessage {
    let mut message = DynamicMessage::new(method.input());
    for field in method.input().fields() {
        let value = match field.name() {
            "account_id" => "acme",
            "key_id" => &session.key.key_id,
            "domain" => "example.com",
            "name" => "a key",
            "reason" => "leaked",
            "update_mask" => {
                let mask = field.kind().as_message().expect("a mask").clone();
                let paths = mask.get_field_by_name("paths").expect("it has paths");
                let is_identity = ["key_id", "etag"].contains(&field_name);
                let masked = if is_identity { "name" } else { field_name };
                reflected::put_text(&mut message, &[field, paths], masked);
                continue;
            }
            "keys" => {
                let keys = field.kind().as_message().expect("keys").clone();
                let ids = keys.get_field_by_name("key_ids").expect("it has ids");
                reflected::put_text(&mut message, &[field, ids], &session.key.key_id);
                continue;
            }
            _ => continue,
        };
        reflected::put_text(&mut message, &[field], value);
    }
    message
}

async fn put_tokens_into_headers_and_paths(session: &mut Session) {
    let token = session.granted_token();
    for (name, value) in [
        ("authorization", format!("Bearer {token}")),
        ("x-api-key", token.clone()),
        ("cookie", format!("key={token}")),
        ("traceparent", token.clone()),
        ("baggage", format!("key={token}")),
        ("grpc-timeout", token.clone()),
        ("grpc-accept-encoding", token.clone()),
    ] {
        let mut request = Request::new(AuthorizeRequest::default());
        let value = value.parse().expect("a header");
        request.metadata_mut().insert(name, value);
        let answer = session.server.call(AUTHORIZE, request).await;
        assert_eq!(session.keep_answer(answer), Err(Code::InvalidArgument));
    }
    for path in [
        format!("/{SERVICE_NAME}/{token}"),
        format!("/{token}?{token}"),
    ] {
        let request = Request::new(AuthorizeRequest::default());
        let answer = session.server.call(&path, request).await;
        assert_eq!(session.keep_answer(answer), Err(Code::Unimplemented));
    }
    for (headers, body, status) in [
        (vec![("authorization", format!("Bearer {token}"))], "", 0),
        (vec![("authorization", format!("Bearer {token}x"))], "", 16),
        (
            vec![("authorization", format!("Bearer {token}, {token}"))],
            "",
            3,
        ),
        (
            vec![("cookie", format!("key={token}")), (&token, token.clone())],
            "",
            16,
        ),
        (
            vec![("authorization", format!("Bearer {token}"))],
            &token,
            3,
        ),
    ] {
        let source = if body.is_empty() {
            "none"
        } else {
            "body:/from"
        };
        let mut request = HttpRequest::default().domain_from(source).body(body);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let answer = request.check(&session.server).await;
        let answer = session.keep_answer(answer).expect("an answer");
        assert_eq!(answer.status.expect("a status").code, status);
    }
    let misconfigured = HttpRequest::with_token(&token).domain_from(&token);
    let answer = misconfigured.check(&session.server).await;
    let answer = session.keep_answer(answer).expect("an answer");
    assert_eq!(
        answer.status.expect("a status").code,
        Code::Unavailable as i32
    );
    let not_utf8 = RawAuthorizeRequest {
        token: [token.as_bytes(), &[0xff]].concat(),
    };
    let answer = session.server.call(AUTHORIZE, Request::new(not_utf8)).await;
    assert_eq!(session.keep_answer(answer), Err(Code::InvalidArgument));
    let too_long = token.repeat(100_000);
    let answer = session.authorize(&too_long, "example.com").await;
    assert_eq!(answer, Err(Code::ResourceExhausted));
}

async fn send_malformed_requests(session: &mut Session) {
    let (token, port) = (session.granted_token(), session.server.port());
    let requests = move || {
        wire::send_bytes(port, token.as_bytes());
        wire::send_bytes(port, format!("GET /{token} HTTP/1.1\r\n\r\n").as_bytes());
        let good = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", AUTHORIZE),
            (":authority", "localhost"),
        ];
        for wrong in [token.clone(), format!("{token}@<>"), format!("/{token} <>")] {
            for at in 0..good.len() {
                let mut headers = good;
                headers[at].1 = &wrong;
                wire::send_headers(port, &headers);
            }
            for name in ODD_HEADERS {
                wire::send_headers(port, &[&good[..], &[(name, &wrong)]].concat());
            }
        }
    };
    let sent = tokio::task::spawn_blocking(requests);
    sent.await.expect("no panic");
}

/// Makes every call while the store fails.
async fn call_with_a_broken_store(session: &mut Session, code: Code) {
    let token = session.granted_token();
    assert_eq!(session.create(|_| {}).await, Err(code));
    assert_eq!(session.list(|_| {}).await, Err(code));
    let revoked = session.revoke(Target::Token(token.clone()), None).await;
    assert_eq!(revoked, Err(code));
    for method in reflected::methods() {
        let needs_store = !["Authorize", "AuthorizeStream"].contains(&method.name());
        if method.parent_service().full_name() == SERVICE_NAME && needs_store {
            let message = request(&method, session, "name");
            let answer = session.call(&method, &message).await;
            assert_eq!(answer, Err(code), "{}", method.full_name());
        }
    }
    assert_eq!(session.authorize(&token, "example.com").await, Ok(None));
}

const AUTHORIZE: &str = "/tosend.keys.v1.KeyService/Authorize";

/// The answers to these requests are not searched, since tonic repeats an unknown `grpc-encoding` in
/// its answer to the client that sent it.
const ODD_HEADERS: [&str; 7] = [
    "grpc-encoding",
    "content-type",
    "te",
    "user-agent",
    "connection",
    "A-Key",
    ":key",
];
