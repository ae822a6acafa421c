//! TLS: client certificates, and files that are reloaded while connections are open.

use super::SOON;
use crate::support::{
    certificates::{Authority, Issued, Resuming, TlsClient, connect, junk_certificate},
    clients::callers::{Bearer, Credential, client, outcome},
    eventually,
    hostile::frames::{PREFACE, RawClient, client_hello, no_settings},
    mount::Mount,
    server::{
        Client, Server,
        collector::Collector,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
    tools::shell,
};
use keyservice::grpc::proto::key_service_client::KeyServiceClient;
use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};
use std::{
    io,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const SPIFFE_ID: &str = "spiffe://example.org/ns/mail/sa/dashboard";
const LIST: &str = "/tosend.keys.v1.KeyService/List";
const AUTHORIZE: &str = "/tosend.keys.v1.KeyService/Authorize";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A server with TLS and client certificates, whose files are mounted as Kubernetes mounts them.
pub(super) struct Encrypted {
    pub(super) server: Server,
    /// Signs the certificates of the server and of its clients.
    pub(super) authority: Authority,
    tls: Mount,
    _callers: Mount,
    _directory: TempDir,
}

impl Encrypted {
    pub(super) async fn start(callers: &str, args: &[&str]) -> Self {
        Self::start_as(Authority::new(), callers, args).await
    }

    pub(super) async fn start_as(authority: Authority, callers: &str, args: &[&str]) -> Self {
        Self::start_in(&[], authority, callers, args).await
    }

    async fn start_in(
        env: &[(&str, &str)],
        authority: Authority,
        callers: &str,
        args: &[&str],
    ) -> Self {
        let tls = Mount::new(&files(&authority.server("localhost"), &authority.pem()));
        let callers = Mount::new(&[("callers", &format!("{callers}\n"))]);
        let directory = tempfile::tempdir().expect("a directory");
        let paths = ["tls.crt", "tls.key", "ca.crt"].map(|name| tls.arg(name));
        let [certificate, key, client_ca] = &paths;
        let credentials = callers.arg("callers");
        let args = [
            &["--tls-cert", certificate, "--tls-key", key][..],
            &["--tls-client-ca", client_ca],
            &["--credentials", &credentials],
            args,
        ]
        .concat();
        let server = Server::start_listening(&sqlite_in(&directory), &args, env).await;
        let encrypted = Self {
            server,
            authority,
            tls,
            _callers: callers,
            _directory: directory,
        };
        let mut health = HealthClient::new(encrypted.channel(None).await);
        eventually("the server reports SERVING", async || {
            let answer = health.check(HealthCheckRequest::default()).await;
            answer.is_ok_and(|answer| answer.get_ref().status == 1)
        })
        .await;
        encrypted
    }

    async fn channel(&self, client: Option<&Issued>) -> Channel {
        let channel = connect(self.server.port(), &self.authority, client).await;
        channel.expect("it is connected")
    }

    /// Whether a caller with this certificate may call List.
    async fn authenticates(&self, identity: &Issued) -> bool {
        let connected = connect(self.server.port(), &self.authority, Some(identity)).await;
        // With TLS 1.3, a client completes its handshake before the server refuses it, so its first
        // call fails.
        match connected {
            Ok(channel) => outcome(channel, &Bearer::none(), LIST).await == Code::InvalidArgument,
            Err(_) => false,
        }
    }

    fn reload_failed(&self) -> f64 {
        Scrape::of(&self.server).value("keyservice_reload_failed{files=\"tls\"}")
    }

    async fn is_trusted_as(&self, authority: &Authority) -> bool {
        connect(self.server.port(), authority, None).await.is_ok()
    }
}

fn files<'a>(server: &'a Issued, client_ca: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("tls.crt", &server.certificate),
        ("tls.key", &server.key),
        ("ca.crt", client_ca),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_authenticated_by_the_uri_or_the_host_in_its_certificate() {
    let lines = format!(
        "dashboard admin certificate={SPIFFE_ID}\nsender authorizer certificate=Sender.example.org"
    );
    let encrypted = Encrypted::start(&lines, &[]).await;
    let authority = &encrypted.authority;
    let dashboard = authority.client_by_uri(SPIFFE_ID);
    let sender = authority.client_by_host("sender.example.org");
    let unlisted = authority.client_by_uri("spiffe://example.org/ns/mail/sa/other");
    // The name matches, but it is a host name and the list has a URI.
    let disguised = authority.client_by_host(SPIFFE_ID);
    let (passed, denied, unknown) = (
        Code::InvalidArgument,
        Code::PermissionDenied,
        Code::Unauthenticated,
    );
    for (identity, of_list, of_authorize) in [
        (Some(&dashboard), passed, passed),
        (Some(&sender), denied, passed),
        (Some(&unlisted), unknown, unknown),
        (Some(&disguised), unknown, unknown),
        (None, unknown, unknown),
    ] {
        let channel = encrypted.channel(identity).await;
        let nothing = Bearer::none();
        assert_eq!(outcome(channel.clone(), &nothing, LIST).await, of_list);
        assert_eq!(
            outcome(channel.clone(), &nothing, AUTHORIZE).await,
            of_authorize
        );
        assert_eq!(outcome(channel, &nothing, HEALTH).await, Code::Ok);
    }
    // Whoever has forgotten a line in the credentials file finds its name here.
    let log = encrypted.server.log();
    let said = [
        r#""method":"tosend.keys.v1.KeyService/Authorize","names":"spiffe://example.org/ns/mail/sa/other""#,
        "a call was refused: unknown caller: no caller has a name of this client certificate",
        "a call was refused: unknown caller: the call has no authorization header",
    ];
    for said in said {
        assert!(log.contains(said), "{said} is not in {log}");
    }
}

/// Otherwise the order of the names would decide which rights the certificate gives.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_with_the_names_of_two_callers_authenticates_nobody_and_the_log_says_why() {
    let other = "spiffe://example.org/ns/mail/sa/sender";
    let again = "spiffe://example.org/ns/mail/sa/sender-2";
    let lines = format!(
        "dashboard admin certificate={SPIFFE_ID}\n\
         sender authorizer certificate={other} certificate={again}"
    );
    // With spans, each caller is looked up twice.
    let collector = Collector::start().await;
    let authority = Authority::new();
    let encrypted = Encrypted::start_in(&[collector.env()], authority, &lines, &[]).await;
    let call = async |uris: &[&str], method| {
        let identity = encrypted.authority.client_by_uris(uris);
        let channel = encrypted.channel(Some(&identity)).await;
        outcome(channel, &Bearer::none(), method).await
    };
    for uris in [[SPIFFE_ID, other], [other, SPIFFE_ID]] {
        for method in [LIST, AUTHORIZE] {
            assert_eq!(call(&uris, method).await, Code::Unauthenticated);
        }
        assert_eq!(call(&uris, HEALTH).await, Code::Ok);
    }
    // Names of one caller, and names that are not listed, do no harm.
    let unlisted = "spiffe://example.org/ns/mail/sa/none";
    let of_one = call(&[unlisted, again, other], AUTHORIZE).await;
    assert_eq!(of_one, Code::InvalidArgument);
    let log = encrypted.server.log();
    let reason = "the certificate has names of two callers, ";
    assert_eq!(log.matches(reason).count(), 4, "once for each call: {log}");
}

