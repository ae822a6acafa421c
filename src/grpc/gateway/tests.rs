use super::{
    allowed::{ACCOUNT_ID, DOMAIN, DOMAIN_CHECKED, KEY_ID},
    *,
};
use crate::{
    authorize::decision::DomainRule,
    grpc::envoy::{
        config::core::v3::{HeaderMap, HeaderValue},
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse,
            attribute_context::{HttpRequest, Request},
            check_response::HttpResponse,
        },
    },
    model::{
        account::AccountId,
        key::{KeyId, KeyState, Scope},
        time::Moment,
        token::{Digester, Token},
        verified_domain::{Coverage, DomainState},
    },
};
use prost::Message;
use rand::{SeedableRng, rngs::StdRng};
use std::sync::Arc;
use tonic::Code;

const ACCOUNT: &str = "acme";

const BODY: &str = r#"{"from": "hello@example.com"}"#;

/// A replica whose account has the domain `example.com` and one key.
struct Replica {
    authorizer: Authorizer,
    token: String,
    key: KeyState,
}

impl Replica {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut KeyState)) -> Self {
        let authorizer = Authorizer::new(Digester::new(None), DomainRule::Verified);
        authorizer.lease().extend(Moment::LATEST);
        let token = Token::generate(&mut StdRng::seed_from_u64(1));
        let mut key = KeyState {
            digest: authorizer.digester().digest(&token),
            id: KeyId::new(Timestamp::now(), &[1; 10]),
            account_id: account(),
            scope: Scope::AllDomains,
            expire_time: None,
            revoked: false,
            suspended: false,
        };
        change(&mut key);
        authorizer.keyring().apply_key(&key);
        authorizer.keyring().apply_domain(&DomainState {
            account_id: account(),
            domain: Domain::from_stored("example.com".to_owned()),
            coverage: Coverage::Domain,
        });
        Self {
            authorizer,
            token: token.expose().to_owned(),
            key,
        }
    }

    /// A request with this key's token, and this setting of its route.
    fn request(&self, domain_from: &str) -> Http {
        let bearer = format!("Bearer {}", self.token);
        Http::default()
            .header("authorization", &bearer)
            .extension(DOMAIN_FROM, domain_from)
    }

    fn check(&self, http: &Http) -> Answer {
        self.check_for(&Accounts::All, http)
    }

    fn check_for(&self, accounts: &Accounts, http: &Http) -> Answer {
        let answer = check(&self.authorizer, accounts, &http.encoded()).expect("an answer");
        answer_in(&answer)
    }
}

fn account() -> AccountId {
    AccountId::from_stored(ACCOUNT.to_owned())
}

/// An HTTP request as Envoy sends it with `encode_raw_headers`.
#[derive(Clone, Default)]
struct Http {
    headers: Vec<HeaderValue>,
    body: Vec<u8>,
    extensions: Vec<(String, String)>,
}

impl Http {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(HeaderValue {
            key: name.to_owned(),
            raw_value: value.as_bytes().to_vec(),
            value: String::new(),
        });
        self
    }

    fn body(mut self, body: &str) -> Self {
        body.as_bytes().clone_into(&mut self.body);
        self
    }

    fn json(self, body: &str) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    fn extension(mut self, name: &str, value: &str) -> Self {
        self.extensions.push((name.to_owned(), value.to_owned()));
        self
    }

    fn message(&self) -> CheckRequest {
        let http = HttpRequest {
            header_map: Some(HeaderMap {
                headers: self.headers.clone(),
            }),
            raw_body: self.body.clone(),
            ..HttpRequest::default()
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(Request { http: Some(http) }),
                context_extensions: self.extensions.iter().cloned().collect(),
            }),
        }
    }

    fn encoded(&self) -> Vec<u8> {
        self.message().encode_to_vec()
    }
}

/// What becomes of a request: the headers that it gets, or the status and the name of its refusal.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Passes(Vec<(String, String)>),
    Refused(i32, String),
}

