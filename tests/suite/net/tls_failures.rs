//! TLS handshakes that fail: what the log says of them, and the alert that the client gets.

use super::tls::Encrypted;
use crate::support::{
    certificates::{Authority, Issued, TlsClient},
    eventually,
    hostile::frames::{PREFACE, RawClient, client_hello},
    mount::Mount,
    server::scrape::{METRICS, Scrape},
};
use rustls::AlertDescription as Alert;

const URI: &str = "spiffe://example.org/ns/mail/sa/dashboard";

/// What a client does that cannot connect.
enum Client {
    Sends(Vec<u8>),
    Shows(fn(&Authority) -> Issued),
    Offers(&'static [u8]),
    Trusts(fn(&Authority) -> Authority),
    Calls(&'static str),
}

impl Client {
    /// Returns the alert that the client gets, if it does not end the handshake itself.
    async fn fail(
        &self,
        Encrypted {
            server, authority, ..
        }: &Encrypted,
    ) -> Option<Alert> {
        let port = server.port();
        let client = TlsClient::new(authority);
        match self {
            Self::Sends(bytes) => {
                let mut raw = RawClient::connect(port).await;
                raw.send(bytes).await;
                let mut last = None;
                while let Some(byte) = raw.read_byte().await {
                    last = Some(byte);
                }
                last.map(Alert::from)
            }
            Self::Shows(issue) => client.shows(&issue(authority)).alert(port).await,
            Self::Offers(protocol) => client.offers(protocol).alert(port).await,
            Self::Trusts(other) => TlsClient::new(&other(authority)).alert(port).await,
            Self::Calls(name) => client.calls(name).alert(port).await,
        }
    }
}

fn failures(log: &str) -> Vec<&str> {
    let failed = |line: &&str| line.contains("a TLS handshake failed");
    log.lines().filter(failed).collect()
}

async fn start(args: &[&str]) -> Encrypted {
    Encrypted::start(&format!("dashboard admin certificate={URI}"), args).await
}

/// Asserts what the log says of a client, and which alert it gets.
async fn assert_told(encrypted: &Encrypted, client: &Client, alert: Option<Alert>, said: &str) {
    assert_eq!(client.fail(encrypted).await, alert, "{said}");
    eventually(said, async || {
        let log = encrypted.server.log();
        let of_peer = |line: &&str| line.contains("\"peer\":\"127.0.0.1:");
        failures(&log)
            .iter()
            .filter(|line| of_peer(line))
            .any(|line| line.contains(said))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_peer_and_says_in_plain_words_what_is_wrong_and_the_client_gets_an_alert()
{
    for (client, alert, said) in [
        (
            Client::Sends(PREFACE.to_vec()),
            Some(Alert::DecodeError),
            "the client does not begin with TLS, without which this port serves nothing: let it",
        ),
        (
            Client::Sends(client_hello(0x0302)),
            Some(Alert::ProtocolVersion),
            "the client and this service have no TLS version, cipher or kind of certificate in common",
        ),
        (
            Client::Offers(b"http/1.1"),
            Some(Alert::NoApplicationProtocol),
            "the client does not offer HTTP/2 (h2 in ALPN), which gRPC needs",
        ),
        (
            Client::Shows(|authority| authority.expired_client_by_uri(URI)),
            Some(Alert::CertificateExpired),
            "the client's certificate or one that has signed it has expired: renew it",
        ),
        (
            Client::Shows(|_| Authority::new().client_by_uri(URI)),
            Some(Alert::UnknownCA),
            "is signed by none of the authorities of --tls-client-ca",
        ),
        (
            Client::Shows(|_| Authority::named("another").client_by_uri(URI)),
            Some(Alert::UnknownCA),
            "is signed by none of the authorities of --tls-client-ca",
        ),
        (
            Client::Shows(|authority| authority.server("localhost")),
            Some(Alert::UnsupportedCertificate),
            "the client's certificate is for another purpose than to be a client's",
        ),
        (
            Client::Shows(|authority| {
                authority
                    .client_by_uri(URI)
                    .followed_by(&authority.pem().repeat(5))
            }),
            Some(Alert::CertificateUnknown),
            "the client's certificate comes with 5 others",
        ),
        (
            // Signed by the client itself. The verifier would try every path through them.
            Client::Shows(|_| {
                let other = Authority::named("another");
                other.client_by_uri(URI).followed_by(&other.pem().repeat(2))
            }),
            Some(Alert::CertificateUnknown),
            "the client's certificate comes with two certificates of the same authority",
        ),
        (
            Client::Trusts(|_| Authority::new()),
            None,
            "the client does not accept the certificate of --tls-cert: give the client the root",
        ),
        (
            Client::Calls("other.example.org"),
            None,
            "the client does not accept the certificate of --tls-cert: give the client the root",
        ),
    ] {
        // Each has a server of its own, which logs the first one at once.
        assert_told(&start(&[]).await, &client, alert, said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_a_revocation_list_has_against_a_client_who_gets_an_alert() {
    type List = fn(&Authority, &Issued) -> String;
    let cases: [(List, Alert, &str); 3] = [
        (
            |authority, client| authority.revocation_list(&[client], 2100),
            Alert::CertificateRevoked,
            "the client's certificate is revoked by a list of --tls-client-crl",
        ),
        (
            |authority, _| authority.revocation_list(&[], 2001),
            Alert::UnknownCA,
            "cannot be checked, because a list of --tls-client-crl has expired: replace it",
        ),
        (
            |_, _| Authority::named("another").revocation_list(&[], 2100),
            Alert::UnknownCA,
            "has no list in --tls-client-crl: add the list of each authority",
        ),
    ];
    for (list, alert, said) in cases {
        let authority = Authority::new();
        let issued = authority.client_by_uri(URI);
        let lists = Mount::new(&[("ca.crl", &list(&authority, &issued))]);
        let args = ["--tls-client-crl", &lists.arg("ca.crl")];
        let callers = format!("dashboard admin certificate={URI}");
        let encrypted = Encrypted::start_as(authority, &callers, &args).await;
        let client = TlsClient::new(&encrypted.authority).shows(&issued);
        assert_eq!(
            client.alert(encrypted.server.port()).await,
            Some(alert),
            "{said}"
        );
        eventually(said, async || {
            failures(&encrypted.server.log())
                .iter()
                .any(|line| line.contains(said))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_handshake_that_fails_has_a_line_or_is_counted_in_one() {
    let encrypted = start(&[METRICS]).await;
    let failed = 5;
    for _ in 0..failed {
        Client::Sends(PREFACE.to_vec()).fail(&encrypted).await;
    }
    let name = "keyservice_connections_closed_total{reason=\"handshake_failed\"}";
    assert_eq!(Scrape::of(&encrypted.server).value(name), f64::from(failed));
    eventually("the lines add up", async || {
        let log = encrypted.server.log();
        let told = failures(&log).into_iter().map(|line| {
            let (_, left_out) = line.split_once("\"left_out\":").expect("a number");
            let digits = left_out.split(|it: char| !it.is_ascii_digit()).next();
            1 + digits.expect("a number").parse::<u32>().expect("a number")
        });
        told.sum::<u32>() == failed
    })
    .await;
    let lines = failures(&encrypted.server.log()).len();
    assert!(lines <= 2, "{lines} lines within ten seconds");
}