/// A server that takes a client's certificate only if no list of the mount says that it is revoked.
async fn start_with_lists(authority: Authority, lists: &str) -> (Encrypted, Mount) {
    let lists = Mount::new(&[("ca.crl", lists)]);
    let line = format!(
        "dashboard admin certificate={SPIFFE_ID} certificate={SPIFFE_ID}/2\n{}",
        Credential::new("operator", &["--role", "admin"]).line
    );
    let args = [
        METRICS,
        "--handshake-timeout=1m",
        "--tls-client-crl",
        &lists.arg("ca.crl"),
    ];
    let encrypted = Encrypted::start_as(authority, &line, &args).await;
    (encrypted, lists)
}

/// A start takes it, because no other one is there. Clients that verify it refuse it until it is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_valid_now_replaces_none_that_is_and_is_shown_after_a_start() {
    let callers = "a admin certificate=a.example.org";
    let mut encrypted = Encrypted::start(callers, &[METRICS]).await;
    let ca = encrypted.authority.pem();
    let (valid, expired, future) = (
        encrypted.authority.server("localhost"),
        encrypted.authority.expired_server("localhost"),
        encrypted.authority.future_server("localhost"),
    );
    for (certificate, said) in [
        (expired, "expired at 2000-01-02T00:00:00Z, and "),
        (future, "is not valid before 2100-01-01T00:00:00Z, and "),
    ] {
        assert_eq!(encrypted.reload_failed(), 0.0);
        let warning = format!("tls.crt: the certificate {said}");
        let own = files(&certificate, &ca);
        encrypted.tls.swap(&own);
        let kept = format!("{warning}the one that was read before stays in use");
        eventually(&kept, async || encrypted.server.log().contains(&kept)).await;
        assert!(encrypted.is_trusted_as(&encrypted.authority).await);
        assert_eq!(encrypted.reload_failed(), 1.0);

        let mount = Mount::new(&own);
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, key) = (mount.arg("tls.crt"), mount.arg("tls.key"));
        let args = ["--tls-cert", &certificate, "--tls-key", &key];
        let server = Server::start_listening(&sqlite_in(&directory), &args, &[]).await;
        let refused = format!("{warning}clients refuse it");
        eventually(&refused, async || server.log().contains(&refused)).await;

        encrypted.tls.swap(&files(&valid, &ca));
        eventually("the valid one is in use", async || {
            encrypted.reload_failed() == 0.0
        })
        .await;
    }
}

