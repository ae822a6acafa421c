//! Which callers may call which methods, and what a refusal says.

use super::{Guarded, KEY_SERVICE};
use crate::support::{
    clients::callers::{Bearer, Credential, answer, client, client_with, outcome},
    eventually,
    hostile::frames::{END_HEADERS, HEADERS, RawClient, frame, headers_of},
    server::{
        Server, assert_refused,
        audit_command::records,
        scrape::{METRICS, Scrape},
        serve, sqlite_in,
    },
    tools::shell,
};
use keyservice::grpc::proto::{
    ListRequest, RevokeRequest, authorize_response::Decision, denial::Reason,
    key_service_client::KeyServiceClient, revoke_request::Target,
};
use tonic::{Code, Request};

#[tokio::test(flavor = "multi_thread")]
async fn each_method_accepts_exactly_the_callers_whose_role_covers_it() {
    let authorizer = Credential::new("sender", &["--role", "authorizer"]);
    let admin = Credential::new("dashboard", &["--role", "admin"]);
    let unknown = Credential::new("unlisted", &["--role", "admin"]);
    let guarded = Guarded::start(&[&authorizer.line, &admin.line]).await;
    let nobody = Bearer::none();
    let unknown = Bearer::secret(&unknown.secret);
    let garbage = Bearer::secret("tsop_garbage");
    let authorizer = Bearer::secret(&authorizer.secret);
    let admin = Bearer::secret(&admin.secret);

    // The messages are empty, so a permitted call gets one of these statuses, or on a stream an error.
    let (bad, none) = (Code::InvalidArgument, Code::Unimplemented);
    let (unauthenticated, denied) = (Code::Unauthenticated, Code::PermissionDenied);
    for (method, for_unauthenticated, for_authorizers, for_admins) in [
        ("/grpc.health.v1.Health/Check", Code::Ok, Code::Ok, Code::Ok),
        ("/grpc.health.v1.Health/None", unauthenticated, denied, none),
        (
            &format!("{KEY_SERVICE}/Authorize"),
            unauthenticated,
            bad,
            bad,
        ),
        (
            &format!("{KEY_SERVICE}/AuthorizeStream"),
            unauthenticated,
            Code::Ok,
            Code::Ok,
        ),
        (
            "/envoy.service.auth.v3.Authorization/Check",
            unauthenticated,
            Code::Ok,
            Code::Ok,
        ),
        (
            &format!("{KEY_SERVICE}/Create"),
            unauthenticated,
            denied,
            bad,
        ),
        (&format!("{KEY_SERVICE}/List"), unauthenticated, denied, bad),
        (
            &format!("{KEY_SERVICE}/Revoke"),
            unauthenticated,
            denied,
            bad,
        ),
        (
            &format!("{KEY_SERVICE}/None"),
            unauthenticated,
            denied,
            none,
        ),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            unauthenticated,
            bad,
            bad,
        ),
        (
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            unauthenticated,
            bad,
            bad,
        ),
        (
            "/tosend.keys.v2.KeyService/Create",
            unauthenticated,
            denied,
            none,
        ),
    ] {
        for (bearer, expected) in [
            (&nobody, for_unauthenticated),
            (&unknown, for_unauthenticated),
            (&garbage, for_unauthenticated),
            (&authorizer, for_authorizers),
            (&admin, for_admins),
        ] {
            let channel = guarded.server.channel().await;
            assert_eq!(outcome(channel, bearer, method).await, expected, "{method}");
        }
    }
}

const NO_PROOF: &str = "unknown caller: the call has no authorization header, and its connection no client \
                        certificate with a name";
const NO_SECRET: &str = "unknown caller: the authorization header has no bearer secret of a caller \
                         (`tsop_` and 43 characters)";

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_is_wrong_with_the_proof_and_nothing_of_who_is_listed() {
    let some = ["--role", "admin", "--accounts", "acme"];
    let some = Credential::new("dashboard", &some);
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let unknown = Credential::new("unlisted", &["--role", "admin"]);
    let guarded = Guarded::start(&[&some.line, &sender.line]).await;
    let channel = guarded.server.channel().await;
    let (unauthenticated, denied) = (Code::Unauthenticated, Code::PermissionDenied);
    for (bearer, code, message) in [
        (Bearer::none(), unauthenticated, NO_PROOF),
        (
            Bearer::secret(&unknown.secret),
            unauthenticated,
            "unknown caller: no caller has this bearer secret",
        ),
        (Bearer::secret("tsop_garbage"), unauthenticated, NO_SECRET),
        (
            Bearer::secret("tsend_yoq907Zfz7E0vKCH7hs6qHpWW6XlFqrqIUMQdkHijt416QEEs"),
            unauthenticated,
            NO_SECRET,
        ),
        (
            Bearer::header("Basic c2VuZGVyOnNlY3JldA=="),
            unauthenticated,
            "unknown caller: the authorization header is not `Bearer SECRET`",
        ),
        (
            Bearer::secret(&sender.secret),
            denied,
            "not permitted to this caller",
        ),
        (
            Bearer::secret(&some.secret),
            denied,
            "not permitted to this caller",
        ),
    ] {
        let mut client = client_with(channel.clone(), bearer);
        let refused = client.list("globex").await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message));
        assert!(refused.details().is_empty(), "{refused:?}");
    }
}

