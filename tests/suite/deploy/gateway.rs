//! The gateway of `deploy/envoy/`: the real Envoy lets HTTP requests pass as KeyService answers.

use super::outages::Replicas;
use crate::support::{
    certificates::{Authority, endpoint},
    clients::callers::{BearerClient, Credential, client, domains_client},
    directory,
    envoy::{Api, Envoy},
    eventually,
    mount::Mount,
    postgres::{Cluster, free_port},
    server::{
        command_on,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
    tools::shell,
};
use http_body_util::{BodyExt, Full};
use keyservice::grpc::proto::AddDomainRequest;
use std::sync::Arc;
use tempfile::TempDir;
use tonic::body::Body;
use tower::{Service, ServiceExt};

const CONFIGURATION: &str = include_str!("../../../deploy/envoy/gateway.yaml");

/// What the page tells its reader to give KeyService.
const MESSAGE_SIZE: &str = "--max-message-size=81920";

const GATEWAY: &str = "spiffe://example.org/ns/mail/sa/gateway";

const EMAIL: &str =
    r#"-H "Content-Type: application/json" -d '{"from": {"email": "Acme <hello@example.com>"}}'"#;

const CHECK: &str = "envoy.service.auth.v3.Authorization/Check";

const JSON: &str = r#"-H "Content-Type: application/json""#;

/// The replica of the configuration.
const ENDPOINT: &str = "              - endpoint:
                  address:
                    socket_address: {address: localhost, port_value: 50051}
";

fn endpoints(replicas: &Replicas) -> String {
    let ports = replicas.ports().into_iter();
    let of_each = ports.map(|port| ENDPOINT.replace("50051", &port.to_string()));
    of_each.collect()
}

/// A gateway, the replicas that it asks, and an API behind it that shows what reaches it.
struct Gateway {
    envoy: Envoy,
    replicas: Replicas,
    authority: Arc<Authority>,
    https: u16,
    admin: BearerClient,
    token: String,
    key_id: String,
    _directory: Option<TempDir>,
}

impl Gateway {
    async fn start() -> Self {
        Self::start_with(|configuration| configuration).await
    }

    async fn start_with(change: impl FnOnce(String) -> String) -> Self {
        let directory = directory();
        let store = sqlite_in(&directory);
        Self {
            _directory: Some(directory),
            ..Self::start_on(&store, 1, change).await
        }
    }

    async fn start_on(store: &str, replicas: usize, change: impl FnOnce(String) -> String) -> Self {
        let authority = Arc::new(Authority::new());
        let [of_server, of_https] = [(); 2].map(|()| authority.server("localhost"));
        let of_gateway = authority.client_by_uri(GATEWAY);
        let operator = Credential::new("operator", &["--role", "admin"]);
        let gateway = format!("gateway authorizer certificate={GATEWAY}\n");
        let callers = Mount::new(&[("callers", &(gateway + &operator.line))]);
        let files = Mount::new(&[
            ("tls.crt", &of_server.certificate),
            ("tls.key", &of_server.key),
            ("ca.crt", &authority.pem()),
        ]);
        let store = store.to_owned();
        let replicas = Replicas::start(replicas, authority.clone(), move |port| {
            let mut command = command_on(port, &store);
            command.env_remove("KEYSERVICE_VERIFIED_DOMAINS");
            command.args(["--tls-cert", &files.arg("tls.crt")]);
            command.args(["--tls-key", &files.arg("tls.key")]);
            command.args(["--tls-client-ca", &files.arg("ca.crt")]);
            command.args(["--credentials", &callers.arg("callers")]);
            command.args([MESSAGE_SIZE, METRICS]);
            command
        })
        .await;

        let first = replicas.ports()[0];
        let channel = endpoint(first, &authority, None).connect_lazy();
        let mut domains = domains_client(channel.clone(), &operator.secret);
        eventually("a domain is added", async || {
            let added = domains.add_domain(AddDomainRequest {
                account_id: "acme".to_owned(),
                domain: "example.com".to_owned(),
                include_subdomains: false,
            });
            added.await.is_ok()
        })
        .await;
        let mut admin = client(channel, &operator.secret);
        let (token, key_id) = admin.create_key().await;

        let (api, https) = (Api::start().await, free_port());
        let configuration = CONFIGURATION
            .replace("8443", &https.to_string())
            .replace(ENDPOINT, &endpoints(&replicas))
            .replace("8080", &api.port.to_string());
        let of_envoy = [
            ("ca.crt", &*authority.pem()),
            ("https.crt", &of_https.certificate),
            ("https.key", &of_https.key),
            ("gateway.crt", &of_gateway.certificate),
            ("gateway.key", &of_gateway.key),
        ];
        let envoy = Envoy::start(&change(configuration), &of_envoy, https).await;
        Self {
            envoy,
            replicas,
            authority,
            https,
            admin,
            token,
            key_id,
            _directory: None,
        }
    }

    /// Runs a command line as it stands on a page, and returns the response with its head.
    fn curl(&self, line: &str) -> String {
        let line = line.replace("https://…", &format!("https://localhost:{}", self.https));
        let line = line.replace("tsend_…", &self.token);
        let options = format!(
            "--silent --include --max-time 10 --cacert {}/ca.crt",
            self.envoy.path().display()
        );
        let line = line.replacen("curl", &format!("curl {options}"), 1);
        let response = shell(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        response.replace('\r', "")
    }

    #[track_caller]
    fn assert_refused(&self, line: &str, status: u16, name: &str) -> String {
        let response = self.curl(line);
        let told = format!("{{\"statusCode\":{status},\"name\":\"{name}\",");
        assert!(
            response.starts_with(&format!("HTTP/2 {status}")),
            "{line}\n{response}"
        );
        assert!(response.contains(&told), "{line}\n{response}");
        assert!(
            response.contains("\ncontent-type: application/json\n"),
            "{response}"
        );
        response
    }

    #[track_caller]
    fn assert_reaches_api(&self, line: &str) -> String {
        let response = self.curl(line);
        assert!(response.starts_with("HTTP/2 200"), "{line}\n{response}");
        let (_, reached) = response.split_once("reached the API: ").expect("it did");
        reached.to_owned()
    }
}

const SEND: &str = r#"curl -X POST https://…/v2/emails -H "Authorization: Bearer tsend_…""#;

fn email(from: &str) -> String {
    format!(r#"{SEND} {JSON} -d '{{"to": ["a@b.example"], "from": {{"email": "{from}"}}}}'"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_the_api_with_its_key_and_whatever_a_client_says_of_itself_does_not() {
    let mut gateway = Gateway::start().await;
    let from_client = "-H 'x-keyservice-account-id: evil' -H 'X-KeyService-Account-ID: evil' \
        -H 'x-keyservice-key-id: evil' -H 'x-keyservice-domain: evil' \
        -H 'x-keyservice-domain-checked: evil' -H 'x-keyservice-other: evil'";
    let line = email("Acme <hello@EXAMPLE.com>");
    let reached = gateway.assert_reaches_api(&format!("{line} {from_client}"));
    let key_id = gateway.key_id.clone();
    let own = |reached: &str| {
        let lines = reached
            .lines()
            .filter(|line| line.starts_with("x-keyservice-"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let with_domain = [
        "x-keyservice-account-id: acme".to_owned(),
        format!("x-keyservice-key-id: {key_id}"),
        "x-keyservice-domain-checked: true".to_owned(),
        "x-keyservice-domain: example.com".to_owned(),
    ];
    assert_eq!(own(&reached), with_domain);
    assert!(reached.contains("hello@EXAMPLE.com"), "{reached}");
    assert!(
        !reached.contains("evil") && !reached.contains(&gateway.token),
        "{reached}"
    );

    let line = r#"curl https://…/v2/emails -H "Authorization: Bearer tsend_…""#;
    let reached = gateway.assert_reaches_api(&format!("{line} {from_client}"));
    let without_domain = [
        "x-keyservice-account-id: acme".to_owned(),
        format!("x-keyservice-key-id: {key_id}"),
        "x-keyservice-domain-checked: false".to_owned(),
    ];
    assert_eq!(own(&reached), without_domain);

    gateway.admin.revoke(&key_id).await.expect("revoked");
    let response = gateway.assert_refused(line, 401, "revoked_api_key");
    let challenge = "\nwww-authenticate: Bearer realm=\"api\", error=\"invalid_token\"\n";
    assert!(response.contains(challenge), "{response}");
}

/// Servers disagree about which names are the same, and some take a method or a path from a header.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_only_look_like_those_of_the_service_do_not_reach_the_api() {
    let gateway = Gateway::start().await;
    let from_client = [
        "x.keyservice.account.id",
        "X.KeyService.Account.Id",
        "x-keyservice.domain",
        "x~keyservice-domain",
        "x--keyservice-domain",
        "xkeyservice-domain",
        "x-keyservice",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "x.http.method.override",
        "X-Original-URL",
        "X-Rewrite-URL",
    ];
    let from_client = from_client
        .map(|name| format!("-H '{name}: evil'"))
        .join(" ");
    let get = r#"curl https://…/v2/emails -H "Authorization: Bearer tsend_…""#;
    for line in [email("hello@example.com"), get.to_owned()] {
        for version in ["--http2", "--http1.1"] {
            let response = gateway.curl(&format!(
                "{line} {version} {from_client} -H 'x-other: kept'"
            ));
            assert!(response.contains("\nx-other: kept\n"), "{response}");
            assert!(!response.contains("evil"), "{response}");
        }
        let underscore = format!("{line} --http1.1 -H 'x_keyservice_account_id: evil'");
        let response = gateway.curl(&underscore);
        assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_client_do_not_reach_an_api_that_speaks_http_2() {
    let gateway = Gateway::start_with(|configuration| {
        let (before, api) = configuration
            .split_once("    - name: mail_api\n      type")
            .expect("it");
        let http_2 = "      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {http2_protocol_options: {}}
";
        format!("{before}    - name: mail_api\n{http_2}      type{api}")
    })
    .await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-keyservice-account-id", "evil".parse().expect("a value"));
    trailers.insert("x-other", "evil".parse().expect("a value"));
    let message = Full::from(r#"{"from": {"email": "hello@example.com"}}"#);
    let message = message.with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = http::Request::post("/v2/emails")
        .header("authorization", format!("Bearer {}", gateway.token))
        .header("content-type", "application/json")
        .body(Body::new(message))
        .expect("a request");
    let mut https = endpoint(gateway.https, &gateway.authority, None).connect_lazy();
    let https = https.ready().await.expect("it is reached");
    let response = https.call(request).await.expect("an answer");
    let reached = response.into_body().collect().await.expect("it is whole");
    let reached = String::from_utf8(reached.to_bytes().to_vec()).expect("text");
    assert!(
        reached.contains("x-keyservice-account-id: acme"),
        "{reached}"
    );
    assert!(!reached.contains("evil"), "{reached}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_granted_does_not_reach_the_api() {
    let gateway = Gateway::start().await;
    let refused = |line: &str, status, name| gateway.assert_refused(line, status, name);
    let get = "curl https://…/v2/emails";
    let response = refused(get, 401, "missing_api_key");
    assert!(
        response.contains("\nwww-authenticate: Bearer realm=\"api\"\n"),
        "{response}"
    );
    let bearer = r#"-H "Authorization: Bearer tsend_…""#;
    refused(
        &format!("{get} -H 'Authorization: Bearer tsend_x'"),
        401,
        "invalid_api_key",
    );
    refused(&format!("{get} {bearer} {bearer}"), 400, "several_api_keys");
    refused(SEND, 400, "missing_body");
    refused(&format!("{SEND} {JSON} -d '{{'"), 400, "invalid_json");
    refused(
        &format!("{SEND} -d '{{\"from\": {{\"email\": \"a@example.com\"}}}}'"),
        400,
        "invalid_content_type",
    );
    let other_charset = JSON.replace("json", "json; charset*0=utf-7");
    refused(
        &email("a@example.com").replace(JSON, &other_charset),
        400,
        "invalid_content_type",
    );
    refused(
        &(email("a@example.com") + " -H 'Content-Encoding: gzip'"),
        400,
        "invalid_content_encoding",
    );
    refused(
        &email("a@example.com, b@example.com"),
        400,
        "several_senders",
    );
    refused(&email("a@example.org"), 403, "domain_not_verified");
    // Nobody can have another method, path or encoding judged by less.
    for line in [
        email("a@example.org").replace("POST", "PUT"),
        email("a@example.org").replace("/v2/emails", "/v2//emails/"),
        email("a@example.org").replace("/v2/emails", "/v2/./x/../emails?a"),
        email("a@example.org").replace("POST", "POST -H 'X-HTTP-Method-Override: GET'"),
    ] {
        refused(&line, 403, "domain_not_verified");
    }
    for (path, status) in [("/", 404), ("/v2/../v1/emails", 404), ("/v2/a%2Fb", 400)] {
        let response = gateway.curl(
            &SEND
                .replace("/v2/emails", path)
                .replace("curl", "curl --path-as-is"),
        );
        assert!(
            response.starts_with(&format!("HTTP/2 {status}")),
            "{path} {response}"
        );
    }
    assert!(!gateway.replicas.servers[0].log().contains(&gateway.token));
}

/// A body that Envoy cuts off is never judged by its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_body_is_judged_and_a_larger_one_is_refused() {
    let gateway = Gateway::start().await;
    let body = r#"{"from": {"email": "a@example.com"}}"#;
    let send = |size: usize, more: &str| {
        let padded = body.to_owned() + &" ".repeat(size - body.len());
        std::fs::write(gateway.envoy.path().join("body"), padded).expect("written");
        let path = gateway.envoy.path().join("body").display().to_string();
        // Envoy may answer before the whole body has come, and curl reports that.
        gateway.curl(&format!(
            "{SEND} {JSON} {more} --data-binary @{path} || true"
        ))
    };
    // Envoy sends what comes to 8 KiB of headers, and the path apart from them.
    let long = "a".repeat(7500);
    for more in [
        String::new(),
        format!("-H 'x-a: {long}'"),
        format!("--url-query {long}"),
    ] {
        let response = send(65536, &more);
        assert!(
            response.contains("reached the API"),
            "{}",
            &response[..500.min(response.len())]
        );
    }
    // With HTTP/2, curl may lose an answer that comes before it has sent the body.
    for (size, more) in [(65537, ""), (70_000, ""), (500_000, "--http1.1")] {
        let response = send(size, more);
        let status = response.split(' ').nth(1).expect("a status");
        assert!(["413", "400"].contains(&status), "{size}: {response}");
        assert!(
            response.contains(r#""name":"body_too_large""#),
            "{size}: {response}"
        );
        assert!(!response.contains("reached the API"), "{size}: {response}");
    }
}

/// Readers leave such bytes out or replace them, and may find another sender then.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_bytes_that_are_no_text_is_refused_wherever_they_stand() {
    let gateway = Gateway::start().await;
    let path = gateway.envoy.path().join("body");
    for body in [
        &b"{\"from\": {\"email\": \"a@example.com\"}, \"fr\xffom\": {\"email\": \"a@evil.example\"}}"[..],
        b"{\"from\": {\"email\": \"a@example.com\", \"em\xffail\": \"a@evil.example\"}}",
        b"{\"from\": {\"email\": \"Acme\xff <a@example.com>\"}}",
        b"{\"from\": {\"email\": \"a@example.com\"}, \"x\": \"\xc0\xa2\"}",
        b"{\"from\": {\"email\": \"a@example.com\"}, \"x\": [\"\xed\xa0\x80\"]}",
    ] {
        std::fs::write(&path, body).expect("written");
        let line = format!("{SEND} {JSON} --data-binary @{}", path.display());
        gateway.assert_refused(&line, 400, "invalid_json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_this_service_are_removed_on_a_route_that_asks_nobody() {
    let gateway = Gateway::start_with(|configuration| {
        let routes = "                      routes:\n";
        let open = "                        - match: {path: /open}
                          route: {cluster: mail_api}
                          typed_per_filter_config:
                            envoy.filters.http.ext_authz:
                              \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                              disabled: true
";
        configuration.replace(routes, &format!("{routes}{open}"))
    })
    .await;
    let line = "curl https://…/open -H 'x-keyservice-account-id: evil' -H 'X-KEYSERVICE-x: evil'";
    let reached = gateway.assert_reaches_api(line);
    assert!(!reached.contains("evil"), "{reached}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_no_request_passes_and_a_wrong_route_is_logged() {
    let mut gateway = Gateway::start_with(|configuration| {
        configuration.replace(
            "keyservice.domain-from: none",
            "keyservice.domain-form: none",
        )
    })
    .await;
    let get = r#"curl https://…/v2/emails -H "Authorization: Bearer tsend_…""#;
    gateway.assert_refused(get, 503, "service_unavailable");
    let log = gateway.replicas.servers[0].log();
    assert!(
        log.contains("a gateway's requests are refused with 503: context_extensions"),
        "{log}"
    );
    gateway.replicas.servers[0].signal("STOP");
    let while_it_hangs = gateway.curl(&email("a@example.com"));
    gateway.replicas.servers[0].signal("CONT");
    assert!(while_it_hangs.starts_with("HTTP/2 503"), "{while_it_hangs}");
    assert!(!while_it_hangs.contains("reached"), "{while_it_hangs}");
    eventually("it is asked again", async || {
        gateway
            .curl(&email("a@example.com"))
            .starts_with("HTTP/2 200")
    })
    .await;
    gateway.replicas.servers[0].signal("KILL");
    gateway.replicas.servers[0].wait_for_exit().await;
    let response = gateway.curl(&email("a@example.com"));
    assert!(response.starts_with("HTTP/2 503"), "{response}");
}

/// What Envoy joins by commas without `encode_raw_headers` is refused too.
#[tokio::test(flavor = "multi_thread")]
async fn two_values_are_seen_in_either_way_of_sending_headers_and_the_bare_line_passes_without_a_domain()
 {
    let gateway = Gateway::start_with(|configuration| {
        let raw = "encode_raw_headers: true";
        assert!(configuration.contains(raw));
        let configuration = configuration.replace(raw, "encode_raw_headers: false");
        configuration
            .replace(
                "keyservice.domain-from: none",
                "keyservice.domain-from: \"header:x-sending-domain\"",
            )
            .replace("\"body:/from/email\"", "none")
            .replace("- {exact: content-type, ", "- {prefix: x-, ")
    })
    .await;
    let reached = gateway.assert_reaches_api(SEND);
    assert!(
        reached.contains("x-keyservice-domain-checked: false"),
        "{reached}"
    );
    let bearer = r#"-H "Authorization: Bearer tsend_…""#;
    let get = format!("curl https://…/v2/emails {bearer}");
    gateway.assert_refused(&format!("{get} {bearer}"), 400, "several_api_keys");
    let (one, other) = (
        "-H 'X-Sending-Domain: example.com'",
        "-H 'x-sending-domain: b.example'",
    );
    let reached = gateway.assert_reaches_api(&format!("{get} {one}"));
    assert!(
        reached.contains("x-keyservice-domain: example.com"),
        "{reached}"
    );
    gateway.assert_refused(&format!("{get} {one} {other}"), 400, "several_senders");
    gateway.assert_refused(&get, 400, "missing_sender");
    let decisions = Scrape::of(&gateway.replicas.servers[0]);
    assert!(decisions.calls(CHECK, "OK") >= 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_one_replica_is_restarted_killed_or_hangs() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let mut gateway = Gateway::start_on(&store, 3, |configuration| configuration).await;
    let https = endpoint(gateway.https, &gateway.authority, None).connect_lazy();
    let token = gateway.token.clone();
    let send = move || {
        let mut https = https.clone();
        let message = r#"{"from": {"email": "hello@example.com"}}"#;
        let request = http::Request::post("/v2/emails")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::new(Full::from(message)))
            .expect("a request");
        async move {
            let https = https.ready().await.map_err(|error| error.to_string())?;
            let response = https.call(request).await;
            match response.map_err(|error| error.to_string())?.status() {
                http::StatusCode::OK => Ok(()),
                other => Err(other.to_string()),
            }
        }
    };
    gateway.replicas.assert_no_outage_is_noticed(send).await;
}
