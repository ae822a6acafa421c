//! Who calls: the credentials file, what a caller shows, and what its certificate says.

use super::{CANARY, assert_refused, assert_tells_nothing, text};
use keyservice::{
    callers::{
        certificate_name::CertificateName,
        credentials::Credentials,
        secret::{Secret, SecretDigest},
    },
    grpc::layers::bearer as bearer_of,
};
use rand::{SeedableRng, rngs::StdRng};

/// A file that is taken is taken with a comment, and with a caller more; a wrong line of it, or
/// what is no text, is not repeated.
pub fn credentials(bytes: &[u8]) {
    let secret = Secret::generate(&mut StdRng::seed_from_u64(1));
    let shown = secret.expose().as_bytes();
    match Credentials::parse(bytes) {
        Ok(credentials) => {
            assert!(credentials.find_by_secret(shown).is_none());
            assert!(
                credentials.find_by_secret(b"").is_none()
                    && credentials.find_by_certificate(&[]).is_none()
            );
            let more = format!("\none-more-caller-a2f9 admin bearer={}\n", secret.digest());
            let more = [bytes, b"\n# ", CANARY.as_bytes(), more.as_bytes()].concat();
            let more = Credentials::parse(&more).expect("both are right");
            let caller = more.find_by_secret(shown).expect("the new one");
            assert_eq!(caller.name.as_str(), "one-more-caller-a2f9");
        }
        Err(error) => {
            let first = error.to_string();
            let more = [bytes, b"\n", CANARY.as_bytes(), b" admin bearer=", shown].concat();
            let error = Credentials::parse(&more)
                .expect_err("still wrong")
                .to_string();
            assert_tells_nothing(&error);
            assert!(!error.contains(secret.expose()), "{first}, then {error}");
        }
    }
}

/// A secret is found behind its scheme and nothing else, without the space around it.
pub fn authorization(bytes: &[u8]) {
    if let Some(secret) = bearer_of(bytes) {
        assert!(bytes[..7].eq_ignore_ascii_case(b"Bearer "));
        assert_eq!(secret, bytes[7..].trim_ascii());
        assert_eq!(bearer_of(&bytes[..6]), None);
    } else {
        assert!(!bytes.to_ascii_lowercase().starts_with(b"bearer "));
    }
    let shown = [b"bEARER  ", bytes, b" "].concat();
    assert_eq!(bearer_of(&shown), Some(bytes.trim_ascii()));
}

/// A digest has one spelling, and only what has a secret's form has one.
pub fn bearer(bytes: &[u8]) {
    if let Some(digest) = SecretDigest::of_presented(bytes) {
        assert_eq!(SecretDigest::parse(&digest.to_string()), Some(digest));
        assert!(bytes.starts_with(b"tsop_") && bytes.len() == 48);
        assert_eq!(SecretDigest::of_presented(&bytes[1..]), None);
    }
    if let Some((text, digest)) =
        text(bytes).and_then(|text| Some((text, SecretDigest::parse(text)?)))
    {
        assert_eq!(digest.to_string(), text);
        assert_eq!(format!("{digest:?}"), "SecretDigest(…)");
    }
}

/// Names are read of a certificate, or none; a name in a file has one meaning.
pub fn certificate(bytes: &[u8]) {
    for name in CertificateName::read_all(bytes) {
        if let CertificateName::Dns(host) = name {
            assert_eq!(host, host.to_ascii_lowercase());
        }
    }
    let Some(text) = text(bytes) else { return };
    match CertificateName::parse(text) {
        Ok(CertificateName::Uri(uri)) => assert_eq!(uri, text),
        Ok(CertificateName::Dns(host)) => {
            assert_eq!(host, text.to_ascii_lowercase());
            assert_eq!(
                CertificateName::parse(&host),
                Ok(CertificateName::Dns(host.clone()))
            );
            assert!(!host.contains(['*', ':', '/']));
        }
        Err(error) => {
            assert_tells_nothing(&error.to_string());
            assert_refused(CertificateName::parse(&format!("{text} {CANARY}")));
        }
    }
}
