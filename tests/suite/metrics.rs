//! Metrics: what is counted, that alerts and dashboard speak of what is there, and that no secret is.

use crate::support::{
    callers::{Credential, Shown, client, outcome},
    certificates::{Authority, Issued, connect},
    directory, eventually,
    keys_lock::KeysLock,
    mount::Mount,
    postgres::{Cluster, database_in},
    scrape::{METRICS, Scrape, request},
    search::Search,
    server::{Server, sqlite_in},
    tools::{fed, tool},
};
use keyservice::grpc::proto::{AuthorizeRequest, CreateRequest};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tonic::{Code, Request};

/// The files of a server that asks who calls, over TLS, and the arguments that name them.
fn protection(credential: &str, issued: &Issued) -> (Mount, Vec<String>) {
    let files = Mount::new(&files(credential, issued));
    let arguments = [
        METRICS.to_owned(),
        format!("--credentials={}", files.arg("callers")),
        format!("--tls-cert={}", files.arg("tls.crt")),
        format!("--tls-key={}", files.arg("tls.key")),
    ];
    (files, arguments.to_vec())
}

fn files<'a>(credential: &'a str, issued: &'a Issued) -> [(&'static str, &'a str); 3] {
    [
        ("callers", credential),
        ("tls.crt", &issued.certificate),
        ("tls.key", &issued.key),
    ]
}

const LIST: &str = "/tosend.keys.v1.KeyService/List";

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/monitoring")
        .join(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_decisions_are_counted_by_how_they_ended() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let mut client = server.client().await;
    let (token, key_id) = client.create_key().await;
    let restricted = CreateRequest {
        account_id: "acme".into(),
        name: "restricted".into(),
        domain: Some("other.example".into()),
        ..Default::default()
    };
    let restricted = client.create_with(restricted).await.expect("created").token;
    assert!(client.is_granted(&token).await);
    assert!(client.is_granted(&token).await);
    let unknown = token_of_another_server().await;
    for token in ["no token", &unknown, &restricted] {
        assert!(!client.is_granted(token).await);
    }
    client
        .authorize(&token, "no domain")
        .await
        .expect_err("bad input");
    client.revoke(&key_id).await.expect("revoked");
    assert!(client.is_revoked(&token).await);

    let scrape = Scrape::of(&server);
    assert_eq!(scrape.calls("Create", "OK"), 2.0);
    assert_eq!(scrape.calls("Revoke", "OK"), 1.0);
    assert_eq!(scrape.calls("Authorize", "OK"), 6.0);
    assert_eq!(scrape.calls("Authorize", "INVALID_ARGUMENT"), 1.0);
    for (outcome, reason, count) in [
        ("grant", "", 2.0),
        ("denial", "MALFORMED_TOKEN", 1.0),
        ("denial", "UNKNOWN_TOKEN", 1.0),
        ("denial", "DOMAIN_NOT_ALLOWED", 1.0),
        ("denial", "REVOKED", 1.0),
        ("denial", "EXPIRED", 0.0),
        ("none", "LEASE_LAPSED", 0.0),
    ] {
        let name =
            format!("keyservice_decisions_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}");
        assert_eq!(scrape.value(&name), count, "{name}");
    }
    for (status, count) in [("active", 1.0), ("revoked", 1.0), ("expired", 0.0)] {
        let name = format!("keyservice_keyring_keys{{status=\"{status}\"}}");
        assert_eq!(scrape.value(&name), count, "{name}");
    }
    assert_eq!(scrape.value("keyservice_applied_revision"), 3.0);
    let waits = "keyservice_write_wait_seconds_count{method=\"Create\"}";
    assert_eq!(scrape.value(waits), 2.0);
}