/// A handshake in which the server has answered, and waits for the client's certificate.
struct Handshake {
    client: JoinHandle<io::Result<TlsStream<DuplexStream>>>,
    relay: DuplexStream,
    server: TcpStream,
}

impl Handshake {
    async fn begin(port: u16, client: TlsClient) -> Self {
        let (stream, mut relay) = duplex(64 * 1024);
        let client = tokio::spawn(client.connect_over(stream));
        let server = TcpStream::connect(("127.0.0.1", port)).await;
        let mut server = server.expect("it listens");
        let mut hello = [0; 16 * 1024];
        let length = relay.read(&mut hello).await.expect("a hello");
        server.write_all(&hello[..length]).await.expect("sent");
        server.readable().await.expect("an answer");
        Self {
            client,
            relay,
            server,
        }
    }

    /// Goes on. Returns whether the server speaks HTTP/2 then.
    async fn finish(self) -> bool {
        let (mut relay, mut server) = (self.relay, self.server);
        tokio::spawn(async move { copy_bidirectional(&mut relay, &mut server).await });
        let session = self.client.await.expect("no panic");
        let mut session = session.expect("with TLS 1.3, it ends before the server has judged");
        let greeting = [PREFACE, &no_settings()].concat();
        // The server may have closed it.
        let _ = session.write_all(&greeting).await;
        let read = timeout(SOON, session.read_u8()).await;
        read.expect("an answer or the end").is_ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_revoked_during_its_handshake_is_refused() {
    let authority = Authority::new();
    let revoked = authority.client_by_uri(SPIFFE_ID);
    let (empty, list) = (
        authority.revocation_list(&[], 2100),
        authority.revocation_list(&[&revoked], 2100),
    );
    let (encrypted, mut lists) = start_with_lists(authority, &empty).await;
    let port = encrypted.server.port();
    let client = || TlsClient::new(&encrypted.authority);
    let with_certificate = Handshake::begin(port, client().shows(&revoked)).await;
    let without = Handshake::begin(port, client()).await;
    lists.swap(&[("ca.crl", &list)]);
    eventually("the list is in use", async || {
        let log = encrypted.server.log();
        log.contains("--tls-client-crl: changed, and in use")
    })
    .await;
    assert!(!with_certificate.finish().await);
    assert!(without.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_as_soon_as_the_list_names_it() {
    let authority = Authority::new();
    let (kept, revoked) = (
        authority.client_by_uri(SPIFFE_ID),
        authority.client_by_uri(&format!("{SPIFFE_ID}/2")),
    );
    let (empty, list) = (
        authority.revocation_list(&[], 2100),
        authority.revocation_list(&[&revoked], 2100),
    );
    let (encrypted, mut lists) = start_with_lists(authority, &empty).await;
    assert!(encrypted.authenticates(&kept).await);
    assert!(encrypted.authenticates(&revoked).await);

    lists.swap(&[("ca.crl", &list)]);
    eventually("the revoked certificate is refused", async || {
        !encrypted.authenticates(&revoked).await
    })
    .await;
    assert!(encrypted.authenticates(&kept).await);
    eventually("it is logged", async || {
        encrypted
            .server
            .log()
            .contains("a TLS handshake failed: the client's certificate is revoked")
    })
    .await;

    lists.swap(&[("ca.crl", "not a list")]);
    eventually("the error is logged", async || {
        encrypted
            .server
            .log()
            .contains("stays in use: --tls-client-crl")
    })
    .await;
    assert!(!encrypted.authenticates(&revoked).await);
    let scrape = Scrape::of(&encrypted.server);
    assert_eq!(
        scrape
            .value("keyservice_reload_failed{files=\"tls\"}")
            .to_string(),
        "1"
    );
}

/// Nobody knows which certificates were revoked since.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_list_refuses_certificates_until_it_is_replaced_and_bearer_secrets_go_on() {
    let authority = Authority::new();
    let identity = authority.client_by_uri(SPIFFE_ID);
    let (expired, current) = (
        authority.revocation_list(&[], 2001),
        authority.revocation_list(&[], 2100),
    );
    let (encrypted, mut lists) = start_with_lists(authority, &expired).await;
    assert!(!encrypted.authenticates(&identity).await);
    let without = encrypted.channel(None).await;
    let unknown = outcome(without, &Bearer::secret("tsop_wrong"), LIST).await;
    assert_eq!(unknown, Code::Unauthenticated, "the connection stands");
    assert!(
        encrypted
            .server
            .log()
            .contains("--tls-client-crl: a list has expired")
    );
    let expiry = "keyservice_tls_client_crl_expiry_timestamp_seconds";
    let new_year_2002 = 1_009_843_200.0;
    assert!(Scrape::of(&encrypted.server).value(expiry) < new_year_2002);

    lists.swap(&[("ca.crl", &current)]);
    eventually("the certificate is taken", async || {
        encrypted.authenticates(&identity).await
    })
    .await;
    assert!(Scrape::of(&encrypted.server).value(expiry) > new_year_2002);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_refused_where_no_list_of_its_authority_is_given() {
    let authority = Authority::new();
    let identity = authority.client_by_uri(SPIFFE_ID);
    let of_another = Authority::named("another").revocation_list(&[], 2100);
    let (encrypted, mut lists) = start_with_lists(authority, &of_another).await;
    assert!(!encrypted.authenticates(&identity).await);
    let own = encrypted.authority.revocation_list(&[], 2100);
    lists.swap(&[("ca.crl", &format!("{of_another}{own}"))]);
    eventually("the certificate is taken", async || {
        encrypted.authenticates(&identity).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_from_another_authority_authenticates_nobody() {
    let line = format!("dashboard admin certificate={SPIFFE_ID}");
    let encrypted = Encrypted::start(&line, &[]).await;
    let forged = Authority::new().client_by_uri(SPIFFE_ID);
    assert!(!encrypted.authenticates(&forged).await);
    let genuine = encrypted.authority.client_by_uri(SPIFFE_ID);
    assert!(encrypted.authenticates(&genuine).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_certificate_finds_no_key_of_other_accounts() {
    let operator = Credential::new("operator", &["--role", "admin"]);
    let some = format!("dashboard admin accounts=acme certificate={SPIFFE_ID}");
    let encrypted = Encrypted::start(&format!("{}\n{some}", operator.line), &[]).await;
    let mut operator = client(encrypted.channel(None).await, &operator.secret);
    let others = operator.create("globex", "another's").await.expect("made");
    let identity = encrypted.authority.client_by_uri(SPIFFE_ID);
    let channel = encrypted.channel(Some(&identity)).await;
    let mut dashboard = Client(KeyServiceClient::new(channel));

    let own = dashboard.create("acme", "own").await.expect("created");
    assert!(dashboard.is_granted(&own.token).await);
    let refused = dashboard.list("globex").await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let key_id = others.key.expect("a key").key_id;
    let refused = dashboard.revoke(&key_id).await.expect_err("refused");
    assert_eq!(refused.code(), Code::NotFound);
    assert!(!dashboard.is_granted(&others.token).await);
    assert!(operator.is_granted(&others.token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_secret_takes_precedence_over_the_certificate() {
    let admin = Credential::new("operator", &["--role", "admin"]);
    let lines = format!("{}\nsender authorizer certificate={SPIFFE_ID}", admin.line);
    let encrypted = Encrypted::start(&lines, &[]).await;
    let sender = encrypted.authority.client_by_uri(SPIFFE_ID);
    for identity in [None, Some(&sender)] {
        let mut operator = client(encrypted.channel(identity).await, &admin.secret);
        operator.list("acme").await.expect("listed");
        let mut unknown = client(encrypted.channel(identity).await, "tsop_wrong");
        let refused = unknown.authorize("", "example.com").await;
        assert_eq!(refused.expect_err("refused").code(), Code::Unauthenticated);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_calls_with_a_client_certificate() {
    let line = format!("dashboard admin certificate={SPIFFE_ID}");
    let encrypted = Encrypted::start(&line, &[]).await;
    let Issued {
        certificate, key, ..
    } = encrypted.authority.client_by_uri(SPIFFE_ID);
    let files = Mount::new(&[("crt", &certificate), ("key", &key)]);
    let grpcurl = |client: &str| {
        let (ca, port) = (encrypted.tls.arg("ca.crt"), encrypted.server.port());
        shell(&format!(
            "grpcurl -cacert {ca} {client} -d '{{\"account_id\": \"acme\", \"name\": \"a key\"}}' \
             localhost:{port} tosend.keys.v1.KeyService/Create"
        ))
    };
    let client = format!("-cert {} -key {}", files.arg("crt"), files.arg("key"));
    let created = grpcurl(&client).expect("created");
    assert!(created.contains("\"keyId\""), "{created}");
    let refused = grpcurl("").expect_err("refused");
    assert!(refused.contains("unknown caller"), "{refused}");
    let log = encrypted.server.log();
    assert!(log.contains("\"caller\":\"dashboard\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificate_files_apply_to_new_connections_and_close_no_open_one() {
    let admin = Credential::new("operator", &["--role", "admin"]);
    let mut encrypted = Encrypted::start(&admin.line, &[]).await;
    let mut open = client(encrypted.channel(None).await, &admin.secret);
    let key = open.create("acme", "made before").await.expect("created");

    let next = Authority::new();
    encrypted
        .tls
        .swap(&files(&next.server("localhost"), &next.pem()));
    eventually("the server uses the new certificate", async || {
        encrypted.is_trusted_as(&next).await
    })
    .await;
    // The open connection is the old one, since its client would not trust the new certificate.
    assert!(!encrypted.is_trusted_as(&encrypted.authority).await);
    assert!(
        open.is_granted(&key.token).await,
        "the open connection is closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_client_ca_applies_to_new_connections_and_the_old_one_is_not_trusted() {
    let line = format!("dashboard admin certificate={SPIFFE_ID}");
    let mut encrypted = Encrypted::start(&line, &[]).await;
    let next = Authority::new();
    let of_old = encrypted.authority.client_by_uri(SPIFFE_ID);
    let of_next = next.client_by_uri(SPIFFE_ID);
    assert!(encrypted.authenticates(&of_old).await);
    let server = encrypted.authority.server("localhost");
    encrypted.tls.swap(&files(&server, &next.pem()));
    eventually(
        "the client of the new authority is authenticated",
        async || encrypted.authenticates(&of_next).await,
    )
    .await;
    assert!(!encrypted.authenticates(&of_old).await);
}

/// The names of so many would not fit into one message of TLS. Go's client, in grpcurl, shows its certificate
/// although it is told none.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_authorities_of_clients_are_as_good_as_one() {
    let line = format!("dashboard admin certificate={SPIFFE_ID}");
    let mut encrypted = Encrypted::start(&line, &[]).await;
    let last = Authority::named(&format!("the last one{}", " ".repeat(60)));
    let others = (0..1000).map(|number| Authority::named(&format!("{number:0>100}")).pem());
    let all = others.collect::<String>() + &encrypted.authority.pem() + &last.pem();
    let server = encrypted.authority.server("localhost");
    encrypted.tls.swap(&files(&server, &all));
    let client = last.client_by_uri(SPIFFE_ID);
    eventually("the client of the last one is authenticated", async || {
        encrypted.authenticates(&client).await
    })
    .await;
    let own = Mount::new(&[("crt", &client.certificate), ("key", &client.key)]);
    let server_ca = Mount::new(&[("ca.crt", &encrypted.authority.pem())]);
    let port = encrypted.server.port();
    let listed = shell(&format!(
        "grpcurl -cacert {} -cert {} -key {} -d '{{\"account_id\": \"acme\"}}' localhost:{port} \
         tosend.keys.v1.KeyService/List",
        server_ca.arg("ca.crt"),
        own.arg("crt"),
        own.arg("key")
    ));
    listed.expect("listed");
}

/// With its key, it could sign a certificate for any caller.
#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_a_client_is_no_authority() {
    let line = format!("dashboard admin certificate={SPIFFE_ID}");
    let mut encrypted = Encrypted::start(&line, &[]).await;
    let client = encrypted.authority.client_by_uri(SPIFFE_ID);
    let both = encrypted.authority.pem() + &client.certificate;
    let server = encrypted.authority.server("localhost");
    encrypted.tls.swap(&files(&server, &both));
    eventually("the log says why", async || {
        let log = encrypted.server.log();
        log.contains("--tls-client-ca") && log.contains("not an authority's, number 2 in it")
    })
    .await;
    assert!(
        encrypted.authenticates(&client).await,
        "the files before count"
    );
}

/// The time to verify a chain grows with every certificate in it, beyond all bounds.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_more_certificates_or_bytes_than_any_client_needs_is_refused() {
    let line = format!("dashboard admin certificate={SPIFFE_ID}");
    let encrypted = Encrypted::start(&line, &[]).await;
    let own = encrypted.authority.client_by_uri(SPIFFE_ID);
    let root = encrypted.authority.pem();
    for (chain, is_accepted) in [
        (root.repeat(4), true),
        (root.repeat(5), false),
        (junk_certificate(1).repeat(9_500), false),
        (junk_certificate(15_000), true),
        (junk_certificate(17_000), false),
    ] {
        let identity = own.followed_by(&chain);
        let authenticates = encrypted.authenticates(&identity).await;
        assert_eq!(authenticates, is_accepted, "{} bytes", chain.len());
    }
    eventually("the log says why", async || {
        encrypted.server.log().contains("at most 4 and 16384 bytes")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_sessions_are_never_resumed() {
    let admin = Credential::new("operator", &["--role", "admin"]);
    let encrypted = Encrypted::start(&admin.line, &[]).await;
    for version in [&TLS12, &TLS13] {
        // This client resumes sessions if the server allows it.
        let client = Resuming::new(&encrypted.authority, version);
        for _ in 0..2 {
            let mut session = client.connect(encrypted.server.port()).await;
            // The server's first bytes after the handshake. Session tickets would come before them.
            session.write_all(PREFACE).await.expect("sent");
            session.read_u8().await.expect("SETTINGS");
            let (_, connection) = session.get_ref();
            assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_tls_handshake_is_closed() {
    let limit = Duration::from_millis(300);
    let admin = Credential::new("operator", &["--role", "admin"]);
    let args = ["--handshake-timeout", "300ms"];
    let encrypted = Encrypted::start(&admin.line, &args).await;
    let hello = client_hello(0x0303);
    for beginning in [&b""[..], &hello[..1], &hello] {
        let started = Instant::now();
        let mut raw = RawClient::connect(encrypted.server.port()).await;
        raw.send(beginning).await;
        // The server may send its part of the handshake first.
        let closed = async { while raw.read_byte().await.is_some() {} };
        timeout(Duration::from_secs(10), closed)
            .await
            .expect("closed");
        assert!(started.elapsed() >= limit);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_new_files_leave_the_old_ones_in_use_and_are_logged_once_per_change() {
    let admin = Credential::new("operator", &["--role", "admin"]);
    let mut encrypted = Encrypted::start(&admin.line, &[]).await;
    let next = Authority::new();
    let (server, other) = (next.server("localhost"), next.server("localhost"));
    let mismatched = Issued {
        certificate: server.certificate.clone(),
        key: other.key,
        not_after: server.not_after,
    };
    let complaint = "stays in use: --tls-key";
    encrypted.tls.swap(&files(&mismatched, &next.pem()));
    eventually("the mismatch is logged", async || {
        encrypted.server.log().contains(complaint)
    })
    .await;
    assert!(encrypted.is_trusted_as(&encrypted.authority).await);

    encrypted.tls.swap(&files(&server, &next.pem()));
    eventually("the corrected files are in use", async || {
        encrypted.is_trusted_as(&next).await
    })
    .await;
    let log = encrypted.server.log();
    assert_eq!(log.matches(complaint).count(), 1);
    for secret in [&mismatched.key, &server.key] {
        let inner = secret.lines().nth(1).expect("a line of the key");
        assert!(!log.contains(inner));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_1_is_refused_and_tls_1_2_is_accepted() {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const PROTOCOL_VERSION: u8 = 70;
    let admin = Credential::new("operator", &["--role", "admin"]);
    let encrypted = Encrypted::start(&admin.line, &[]).await;
    let answer = async |version| {
        let mut raw = RawClient::connect(encrypted.server.port()).await;
        raw.send(&client_hello(version)).await;
        let mut bytes = Vec::new();
        while let (Some(byte), true) = (raw.read_byte().await, bytes.len() < 7) {
            bytes.push(byte);
        }
        (bytes[0], bytes[6])
    };
    assert_eq!(answer(0x0302).await, (ALERT, PROTOCOL_VERSION));
    assert_eq!(answer(0x0303).await.0, HANDSHAKE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_port_is_plain_text_and_serves_only_health() {
    let admin = Credential::new("operator", &["--role", "admin"]);
    let args = ["--health-listen", "127.0.0.1:0"];
    let encrypted = Encrypted::start(&admin.line, &args).await;
    let port = encrypted.server.logged_port("health_address");
    let address = format!("http://127.0.0.1:{}", port.expect("a port"));
    let endpoint = Channel::from_shared(address).expect("an address");
    let channel = endpoint.connect().await.expect("connected");
    assert_eq!(
        outcome(channel.clone(), &Bearer::none(), HEALTH).await,
        Code::Ok
    );
    let admin = Bearer::secret(&admin.secret);
    for method in [
        AUTHORIZE,
        LIST,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        let outcome = outcome(channel.clone(), &admin, method).await;
        assert_eq!(outcome, Code::Unimplemented);
    }
}
