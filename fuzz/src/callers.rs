//! Callers: the credentials file, the secret that a caller presents, and its certificate.

use super::{CANARY, assert_hides_canary, assert_refused, text};
use keyservice::{
    callers::{
        certificate_name::CertificateName,
        credentials::Credentials,
        secret::{Secret, SecretDigest},
    },
    grpc::layers::bearer as bearer_of,
};
use rand::{SeedableRng, rngs::StdRng};

/// A valid file stays valid with one more comment and one more caller. The error for an invalid
/// file does not repeat its text.
pub fn credentials(bytes: &[u8]) {
    let secret = Secret::generate(&mut StdRng::seed_from_u64(1));
    let presented = secret.expose().as_bytes();
    match Credentials::parse(bytes) {
        Ok(credentials) => {
            assert!(credentials.find_by_secret(presented).is_none());
            assert!(
                credentials.find_by_secret(b"").is_none()
                    && credentials.find_by_certificate(&[]) == Ok(None)
            );
            let more = format!("\none-more-caller-a2f9 admin bearer={}\n", secret.digest());
            let more = [bytes, b"\n# ", CANARY.as_bytes(), more.as_bytes()].concat();
            let more = Credentials::parse(&more).expect("both lines are valid");
            let caller = more.find_by_secret(presented).expect("the new caller");
            assert_eq!(caller.name.as_str(), "one-more-caller-a2f9");
        }
        Err(error) => {
            let first = error.to_string();
            let more = [
                bytes,
                b"\n",
                CANARY.as_bytes(),
                b" admin bearer=",
                presented,
            ]
            .concat();
            let error = Credentials::parse(&more)
                .expect_err("the file is still invalid")
                .to_string();
            assert_hides_canary(&error);
            assert!(!error.contains(secret.expose()), "{first}, then {error}");
        }
    }
}

/// A secret is found only after its scheme, without the white space around it.
pub fn authorization(bytes: &[u8]) {
    if let Some(secret) = bearer_of(bytes) {
        assert!(bytes[..7].eq_ignore_ascii_case(b"Bearer "));
        assert_eq!(secret, bytes[7..].trim_ascii());
        assert_eq!(bearer_of(&bytes[..6]), None);
    } else {
        assert!(!bytes.to_ascii_lowercase().starts_with(b"bearer "));
    }
    let spaced = [b"bEARER  ", bytes, b" "].concat();
    assert_eq!(bearer_of(&spaced), Some(bytes.trim_ascii()));
}

/// A digest has only one spelling, and only text in the form of a secret has a digest.
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

/// Any bytes can be read as a certificate, if perhaps without names. A name in a file has only one
/// meaning.
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
            assert_hides_canary(&error.to_string());
            assert_refused(CertificateName::parse(&format!("{text} {CANARY}")));
        }
    }
}