async fn token_of_another_server() -> String {
    let server = Server::on_sqlite().await;
    server.client().await.create_key().await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_refused_or_given_up_is_counted_too() {
    let cluster = Cluster::shared();
    let store = cluster.database();
    let admin = Credential::new("operator", &["--role", "admin"]);
    let files = Mount::new(&[("callers", &admin.line)]);
    let credentials = format!("--credentials={}", files.arg("callers"));
    let server = Server::start_with(&store, &[METRICS, &credentials], &[]).await;
    let refused = outcome(server.channel().await, &Shown::none(), LIST).await;
    assert_eq!(refused, Code::Unauthenticated);
    assert_eq!(Scrape::of(&server).calls("List", "UNAUTHENTICATED"), 1.0);

    let lock = KeysLock::take(&store).await;
    let mut client = client(server.channel().await, &admin.secret);
    let given_up = tokio::spawn(async move { client.create("acme", "a key").await });
    eventually("the Create waits", async || lock.holds_a_create().await).await;
    given_up.abort();
    eventually("it is counted", async || {
        Scrape::of(&server).calls("Create", "CANCELLED") == 1.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_lapses_and_a_store_in_trouble_are_seen() {
    let cluster = Cluster::start();
    let store = cluster.database();
    let server = Server::start_with(&store, &[METRICS, "--lease=1s"], &[]).await;
    let scrape = Scrape::of(&server);
    let left = scrape.value("keyservice_lease_left_seconds");
    assert!(left > 0.0 && left <= 0.9, "{left}");
    assert_eq!(scrape.value("keyservice_replicas"), 1.0);
    assert_eq!(scrape.value("keyservice_pool_max_connections"), 8.0);

    let database = database_in(&store).to_owned();
    cluster.psql(
        "postgres",
        &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"),
    );
    cluster.end_sessions(&format!("datname = '{database}'"));
    eventually("the lease has lapsed", async || {
        Scrape::of(&server).value("keyservice_lease_left_seconds") == 0.0
    })
    .await;
    let mut client = server.client().await;
    client
        .authorize("no token", "example.com")
        .await
        .expect_err("no lease");
    let scrape = Scrape::of(&server);
    let lapsed = "keyservice_decisions_total{outcome=\"none\",reason=\"LEASE_LAPSED\"}";
    assert_eq!(scrape.value(lapsed), 1.0);
    assert!(scrape.value("keyservice_store_errors_total{operation=\"renew\"}") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiring_certificate_and_files_that_make_no_sense_are_seen() {
    let authority = Authority::new();
    let issued = authority.server("localhost");
    let admin = Credential::new("operator", &["--role", "admin"]);
    let (mut mount, arguments) = protection(&admin.line, &issued);
    let directory = directory();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::spawn(&sqlite_in(&directory), &arguments, &[]).await;
    let scrape = Scrape::of(&server);
    let expiry = scrape.value("keyservice_tls_certificate_expiry_timestamp_seconds");
    assert_eq!(expiry, issued.not_after as f64);
    let failed = "keyservice_reload_failed{files=\"credentials\"}";
    assert_eq!(scrape.value(failed), 0.0);

    mount.swap(&files("operator emperor", &issued));
    eventually("it is seen", async || {
        Scrape::of(&server).value(failed) == 1.0
    })
    .await;
    mount.swap(&files(&admin.line, &issued));
    eventually("it is mended", async || {
        Scrape::of(&server).value(failed) == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_serves_metrics_and_nothing_else() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    for (method, path, status) in [
        ("GET", "/metrics", "200"),
        ("HEAD", "/metrics", "200"),
        ("GET", "/", "404"),
        ("GET", "/metrics/", "404"),
        ("POST", "/metrics", "405"),
    ] {
        let (head, body) = request(&server, method, path);
        let expected = format!("HTTP/1.1 {status}");
        assert!(head.starts_with(&expected), "{method} {path}: {head}");
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_caller_sent_or_was_told_is_among_the_metrics() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let mut client = server.client().await;
    let created = client
        .create("some-account", "some name")
        .await
        .expect("created");
    let key_id = created.key.expect("a key").key_id;
    let asked = AuthorizeRequest {
        token: created.token.clone(),
        domain: "some.example".into(),
    };
    client
        .0
        .authorize(Request::new(asked))
        .await
        .expect("an answer");
    let path = format!("/tosend.keys.v1.KeyService/{}", created.token);
    let unknown = outcome(server.channel().await, &Shown::none(), &path).await;
    assert_eq!(unknown, Code::Unimplemented);

    let scrape = Scrape::of(&server).text;
    assert_eq!(Search::new([&*created.token]).find(scrape.as_bytes()), None);
    for text in ["some-account", "some name", "some.example", &*key_id] {
        assert!(!scrape.contains(text), "{text}");
    }
    assert!(scrape.contains("rpc_method=\"_OTHER\""), "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_name_metrics_that_are_there_and_promtool_agrees() {
    let cluster = Cluster::shared();
    let authority = Authority::new();
    let issued = authority.server("localhost");
    let admin = Credential::new("operator", &["--role", "admin"]);
    let (_files, arguments) = protection(&admin.line, &issued);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::spawn(&cluster.database(), &arguments, &[]).await;
    let channel = connect(server.port(), &authority, None).await;
    outcome(channel.expect("connected"), &Shown::none(), LIST).await;
    eventually("it serves", async || {
        Scrape::of(&server).value("keyservice_lease_left_seconds") > 0.0
    })
    .await;
    let scrape = Scrape::of(&server);

    let names = scrape.names();
    for file in ["alerts.yml", "dashboard.json"] {
        let text = fs::read_to_string(monitoring(file)).expect("a file");
        let named = metrics_in(&text);
        assert!(named.len() >= 8, "{file} names {named:?}");
        for name in named {
            assert!(names.contains(name), "{name}, of {file}, is not there");
        }
    }
    promtool(&["check", "metrics"], &scrape.text);
    promtool(&["check", "rules", &path("alerts.yml")], "");
    promtool(&["test", "rules", &path("alerts_test.yml")], "");
}

fn path(file: &str) -> String {
    monitoring(file).display().to_string()
}

/// Whatever begins as our metrics do.
fn metrics_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let prefixes = ["keyservice_", "rpc_server_", "process_"];
    words
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

fn promtool(arguments: &[&str], input: &str) {
    let ran = fed(
        Command::new(tool("promtool")).args(arguments),
        input.as_bytes(),
    );
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "promtool {arguments:?}: {said}");
    assert!(said.trim().is_empty(), "promtool {arguments:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_metrics_is_complete() {
    let cluster = Cluster::shared();
    let server = Server::start_with(&cluster.database(), &[METRICS], &[]).await;
    server.client().await.create_key().await;
    let table = fs::read_to_string(monitoring("README.md")).expect("a file");
    let scrape = Scrape::of(&server);
    let families = scrape.text.lines().filter_map(|line| {
        let described = line.strip_prefix("# TYPE ")?;
        described.split(' ').next()
    });
    for family in families {
        assert!(
            table.contains(&format!("`{family}`")),
            "{family} is not told of"
        );
    }
}