/// The refusal waits for its record, and would otherwise be cancelled at the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_is_counted_and_logged_as_refused_whatever_its_deadline() {
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let guarded = Guarded::start_with(&[&sender.line], &[METRICS]).await;
    let bearer = format!("Bearer {}", sender.secret);
    let deadline = [("authorization", &*bearer), ("grpc-timeout", "1n")];
    let headers = headers_of(&format!("{KEY_SERVICE}/Create"), &deadline);
    let mut client = RawClient::connect_with_preface(guarded.server.port()).await;
    for call in 0..20 {
        let call = frame(HEADERS, END_HEADERS, 2 * call + 1, &headers);
        client.send(&call).await;
    }
    eventually("all are counted as refused", async || {
        Scrape::of(&guarded.server).calls("Create", "PERMISSION_DENIED") == 20.0
    })
    .await;
    eventually("all are logged as refused", async || {
        let log = guarded.server.log();
        log.matches("\"outcome\":\"PERMISSION_DENIED\"").count() == 20
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_is_told_that_a_method_is_not_served_and_nothing_is_recorded() {
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let operator = Credential::new("operator", &["--role", "admin"]);
    let guarded = Guarded::start(&[&sender.line, &operator.line]).await;
    let channel = guarded.server.channel().await;
    let not_served = "no such method is served here: make the client from the protos of this service, and \
                      see that no proxy changes the path";
    for method in [
        "/tosend.keys.v1.KeyService/Rename",
        "/tosend.keys.v1.KeyService/create",
        "/grpc.health.v1.Health/List",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/None",
    ] {
        for (bearer, code, message) in [
            (Bearer::none(), Code::Unauthenticated, NO_PROOF),
            (
                Bearer::secret(&sender.secret),
                Code::PermissionDenied,
                "not permitted to this caller",
            ),
            (
                Bearer::secret(&operator.secret),
                Code::Unimplemented,
                not_served,
            ),
        ] {
            let refused = answer(channel.clone(), &bearer, method).await.unwrap_err();
            assert_eq!((refused.code(), refused.message()), (code, message));
            assert!(refused.details().is_empty(), "{refused:?}");
        }
    }
    let store = sqlite_in(&guarded.directory);
    assert!(guarded.server.terminate().await.success());
    assert_eq!(records(&store, &[]), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_calls_with_a_generated_secret_and_no_log_contains_it() {
    let admin = Credential::new("first-use", &["--role", "admin"]);
    let args = ["--log", "info,keyservice=trace"];
    let guarded = Guarded::start_with(&[&admin.line], &args).await;
    let create = |header: &str| {
        let port = guarded.server.port();
        shell(&format!(
            "grpcurl -plaintext {header} -d '{{\"account_id\": \"acme\", \"name\": \"a key\"}}' \
             localhost:{port} tosend.keys.v1.KeyService/Create"
        ))
    };
    let bearer = format!("-H 'authorization: Bearer {}'", admin.secret);
    let created = create(&bearer).expect("created");
    assert!(created.contains("\"keyId\""), "{created}");
    let refused = create("").expect_err("refused");
    assert!(refused.contains("unknown caller"), "{refused}");

    let log = guarded.server.log();
    assert!(log.contains("\"caller\":\"first-use\""), "{log}");
    assert!(!log.contains(&admin.secret), "{log}");
    let file = std::fs::read_to_string(guarded.file.path("callers")).expect("read");
    assert!(
        !file.contains(&admin.secret),
        "the file has only the digest"
    );
}

/// A proxy in front of the service may look at one of them, and the service at another.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_two_authorization_headers_has_no_caller() {
    let admin = Credential::new("operator", &["--role", "admin"]);
    let guarded = Guarded::start(&[&admin.line]).await;
    let mut client = KeyServiceClient::new(guarded.server.channel().await);
    for (first, second) in [
        (&*admin.secret, &*admin.secret),
        (&admin.secret, "tsop_garbage"),
        ("tsop_garbage", &admin.secret),
    ] {
        let mut request = Request::new(ListRequest {
            account_id: "acme".to_owned(),
            ..Default::default()
        });
        for secret in [first, second] {
            let value = format!("Bearer {secret}").parse().expect("ASCII");
            request.metadata_mut().append("authorization", value);
        }
        let refused = client.list(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        let told = "the call has more than one authorization header: send one";
        assert_eq!(refused.message(), told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_of_some_accounts_finds_no_key_of_other_accounts() {
    let all = Credential::new("operator", &["--role", "admin"]);
    let some = ["--role", "admin", "--accounts", "acme,initech"];
    let some = Credential::new("dashboard", &some);
    let guarded = Guarded::start(&[&all.line, &some.line]).await;
    let mut all = client(guarded.server.channel().await, &all.secret);
    let mut some = client(guarded.server.channel().await, &some.secret);
    let own = some.create("acme", "own").await.unwrap();
    let others = all.create("globex", "another's").await.unwrap();
    let (own_id, others_id) = (own.key.unwrap().key_id, others.key.unwrap().key_id);

    let refused = some.create("globex", "forbidden").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = some.list("globex").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(some.list("initech").await.unwrap(), []);
    let everywhere = || ListRequest {
        all_accounts: true,
        ..Default::default()
    };
    let refused = some.list_with(everywhere()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(all.list_with(everywhere()).await.unwrap().keys.len(), 2);
    for target in [
        Target::KeyId(others_id),
        Target::Token(others.token.clone()),
    ] {
        for account_id in [None, Some("globex".to_owned()), Some("acme".to_owned())] {
            let target = Some(target.clone());
            let request = RevokeRequest { target, account_id };
            let refused = some.revoke_with(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::NotFound);
        }
    }
    let decision = some.authorize(&others.token, "example.com").await.unwrap();
    let Decision::Denial(denial) = decision else {
        panic!("granted");
    };
    assert_eq!(denial.reason(), Reason::UnknownToken);
    assert_eq!((&*denial.key_id, &*denial.account_id), ("", ""));
    assert!(
        all.is_granted(&others.token).await,
        "the key of the other account is unchanged"
    );

    assert!(some.is_granted(&own.token).await);
    some.revoke(&own_id).await.unwrap();
    let decision = some.authorize(&own.token, "example.com").await.unwrap();
    let Decision::Denial(denial) = decision else {
        panic!("granted");
    };
    assert_eq!(denial.reason(), Reason::Revoked);
    assert_eq!((denial.key_id, &*denial.account_id), (own_id, "acme"));
    assert!(all.is_revoked(&own.token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_admin_call_of_an_authenticated_caller_is_logged_with_its_outcome() {
    let authorizer = Credential::new("sender", &["--role", "authorizer"]);
    let admin = Credential::new("dashboard", &["--role", "admin", "--accounts", "acme"]);
    let guarded = Guarded::start(&[&authorizer.line, &admin.line]).await;
    let channel = guarded.server.channel().await;
    let mut sender = client(channel.clone(), &authorizer.secret);
    let mut dashboard = client(channel, &admin.secret);
    let created = dashboard.create("acme", "a key").await.unwrap();
    let key_id = created.key.unwrap().key_id;
    dashboard.revoke(&key_id).await.unwrap();
    dashboard
        .list_with(ListRequest::default())
        .await
        .unwrap_err();
    dashboard.list("globex").await.unwrap_err();
    sender.revoke(&key_id).await.unwrap_err();

    let key = format!("\"account_id\":\"acme\",\"key_id\":\"{key_id}\"");
    let expected = [
        format!("\"caller\":\"dashboard\",\"method\":\"Create\",{key},\"outcome\":\"OK\""),
        format!("\"caller\":\"dashboard\",\"method\":\"Revoke\",{key},\"outcome\":\"OK\""),
        "\"caller\":\"dashboard\",\"method\":\"List\",\"outcome\":\"INVALID_ARGUMENT\"".to_owned(),
        "\"method\":\"List\",\"account_id\":\"globex\",\"outcome\":\"PERMISSION_DENIED\""
            .to_owned(),
        "\"caller\":\"sender\",\"method\":\"Revoke\",\"outcome\":\"PERMISSION_DENIED\"".to_owned(),
    ];
    for record in expected {
        eventually(&record, async || guarded.server.log().contains(&record)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_can_be_turned_off() {
    let admin = Credential::new("operator", &["--role", "admin"]);
    let guarded = Guarded::start_with(&[&admin.line], &["--reflection", "false"]).await;
    for version in ["v1", "v1alpha"] {
        let method = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let bearer = Bearer::secret(&admin.secret);
        let outcome = outcome(guarded.server.channel().await, &bearer, &method).await;
        assert_eq!(outcome, Code::Unimplemented);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unprotected_server_warns_on_loopback_and_refuses_other_addresses() {
    let server = Server::on_sqlite().await;
    let warning = "calls are in plain text and taken from anyone";
    assert_eq!(server.log().matches(warning).count(), 1);

    let directory = tempfile::tempdir().expect("a directory");
    let on_all_addresses = |more: &[&str]| {
        let mut command = serve();
        command.args(["--listen", "0.0.0.0:0", "--log-format", "json"]);
        command.args(["--store", &sqlite_in(&directory)]).args(more);
        command
    };
    let what_to_do = "give --tls-cert, --tls-key and --credentials";
    assert_refused(&mut on_all_addresses(&[]), &["0.0.0.0:0", what_to_do]).await;

    let insecure = Server::launch(&mut on_all_addresses(&["--insecure"]));
    eventually("it listens and logs a warning", async || {
        let log = insecure.log();
        log.contains("--insecure lets other machines reach") && log.contains("\"listening\"")
    })
    .await;
}
