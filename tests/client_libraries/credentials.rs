//! Who a client is: by a bearer secret or a certificate, from files that change.

use crate::{
    MACHINE, addresses,
    support::{
        certificates::{Authority, Issued},
        clients::{
            callers::Credential,
            driver::{Driver, LIBRARIES},
        },
        eventually,
        mount::Mount,
        server::{Server, command, sqlite_in},
    },
    use_tls,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TOKEN: &str = "no token";
const DOMAIN: &str = "mail.example.com";
const SENDER: &str = "spiffe://test/sender";
/// When a library has certainly looked at a file again. It does so once a second.
const READ_AGAIN: Duration = Duration::from_secs(3);

const NEXT_SENDER: &str = "spiffe://test/sender-2";

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_secret_counts_as_soon_as_its_file_has_it() {
    let _shared = MACHINE.read().await;
    for library in LIBRARIES {
        let credential = Credential::new("sender", &["--role", "authorizer"]);
        let unlisted = Credential::new("sender", &["--role", "authorizer"]);
        let service = Service::start(&credential.line).await;
        let mut secret = Mount::new(&[("secret", &format!("{}\n", unlisted.secret))]);
        let driver = Driver::open(library, &service.options(&secret, &["secret"])).await;
        assert!(driver.is_ready().await, "{library}");

        let misused = driver.authorize(TOKEN, DOMAIN).await;
        let text = misused["misused"].as_str();
        let text = text.unwrap_or_else(|| panic!("{library}: {misused}"));
        assert!(!text.contains("tsop_"), "{library}: {text}");

        secret.swap(&[("secret", &format!("{}\n", credential.secret))]);
        becomes_denied(&driver).await;
        // A file with an error changes nothing.
        secret.swap(&[("secret", "one line\nand another\n")]);
        let swapped = Instant::now();
        while swapped.elapsed() < READ_AGAIN {
            let answer = driver.authorize(TOKEN, DOMAIN).await;
            assert!(answer["denied"].is_object(), "{library}: {answer}");
        }
        assert!(!driver.shown().await.contains("tsop_"), "{library}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_as_soon_as_its_files_have_it() {
    let _shared = MACHINE.read().await;
    for library in LIBRARIES {
        let line = format!("sender-2 authorizer certificate={NEXT_SENDER}\n");
        let service = Service::start(&line).await;
        let before = service.authority.client_by_uri(SENDER);
        let after = service.authority.client_by_uri(NEXT_SENDER);
        let mut files = Mount::new(&[("cert", &before.certificate), ("key", &before.key)]);
        let driver = Driver::open(library, &service.options(&files, &["cert", "key"])).await;
        assert!(driver.is_ready().await, "{library}");
        let misused = driver.authorize(TOKEN, DOMAIN).await;
        assert!(misused["misused"].is_string(), "{library}: {misused}");

        files.swap(&[("cert", &after.certificate), ("key", &after.key)]);
        becomes_denied(&driver).await;
        let shown = driver.shown().await;
        assert!(!shown.contains("PRIVATE KEY"), "{library}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_not_asked() {
    let _shared = MACHINE.read().await;
    for library in LIBRARIES {
        let credential = Credential::new("sender", &["--role", "authorizer"]);
        let service = Service::start(&credential.line).await;
        let secret = Mount::new(&[("secret", &credential.secret)]);
        let mut options = service.options(&secret, &["secret"]);
        let other = Authority::new();
        options["ca_file"] = json!(other.path());
        let driver = Driver::open(library, &options).await;
        let answer = driver.authorize(TOKEN, DOMAIN).await;
        assert!(answer["unavailable"].is_string(), "{library}: {answer}");
    }
}

/// A server over TLS, with this credentials file.
struct Service {
    server: Server,
    authority: Authority,
    _directory: TempDir,
    _files: Mount,
}

impl Service {
    async fn start(callers: &str) -> Self {
        let authority = Authority::new();
        let Issued {
            certificate, key, ..
        } = authority.server("keys.test");
        let files = Mount::new(&[("cert", &certificate), ("key", &key), ("callers", callers)]);
        let directory = tempfile::tempdir().expect("a directory");
        let mut serve = command(&sqlite_in(&directory));
        use_tls(&mut serve, &authority, &files);
        Self {
            server: Server::start_command_listening(&mut serve).await,
            authority,
            _directory: directory,
            _files: files,
        }
    }

    /// The options of a client with these files of its own.
    fn options(&self, files: &Mount, names: &[&str]) -> Value {
        let mut options = json!({
            "addresses": addresses(&[self.server.port()]),
            "server_name": "keys.test",
            "ca_file": self.authority.path(),
        });
        for name in names {
            options[format!("{name}_file")] = json!(files.path(name));
        }
        options
    }
}

async fn becomes_denied(driver: &Driver) {
    eventually("the new proof counts", async || {
        driver.authorize(TOKEN, DOMAIN).await["denied"].is_object()
    })
    .await;
}
