//! Certificates and secrets: what is refused at the start, what is read again, and that nothing prints a secret.

use crate::{client, logs, replica::Replica, until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};
use tonic::Status;
use tosend_keyservice::{
    Client, Decision, Options,
    proto::{CreateRequest, GetRequest, get_request::Target},
};

const SECRET: &str = "tsop_secret_of_this_test";

/// An authority, the files of a client, and what a server needs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            issuer,
            directory: tempfile::tempdir().unwrap(),
        };
        fs::write(authority.path("ca"), authority.issuer.pem()).unwrap();
        authority.renew_client();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate and its key, in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn renew_client(&self) {
        let (certificate, key) = self.issue("client.test");
        fs::write(self.path("certificate"), certificate).unwrap();
        fs::write(self.path("key"), key).unwrap();
    }

    /// Asks clients for a certificate of this authority.
    fn server(&self, name: &str) -> TlsAcceptor {
        let (certificate, key) = self.issue(name);
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    fn options(&self, replica: &Replica) -> Options {
        Options::new([replica.address.to_string()])
            .ca_file(self.path("ca"))
            .certificate_files(self.path("certificate"), self.path("key"))
    }
}

async fn is_allowed(client: &Client) -> bool {
    let decision = client.authorize("tsend_x", "example.com").await;
    matches!(decision, Ok(Decision::Allowed(_)))
}

#[tokio::test]
async fn a_server_must_have_the_name_and_new_certificates_make_new_connections() {
    let authority = Authority::new();
    let replica = Replica::start_with(Some(authority.server("keys.test"))).await;
    let wrong = Client::open(authority.options(&replica)).unwrap();
    let waited = wrong.wait_until_ready(Duration::from_millis(500)).await;
    assert!(waited.unwrap_err().to_string().contains("certificate"));
    drop(wrong);

    let client = Client::open(authority.options(&replica).server_name("keys.test")).unwrap();
    client
        .wait_until_ready(Duration::from_secs(5))
        .await
        .unwrap();
    let connections = || replica.state.connections.load(SeqCst);
    let before = connections();
    authority.renew_client();
    until("there is a new connection", || connections() > before).await;
    assert!(is_allowed(&client).await);
    let open = || replica.state.open_connections.load(SeqCst);
    until("the old one has ended", || open() == 1).await;
}

#[tokio::test]
async fn a_changed_secret_file_counts_and_a_bad_one_does_not() {
    logs::keep();
    let (replica, directory) = (Replica::start().await, tempfile::tempdir().unwrap());
    let file = directory.path().join("secret");
    fs::write(&file, format!("{SECRET}_1\n")).unwrap();
    let options = Options::new([replica.address.to_string()]).plaintext();
    let client = Client::open(options.secret_file(&file)).unwrap();
    let last = async || {
        assert!(is_allowed(&client).await);
        let calls = replica.state.calls.lock().unwrap();
        calls.last().unwrap().clone().unwrap()
    };
    assert_eq!(last().await, format!("Bearer {SECRET}_1"));
    fs::write(&file, format!("{SECRET}_2\n{SECRET}_3\n")).unwrap();
    let said = format!("{} is not one line", file.display());
    until("it is reported", || logs::logged().contains(&said)).await;
    assert_eq!(last().await, format!("Bearer {SECRET}_1"));
    fs::write(&file, format!("{SECRET}_4")).unwrap();
    while last().await != format!("Bearer {SECRET}_4") {
        tokio::task::yield_now().await;
    }
    assert_eq!(logs::logged().matches(&said).count(), 1);
}

#[tokio::test]
async fn nothing_prints_a_secret_or_a_token() {
    logs::keep();
    let replica = Replica::start().await;
    let options = Options::new([replica.address.to_string()])
        .plaintext()
        .secret(SECRET);
    let bearer = Client::open(options.clone()).unwrap();
    replica.fail_next(Status::unauthenticated("the secret is unknown"));
    let misused = bearer.authorize("tsend_secret", "example.com").await;
    let created = bearer
        .admin()
        .create(CreateRequest::default())
        .await
        .unwrap();
    assert!(created.token.contains("tsend_new_secret"));
    let got = Target::Token("tsend_secret".into());
    let got = GetRequest {
        target: Some(got),
        ..GetRequest::default()
    };
    let broken = Options::new(["127.0.0.1:1"]).plaintext();
    let broken = Client::open(broken.secret(format!("{SECRET}\n{SECRET}"))).unwrap_err();
    let printed = format!(
        "{bearer:?} {options:?} {misused:?} {created:?} {got:?} {broken:?} {broken} {}",
        logs::logged()
    );
    assert!(printed.contains("authorize") || printed.contains("Headers"));
    for secret in [SECRET, "tsend_secret", "tsend_new_secret"] {
        let at = printed.find(secret);
        assert!(
            at.is_none(),
            "{:?}",
            at.map(|at| &printed[at.saturating_sub(300)..])
        );
    }
}

#[tokio::test]
async fn a_key_on_one_line_with_its_frame_is_not_in_the_error() {
    let authority = Authority::new();
    let key = fs::read_to_string(authority.path("key")).unwrap();
    let flat = key.replace('\n', "");
    fs::write(authority.path("key"), &flat).unwrap();
    let replica = Replica::start().await;
    let error = Client::open(authority.options(&replica))
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("key holds no private key in PEM"),
        "{error}"
    );
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_at_the_start() {
    let one = || Options::new(["127.0.0.1:1"]);
    let second = Duration::from_secs(1);
    let authority = Authority::new();
    let (ca, empty) = (authority.path("ca"), authority.path("empty"));
    fs::write(&empty, "").unwrap();
    let other_key = Authority::new();
    for (options, expected) in [
        (Options::new([] as [&str; 0]), "no address"),
        (
            Options::new(["localhost"]),
            "\"localhost\" is not host:port",
        ),
        (Options::new(["localhost:0"]), "is not host:port"),
        (Options::new(["localhost:70000"]), "is not host:port"),
        (Options::new([":50051"]), "is not host:port"),
        (Options::new(["::1:50051"]), "is not host:port"),
        (Options::new(["http://localhost:1"]), "is not host:port"),
        (one().plaintext().ca_file(&ca), "contradict"),
        (one().plaintext().server_name("keys.test"), "contradict"),
        (
            Options::new(["keys.test:1"]).plaintext().secret("tsop_x"),
            "without encryption",
        ),
        (one().plaintext().deadline(Duration::ZERO), "is 0"),
        (one().plaintext().admin_deadline(Duration::ZERO), "is 0"),
        (one().plaintext().attempts(0, second), "is 0"),
        (one().plaintext().attempts(1, Duration::ZERO), "is 0"),
        (one().ca_file("/nowhere"), "/nowhere cannot be read"),
        (one().ca_file(&empty), "empty holds no certificate"),
        (
            one().plaintext().secret_file(&empty),
            "empty is not one line",
        ),
        (one().plaintext().secret(""), "is not one line"),
        (
            one().ca_file(&ca).certificate_files(&ca, &empty),
            "holds no private key",
        ),
        (
            one()
                .ca_file(&ca)
                .certificate_files(authority.path("certificate"), other_key.path("key")),
            "cannot be used with its key",
        ),
    ] {
        let error = Client::open(options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for address in ["[::1]:50051", "localhost:50051", "127.0.0.9:50051"] {
        Client::open(Options::new([address]).plaintext().secret("tsop_x")).unwrap();
    }
    assert!(Path::new(&ca).exists());
    let replica = Replica::start().await;
    client(&[&replica]).await.close().await;
}
