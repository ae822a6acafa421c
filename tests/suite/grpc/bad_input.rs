//! Invalid input is refused and changes nothing. The error names the field and what is valid.

use super::{ACCOUNT, Created, create, create_request, list_request};
use crate::support::{
    hostile::wire::RawAuthorizeRequest,
    server::{Client, Server},
};
use keyservice::{
    callers::secret::Secret,
    grpc::proto::{
        AuthorizeRequest, CreateRequest, ListRequest, RevokeRequest, revoke_request::Target,
    },
    model::token::Token,
};
use prost::Message;
use prost_types::Timestamp;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// Texts that are not domains, each with a part of the error message.
const NO_DOMAINS: [(&str, &str); 7] = [
    ("", "give a domain such as `example.com`"),
    ("a..example", "use letters, digits and hyphens"),
    ("under_score.example", "use letters, digits and hyphens"),
    ("someone@example.com", "give only the domain"),
    ("*.example.com", "there are no wildcards"),
    ("192.0.2.1", "give a domain name"),
    (
        LONG_LABEL,
        "at most 253 characters, and 63 between two dots",
    ),
];
const LONG_LABEL: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example";

const ACCOUNT_ID_RULE: &str = "use 1 to 128 letters, digits and -_.:@/";

#[tokio::test(flavor = "multi_thread")]
async fn create_names_the_invalid_field_and_what_is_valid() {
    let mut table = Table::default();
    for account_id in bad_account_ids() {
        let call = |key: &mut CreateRequest| key.account_id = account_id;
        table.add("account_id", ACCOUNT_ID_RULE, create_with(call));
    }
    for name in ["".into(), " \t ".into(), "ü".repeat(101)] {
        let call = |key: &mut CreateRequest| key.name = name;
        table.add("name", "must have 1 to 100 characters", create_with(call));
    }
    for name in ["two\nlines", "\u{202e}desrever"] {
        let call = |key: &mut CreateRequest| key.name = name.into();
        table.add("name", "use printable text on one line", create_with(call));
    }
    for (domain, right) in NO_DOMAINS {
        let call = |key: &mut CreateRequest| key.domain = Some(domain.into());
        table.add("domain", right, create_with(call));
    }
    for (seconds, nanos, right) in [
        (1, 0, "must lie in the future"),
        (-1, 0, "of the years 1970 to 9999"),
        (i64::MAX, 0, "of the years 1970 to 9999"),
        (253_402_300_800, 0, "of the years 1970 to 9999"),
        (4_000_000_000, -1, "of the years 1970 to 9999"),
        (4_000_000_000, 1_000_000_000, "of the years 1970 to 9999"),
    ] {
        let time = Timestamp { seconds, nanos };
        let call = |key: &mut CreateRequest| key.expire_time = Some(time);
        table.add("expire_time", right, create_with(call));
    }
    for (name, value, right) in [
        ("", "", "has a label whose name is not like"),
        ("a b", "", "has a label whose name is not like"),
        ("a", "b c", "has a label whose value is not like"),
    ] {
        let call = |key: &mut CreateRequest| key.labels = [(name.into(), value.into())].into();
        table.add("labels", right, create_with(call));
    }
    let many = (0..17).map(|number| (format!("n{number}"), String::new()));
    let call = |key: &mut CreateRequest| key.labels = many.collect();
    table.add("labels", "has more than 16 labels", create_with(call));
    for request_id in ["".into(), "a b".into(), "ü".into(), "r".repeat(129)] {
        let call = |key: &mut CreateRequest| key.request_id = Some(request_id);
        let right = "must be 1 to 128 visible ASCII characters";
        table.add("request_id", right, create_with(call));
    }
    table.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn list_names_the_invalid_field_and_what_is_valid() {
    let mut table = Table::default();
    for account_id in bad_account_ids() {
        let call = |list: &mut ListRequest| list.account_id = account_id;
        table.add("account_id", ACCOUNT_ID_RULE, list_with(call));
    }
    for page_size in [-1, 1001, i32::MIN, i32::MAX] {
        let call = |list: &mut ListRequest| list.page_size = page_size;
        table.add("page_size", "must be from 1 to 1000", list_with(call));
    }
    for page_token in ["1", "not base64!", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let call = |list: &mut ListRequest| list.page_token = page_token.into();
        table.add("page_token", "use the next_page_token", list_with(call));
    }
    for prefix in [" ", "two\nlines"] {
        let call = |list: &mut ListRequest| list.name_prefix = prefix.into();
        table.add("name_prefix", "", list_with(call));
    }
    for preview in [
        "tsend_ab",
        "tsend_ab…wxy",
        "ab…wxyz",
        "tsend_ab…wx-z",
        "tsend_abc…wxyz",
    ] {
        let call = |list: &mut ListRequest| list.preview = preview.into();
        table.add("preview", "first 8 and last 4 characters", list_with(call));
    }
    let call = |list: &mut ListRequest| list.all_accounts = true;
    table.add("all_accounts", "give one of them", list_with(call));
    let call = |list: &mut ListRequest| list.labels = [("-".into(), String::new())].into();
    table.add("labels", "has a label whose name", list_with(call));
    for status in [-1, 5] {
        let call = |list: &mut ListRequest| list.status = status;
        let right = "use STATUS_ACTIVE, STATUS_REVOKED, STATUS_EXPIRED or STATUS_SUSPENDED";
        table.add("status", right, list_with(call));
    }
    for (domain, right) in NO_DOMAINS {
        let call = |list: &mut ListRequest| list.domain = Some(domain.into());
        table.add("domain", right, list_with(call));
    }
    table.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_names_the_invalid_field_and_what_is_valid() {
    let mut table = Table::default();
    table.add("target", "give key_id or token", revoke(None, None));
    for key_id in [
        "",
        "key_",
        "01m86sdsycew3tan8trybq49c5",
        "key_01M86SDSYCEW3TAN8TRYBQ49C5",
    ] {
        let call = revoke(Some(Target::KeyId(key_id.into())), None);
        table.add("key_id", "a key id is `key_` and 26", call);
    }
    for token in ["", "tsend_", "key_01m86sdsycew3tan8trybq49c5"] {
        let call = revoke(Some(Target::Token(token.into())), None);
        table.add("token", "a token is `tsend_` and 49", call);
    }
    for account_id in bad_account_ids() {
        let call = revoke(some_key(), Some(account_id));
        table.add("account_id", ACCOUNT_ID_RULE, call);
    }
    table.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorize_says_what_a_valid_domain_is() {
    let mut table = Table::default();
    for (domain, right) in NO_DOMAINS {
        table.add("domain", right, authorize("tsend_", domain));
    }
    table.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_wrong_field_is_refused_and_the_error_does_not_repeat_it() {
    let token = Token::generate(&mut rand::rng());
    assert_refused_in_every_field(token.expose()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_secret_in_any_field_is_refused_and_the_error_does_not_repeat_it() {
    let secret = Secret::generate(&mut rand::rng());
    assert_refused_in_every_field(secret.expose()).await;
}

async fn assert_refused_in_every_field(secret: &str) {
    let text = || secret.to_owned();
    let misspelt = text().replace("ts", "ts1");
    let mut table = Table::default();
    let mut refuse = |field, call| table.add(field, "", call);
    refuse("account_id", create_with(|key| key.account_id = text()));
    refuse(
        "name",
        create_with(|key| key.name = format!("for {}", text())),
    );
    refuse("domain", create_with(|key| key.domain = Some(text())));
    refuse(
        "request_id",
        create_with(|key| key.request_id = Some(text())),
    );
    refuse("account_id", list_with(|list| list.account_id = text()));
    refuse("page_token", list_with(|list| list.page_token = text()));
    refuse("domain", list_with(|list| list.domain = Some(text())));
    refuse("key_id", revoke(Some(Target::KeyId(text())), None));
    refuse("account_id", revoke(some_key(), Some(text())));
    refuse("token", revoke(Some(Target::Token(misspelt)), None));
    refuse("token", revoke(Some(Target::Token(text() + "\n")), None));
    refuse("domain", authorize("example.com", &text()));

    // Compared in lower case, since domains are converted to lower case.
    let secret_part = secret[6..].to_lowercase();
    for status in table.check().await {
        let details = String::from_utf8_lossy(status.details());
        let shown = format!("{status:?} {details}").to_lowercase();
        assert!(
            !shown.contains(&secret_part),
            "the error repeats the secret"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_decoded_is_an_invalid_argument() {
    let server = Server::on_sqlite().await;
    let not_utf8 = RawAuthorizeRequest {
        token: b"tsend_\xff".into(),
    };
    let not_utf8 = server.call(AUTHORIZE, Request::new(not_utf8)).await;
    let number = server
        .call(AUTHORIZE, Request::new(Number { token: 7 }))
        .await;
    for answer in [not_utf8, number] {
        let status = answer.expect_err("it is no AuthorizeRequest");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("every text is UTF-8"), "{status}");
    }
    let long = authorize(&"x".repeat(64 * 1024), "example.com");
    let status = long.refusal(&mut server.client().await).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
}

const AUTHORIZE: &str = "/tosend.keys.v1.KeyService/Authorize";

/// An `AuthorizeRequest` whose token is a number.
#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(uint64, tag = "1")]
    token: u64,
}

fn bad_account_ids() -> [String; 5] {
    [
        "".into(),
        "-acme".into(),
        "ac me".into(),
        "äcme".into(),
        "a".repeat(129),
    ]
}

enum Call {
    Create(CreateRequest),
    List(ListRequest),
    Revoke(RevokeRequest),
    Authorize(AuthorizeRequest),
}

impl Call {
    async fn refusal(self, client: &mut Client) -> Status {
        let answered = match self {
            Self::Create(request) => client.0.create(request).await.map(drop),
            Self::List(request) => client.0.list(request).await.map(drop),
            Self::Revoke(request) => client.0.revoke(request).await.map(drop),
            Self::Authorize(request) => client.0.authorize(request).await.map(drop),
        };
        answered.expect_err("the input is invalid")
    }
}

/// Calls that must be refused, each with the invalid field and a part of the error message.
#[derive(Default)]
struct Table(Vec<(&'static str, &'static str, Call)>);

impl Table {
    fn add(&mut self, field: &'static str, right: &'static str, call: Call) {
        self.0.push((field, right, call));
    }

    /// Makes every call, checks its status, and returns all statuses.
    async fn check(self) -> Vec<Status> {
        let server = Server::on_sqlite().await;
        let mut client = server.client().await;
        let Created { token, .. } = create(&mut client, |_| {}).await;
        let before = client.list(ACCOUNT).await.unwrap();
        let mut statuses = Vec::new();
        for (field, right, call) in self.0 {
            let status = call.refusal(&mut client).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{field}");
            let details = status.get_details_bad_request().expect("BadRequest");
            let [violation] = details.field_violations.as_slice() else {
                panic!("{details:?}");
            };
            let description = &violation.description;
            assert_eq!(violation.field, field, "{description}");
            assert!(description.contains(right), "{description}");
            assert_eq!(status.message(), format!("{field} {description}"));
            statuses.push(status);
        }
        assert_eq!(client.list(ACCOUNT).await.unwrap(), before);
        assert!(client.is_granted(&token).await);
        statuses
    }
}

fn create_with(change: impl FnOnce(&mut CreateRequest)) -> Call {
    let mut request = create_request();
    change(&mut request);
    Call::Create(request)
}

fn list_with(change: impl FnOnce(&mut ListRequest)) -> Call {
    let mut request = list_request();
    change(&mut request);
    Call::List(request)
}

fn revoke(target: Option<Target>, account_id: Option<String>) -> Call {
    Call::Revoke(RevokeRequest { target, account_id })
}

fn authorize(token: &str, domain: &str) -> Call {
    Call::Authorize(AuthorizeRequest {
        token: token.into(),
        domain: domain.into(),
    })
}

fn some_key() -> Option<Target> {
    Some(Target::KeyId("key_01m86sdsycew3tan8trybq49c5".into()))
}
