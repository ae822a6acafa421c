//! Certificates that one of the two sides does not accept.

use super::Person;
use crate::support::{
    certificates::Authority,
    directory,
    mount::Mount,
    server::{Server, sqlite_in},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_accepted_is_a_mistake_and_no_outage() {
    const CALLER: &str = "spiffe://example.org/admin";
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.server("localhost");
    let (valid, revoked) = (
        authority.client_by_uri(CALLER),
        authority.client_by_uri(CALLER),
    );
    let expired = authority.expired_client_by_uri(CALLER);
    let foreign = other.client_by_uri(CALLER);
    let callers = format!("kate admin certificate={CALLER}\n");
    let files = Mount::new(&[
        ("ca.crt", &authority.pem()),
        ("other.crt", &other.pem()),
        ("list.pem", &authority.revocation_list(&[&revoked], 2090)),
        ("server.crt", &server.certificate),
        ("server.key", &server.key),
        ("valid.crt", &valid.certificate),
        ("valid.key", &valid.key),
        ("revoked.crt", &revoked.certificate),
        ("revoked.key", &revoked.key),
        ("expired.crt", &expired.certificate),
        ("expired.key", &expired.key),
        ("foreign.crt", &foreign.certificate),
        ("foreign.key", &foreign.key),
        ("callers", &callers),
    ]);
    let path = |name: &str| files.arg(name);
    let args = [
        ["--tls-cert", &path("server.crt")],
        ["--tls-key", &path("server.key")],
        ["--tls-client-ca", &path("ca.crt")],
        ["--tls-client-crl", &path("list.pem")],
        ["--credentials", &path("callers")],
    ];
    let directory = directory();
    let server = Server::start_listening(&sqlite_in(&directory), args.as_flattened(), &[]).await;
    let person = Person::new();
    let runs = |host: &str, ca: &str, client: &str| {
        let (server, ca) = (format!("{host}:{}", server.port()), path(ca));
        let (certificate, key) = (
            path(&format!("{client}.crt")),
            path(&format!("{client}.key")),
        );
        let to = ["--server", &server, "--ca", &ca];
        let client = ["--client-cert", &certificate, "--client-key", &key];
        let revoke = [
            "keys",
            "suspend",
            "key_00000000000000000000000000",
            "--reason",
            "a",
        ];
        person.runs(&[&revoke[..], &to, &client].concat())
    };
    let known = runs("localhost", "ca.crt", "valid");
    assert_eq!(known.exit, 1, "{known:?}");
    for (host, ca, client, advice) in [
        ("localhost", "other.crt", "valid", "by --ca"),
        ("127.0.0.1", "ca.crt", "valid", "by --server-name"),
        ("localhost", "ca.crt", "expired", "--client-cert: renew it"),
        ("localhost", "ca.crt", "revoked", "--client-cert: renew it"),
        ("localhost", "ca.crt", "foreign", "--client-cert: renew it"),
    ] {
        let refused = runs(host, ca, client);
        assert_eq!(refused.exit, 2, "{refused:?}");
        assert!(refused.err.contains(advice), "{refused:?}");
        assert!(!refused.err.contains("may have been made"), "{refused:?}");
        assert!(!refused.err.contains("has TLS there"), "{refused:?}");
    }
}
