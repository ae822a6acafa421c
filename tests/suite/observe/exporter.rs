//! The exporter of traces does what OpenTelemetry's standard variables say.

use crate::support::{
    certificates::Authority,
    directory, eventually,
    mount::Mount,
    server::{self, Server, assert_refused, collector::Collector, sqlite_in},
};
use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CLIENT_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const CLIENT_KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
const NO_ROOTS: [(&str, &str); 2] = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/never")];

/// A server in this environment which makes a call, and sends its span at once.
async fn calling(env: &[(&str, &str)]) -> (Server, TempDir) {
    let directory = directory();
    let at_once = [("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let env = [&at_once, env].concat();
    let server = Server::start_with(&sqlite_in(&directory), &[], &env).await;
    server.client().await.create_key().await;
    (server, directory)
}

async fn assert_spans_arrive(collector: &Collector, env: &[(&str, &str)]) -> Server {
    let env = [&[collector.env()], env].concat();
    let (server, _directory) = calling(&env).await;
    eventually(&format!("spans arrive with {env:?}"), async || {
        !collector.spans().is_empty()
    })
    .await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_verified_by_the_given_authority_or_the_systems() {
    let authority = Authority::new();
    let path = authority.path();
    let ca = path.to_str().expect("UTF-8");
    for env in [
        &[(CERTIFICATE, ca)][..],
        &[
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", ca),
            (CERTIFICATE, "/never"),
        ],
        &[("SSL_CERT_FILE", ca)],
    ] {
        let collector = Collector::encrypted(&authority, None).await;
        assert_spans_arrive(&collector, env).await;
    }
    let collector = Collector::encrypted(&Authority::new(), None).await;
    let (server, _directory) = calling(&[collector.env(), (CERTIFICATE, ca)]).await;
    eventually("the failure is logged", async || {
        server.log().contains("BatchSpanProcessor.ExportError")
    })
    .await;
    assert!(collector.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_shown_the_clients_certificate() {
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let collector = Collector::encrypted(&authority, Some(&of_clients)).await;
    let client = of_clients.client_by_uri("spiffe://test/keyservice");
    let files = Mount::new(&[
        ("ca", &authority.pem()),
        ("cert", &client.certificate),
        ("key", &client.key),
    ]);
    let env = [
        (CERTIFICATE, &*files.arg("ca")),
        (CLIENT_CERTIFICATE, &files.arg("cert")),
        (CLIENT_KEY, &files.arg("key")),
    ];
    let server = assert_spans_arrive(&collector, &env).await;
    assert!(server.log().contains(CLIENT_KEY), "others may read the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_compression_are_sent() {
    let collector = Collector::start().await;
    let env = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=keys%20eu,x-other=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
    ];
    assert_spans_arrive(&collector, &env).await;
    assert_eq!(collector.header("x-tenant").as_deref(), Some("keys eu"));
    assert_eq!(collector.header("x-other").as_deref(), Some("1"));
    assert_eq!(collector.header("grpc-encoding").as_deref(), Some("gzip"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_takes_no_longer_than_its_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let begun = Instant::now();
    let (server, _directory) =
        calling(&[(ENDPOINT, &endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "100")]).await;
    eventually("the failure is logged", async || {
        server.log().contains("BatchSpanProcessor.ExportError")
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ignored_is_said() {
    let collector = Collector::start().await;
    let (name, endpoint) = collector.env();
    let (server, _directory) = calling(&[
        (name, endpoint),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        (CERTIFICATE, "/etc/hunter2"),
    ])
    .await;
    for said in [
        "OTEL_EXPORTER_OTLP_INSECURE is ignored: the endpoint's http:// or https:// decides",
        "OTEL_EXPORTER_OTLP_COMPRESSION is ignored: give gzip or none",
        "OTEL_EXPORTER_OTLP_CERTIFICATE is ignored: the endpoint is not https://",
    ] {
        assert!(
            server.log().contains(said),
            "{said} is missing in: {}",
            server.log()
        );
    }
    assert!(!server.log().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_there_cannot_be_is_refused_with_advice() {
    let (authority, other) = (
        Authority::new(),
        Authority::new().client_by_uri("spiffe://a"),
    );
    let client = authority.client_by_uri("spiffe://b");
    let files = Mount::new(&[
        ("ca", &authority.pem()),
        ("cert", &client.certificate),
        ("key", &client.key),
        ("other", &other.key),
        ("words", "hunter2"),
    ]);
    let [ca, cert, key, other, words] =
        ["ca", "cert", "key", "other", "words"].map(|it| files.arg(it));
    let ca = (CERTIFICATE, &*ca);
    for (env, advice) in [
        (
            &NO_ROOTS[..],
            "no root certificate to verify the collector by",
        ),
        (
            &[(CERTIFICATE, "/never/hunter2")],
            "OTEL_EXPORTER_OTLP_CERTIFICATE: there is no such file",
        ),
        (&[(CERTIFICATE, &words)], "holds no certificate (PEM)"),
        (
            &[ca, (CLIENT_KEY, &key)],
            "OTEL_EXPORTER_OTLP_CLIENT_KEY needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        ),
        (
            &[ca, (CLIENT_CERTIFICATE, &cert)],
            "needs OTEL_EXPORTER_OTLP_CLIENT_KEY",
        ),
        (
            &[ca, (CLIENT_CERTIFICATE, &cert), (CLIENT_KEY, &cert)],
            "a certificate and no private key",
        ),
        (
            &[ca, (CLIENT_CERTIFICATE, &cert), (CLIENT_KEY, &other)],
            "do not belong together",
        ),
    ] {
        let mut command: Command = server::command("sqlite:/never/opened");
        command.env(ENDPOINT, "https://localhost:4317");
        assert_refused(command.envs(env.iter().copied()), &[advice]).await;
    }
}