fn answer_in(message: &[u8]) -> Answer {
    let response = CheckResponse::decode(&message[5..]).expect("an answer");
    let is_ok = response.status.expect("it has one").code == 0;
    match response.http_response.expect("it has one") {
        HttpResponse::OkResponse(ok) => {
            assert!(is_ok);
            let headers = ok.headers.into_iter().map(|it| it.header.expect("one"));
            let mut headers: Vec<_> = headers.map(|it| (it.key, it.value)).collect();
            headers.extend(
                ok.headers_to_remove
                    .into_iter()
                    .map(|it| (it, String::new())),
            );
            Answer::Passes(headers)
        }
        HttpResponse::DeniedResponse(denied) => {
            assert!(!is_ok);
            let body: serde_json::Value = serde_json::from_str(&denied.body).expect("JSON");
            let name = body["name"].as_str().expect("a name").to_owned();
            Answer::Refused(denied.status.expect("it has one").code, name)
        }
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, status: i32, name: &str) {
    assert_eq!(*answer, Answer::Refused(status, name.to_owned()));
}

#[track_caller]
fn assert_passes(replica: &Replica, answer: &Answer, domain: Option<&str>) {
    let key_id = replica.key.id.to_string();
    let is_checked = if domain.is_some() { "true" } else { "false" };
    let headers = [
        (ACCOUNT_ID, ACCOUNT),
        (KEY_ID, &key_id),
        (DOMAIN_CHECKED, is_checked),
        // Without a value it is removed.
        (DOMAIN, domain.unwrap_or_default()),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(*answer, Answer::Passes(headers.into()));
}

#[test]
fn a_request_passes_with_its_account_its_key_and_the_domain_that_was_judged() {
    let replica = Replica::new();
    let in_header = replica.request("header:X-Sending-Domain");
    let in_header = in_header.header("x-sending-domain", "Example.com");
    assert_passes(&replica, &replica.check(&in_header), Some("example.com"));
    for body in [
        r#"{"from": {"email": "hello@example.com"}}"#,
        r#"{"from": {"email": "Acme <hello@EXAMPLE.com>"}, "to": ["a@b.example"]}"#,
    ] {
        let in_body = replica.request("body:/from/email").json(body);
        assert_passes(&replica, &replica.check(&in_body), Some("example.com"));
    }
}

#[test]
fn where_the_route_says_so_only_the_token_is_judged_and_the_upstream_is_told() {
    let replica = Replica::with(|key| {
        key.scope = Scope::Domain(Domain::from_stored("other.example".to_owned()));
    });
    assert_passes(&replica, &replica.check(&replica.request("none")), None);
}

#[test]
fn a_denial_is_answered_by_its_reason_whatever_the_domain() {
    let past = Timestamp::from_micros(1).expect("in range");
    for (change, status, name) in [
        (
            (|key| key.revoked = true) as fn(&mut KeyState),
            401,
            "revoked_api_key",
        ),
        (|key| key.suspended = true, 403, "suspended_api_key"),
    ] {
        let replica = Replica::with(change);
        for domain_from in ["none", "header:x-domain", "body:/from"] {
            let answer = replica.check(&replica.request(domain_from));
            assert_refused(&answer, status, name);
        }
    }
    let expired = Replica::with(|key| key.expire_time = Some(past));
    assert_refused(
        &expired.check(&expired.request("none")),
        401,
        "expired_api_key",
    );

    let replica = Replica::new();
    let for_domain = |domain: &str| {
        let request = replica.request("header:x-domain");
        replica.check(&request.header("x-domain", domain))
    };
    assert_refused(&for_domain("other.example"), 403, "domain_not_verified");
    let restricted = Replica::with(|key| {
        key.scope = Scope::Domain(Domain::from_stored("other.example".to_owned()));
    });
    let request = restricted
        .request("header:x-domain")
        .header("x-domain", "example.com");
    assert_refused(&restricted.check(&request), 403, "domain_not_allowed");
}

#[test]
fn a_key_of_another_account_than_the_callers_is_unknown() {
    let replica = Replica::new();
    let others = Accounts::Only(Arc::new([AccountId::from_stored("globex".to_owned())]));
    let answer = replica.check_for(&others, &replica.request("none"));
    assert_refused(&answer, 401, "invalid_api_key");
}

#[test]
fn a_request_must_have_one_bearer_token() {
    let replica = Replica::new();
    let token = &replica.token;
    let bearer = format!("Bearer {token}");
    for (headers, status, name) in [
        (vec![], 401, "missing_api_key"),
        (vec![""], 401, "missing_api_key"),
        (vec!["Basic dHNlbmQ6"], 401, "missing_api_key"),
        (vec![token], 401, "missing_api_key"),
        (vec!["Bearer "], 401, "invalid_api_key"),
        (vec!["Bearer tsend_x"], 401, "invalid_api_key"),
        (vec![&format!("{bearer} {token}")], 401, "invalid_api_key"),
        (
            vec![&format!("{bearer}, {bearer}")],
            400,
            "several_api_keys",
        ),
        (vec![&format!("{bearer},")], 400, "several_api_keys"),
        (vec![&bearer, &bearer], 400, "several_api_keys"),
        (vec![&bearer, ""], 400, "several_api_keys"),
    ] {
        let mut http = Http::default().extension(DOMAIN_FROM, "none");
        for value in headers {
            http = http.header("Authorization", value);
        }
        assert_refused(&replica.check(&http), status, name);
    }
    let lower_case = Http::default()
        .extension(DOMAIN_FROM, "none")
        .header("authorization", &format!("bearer {token}"));
    assert_passes(&replica, &replica.check(&lower_case), None);
}

#[test]
fn headers_that_come_joined_and_one_by_one_are_all_seen() {
    let replica = Replica::new();
    let mut message = replica.request("none").message();
    let attributes = message.attributes.as_mut().expect("some");
    let http = attributes.request.as_mut().expect("some").http.as_mut();
    let headers = &mut http.expect("some").headers;
    headers.insert("authorization".to_owned(), "Bearer other".to_owned());
    let answer = check(
        &replica.authorizer,
        &Accounts::All,
        &message.encode_to_vec(),
    );
    assert_refused(&answer_in(&answer.expect("one")), 400, "several_api_keys");
}

#[test]
fn a_header_for_the_domain_must_have_one_value_with_one_domain() {
    let replica = Replica::new();
    for (values, name) in [
        (vec![], "missing_sender"),
        (vec!["example.com", "example.com"], "several_senders"),
        (vec!["example.com, example.com"], "several_senders"),
        (vec![""], "invalid_sender"),
        (vec!["*.example.com"], "invalid_sender"),
        (vec!["https://example.com"], "invalid_sender"),
    ] {
        let mut http = replica.request("header:x-domain");
        for value in &values {
            http = http.header("X-Domain", value);
        }
        assert_refused(&replica.check(&http), 400, name);
    }
}

#[test]
fn a_body_must_be_whole_json_with_one_sender() {
    let replica = Replica::new();
    for (body, name) in [
        ("", "missing_body"),
        ("from=hello@example.com", "invalid_json"),
        (r#"{"from": "hello@example.com""#, "invalid_json"),
        ("{}", "missing_sender"),
        (r#"{"from": ["hello@example.com"]}"#, "invalid_sender"),
        (r#"{"from": null}"#, "invalid_sender"),
        (r#"{"from": ""}"#, "invalid_sender"),
        (r#"{"from": "Acme"}{}"#, "invalid_json"),
        (
            r#"{"from": "a@example.com, b@example.com"}"#,
            "several_senders",
        ),
        (
            r#"{"from": "a@example.com", "from": "b@example.com"}"#,
            "duplicate_field",
        ),
        (
            r#"{"from": "a@example.com", "From": "b@b.example"}"#,
            "duplicate_field",
        ),
    ] {
        let http = replica.request("body:/from").json(body);
        assert_refused(&replica.check(&http), 400, name);
    }
}

#[test]
fn a_body_that_is_cut_off_is_refused_also_if_it_can_be_read() {
    let replica = Replica::new();
    let is_partial = |values: &[&str]| {
        let mut http = replica.request("body:/from").json(BODY);
        for value in values {
            http = http.header("x-envoy-auth-partial-body", value);
        }
        replica.check(&http)
    };
    assert_passes(&replica, &is_partial(&["false"]), Some("example.com"));
    for values in [&["true"][..], &["false", "true"], &["true", "false"], &[""]] {
        assert_refused(&is_partial(values), 400, "body_too_large");
    }
}

#[test]
fn a_body_must_have_the_type_of_json_in_a_spelling_that_all_read_alike() {
    let replica = Replica::new();
    let with = |values: &[&str]| {
        let mut http = replica.request("body:/from").body(BODY);
        for value in values {
            http = http.header("Content-Type", value);
        }
        replica.check(&http)
    };
    for json in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json ;\tCharset=\"UTF-8\" ",
    ] {
        assert_passes(&replica, &with(&[json]), Some("example.com"));
    }
    for values in [
        &[][..],
        &[""],
        &["text/json"],
        &["application/x-www-form-urlencoded"],
        &["application/json", "application/json"],
        &["application/json, text/plain"],
        &["application/json;"],
        &["application/json;;;"],
        &["application/json; charset=utf-7"],
        &["application/json; charset*0=utf-7"],
        &["application/json; charset*=utf-8''utf-7"],
        &["application/json; charset*0=utf; charset*1=-7"],
        &["application/json; charset=utf-8; charset=utf-8"],
        &["application/json; charset=utf-8; x=y"],
        &["application/json; x=\"charset=utf-7\""],
        &["application/json; xcharset=utf-16"],
        &["application/json; charset=\"utf-8"],
        &["application/json; charset=utf-8\""],
        &["application/json; charset = utf-8"],
        &["application/json; charset='utf-8'"],
        &["application/json; charset\u{a0}=utf-8"],
        &["application/json;\u{a0}charset=utf-8"],
    ] {
        assert_refused(&with(values), 400, "invalid_content_type");
    }
}

#[test]
fn a_body_with_a_content_encoding_is_refused_whatever_it_is() {
    let replica = Replica::new();
    for encoding in ["gzip", "br", "identity", "x, y", ""] {
        let http = replica.request("body:/from").json(BODY);
        let answer = replica.check(&http.header("Content-Encoding", encoding));
        assert_refused(&answer, 400, "invalid_content_encoding");
        let in_header = replica.request("none").header("content-encoding", encoding);
        assert_passes(&replica, &replica.check(&in_header), None);
    }
}

#[test]
fn what_only_a_wrong_configuration_sends_is_refused_with_503() {
    let replica = Replica::new();
    for (source, json) in [("body:/from", ""), ("body:/from", "{}"), ("none", "")] {
        let mut message = replica.request(source).json(json).message();
        let attributes = message.attributes.as_mut().expect("some");
        let http = attributes.request.as_mut().expect("some").http.as_mut();
        http.expect("some").body = BODY.to_owned();
        let answer = check(
            &replica.authorizer,
            &Accounts::All,
            &message.encode_to_vec(),
        );
        let answer = answer_in(&answer.expect("one"));
        match source {
            "none" => assert_passes(&replica, &answer, None),
            _ => assert_refused(&answer, 503, "service_unavailable"),
        }
    }
    let unknown = replica
        .request("none")
        .extension("keyservice.domain_from", "none");
    let no_pointer = replica.request("body:from");
    let other = replica.request("from");
    let with_only = |name: &str| {
        let mut http = replica.request("");
        http.extensions = vec![(name.to_owned(), "none".to_owned())];
        http
    };
    let misspelled = [
        "keyservice.domain-form",
        "Keyservice.domain-from",
        "keyservise.domain-from",
        "key-service.domain-from",
        "domain-from",
        "virtual_host",
    ]
    .map(with_only);
    let mut unset = replica.request("");
    unset.extensions.clear();
    for http in [unknown, no_pointer, other, unset]
        .iter()
        .chain(&misspelled)
    {
        assert_refused(&replica.check(http), 503, "service_unavailable");
    }
    for message in [
        CheckRequest::default(),
        CheckRequest {
            attributes: Some(AttributeContext::default()),
        },
    ] {
        let answer = check(
            &replica.authorizer,
            &Accounts::All,
            &message.encode_to_vec(),
        );
        assert_refused(
            &answer_in(&answer.expect("one")),
            503,
            "service_unavailable",
        );
    }
    let of_others = replica.request("none").extension("virtual_host", "api");
    assert_passes(&replica, &replica.check(&of_others), None);
    // prost keeps the last one of these.
    let mut twice = replica.request("none").encoded();
    twice.extend(replica.request("header:x-domain").encoded());
    let answer = check(&replica.authorizer, &Accounts::All, &twice).expect("one");
    assert_refused(&answer_in(&answer), 503, "service_unavailable");
}

#[test]
fn without_a_lease_there_is_no_answer() {
    let replica = Replica::new();
    let request = replica
        .request("header:x-domain")
        .header("x-domain", "example.com");
    replica.authorizer.lease().give_up();
    for request in [
        request,
        replica.request("header:x-domain"),
        replica.request("none"),
    ] {
        let status = check(&replica.authorizer, &Accounts::All, &request.encoded());
        assert_eq!(status.expect_err("none").code(), Code::Unavailable);
    }
}
