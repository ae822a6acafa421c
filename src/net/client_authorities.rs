//! The authorities that issue clients' certificates.
//!
//! Promises that each certificate that is trusted to sign others is marked as an authority's. The verifier does
//! not ask for that: it would take the key of any certificate in the file for an authority's.

use super::identity::certificates;
use rustls::RootCertStore;
use std::time::SystemTime;
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{BasicConstraints, KeyUsage},
};

/// What clients' certificates are verified against.
#[derive(Debug)]
pub(super) struct ClientAuthorities {
    pub(super) roots: RootCertStore,
    pub(super) names: Vec<AuthorityName>,
}

/// An authority by its subject, and when its own certificate expires. The verifier does not look at that.
#[derive(Debug)]
pub(super) struct AuthorityName {
    pub(super) subject: String,
    pub(super) not_after: SystemTime,
}

impl ClientAuthorities {
    /// Reads the certificates of a file in PEM, each of which must be an authority's.
    pub(super) fn parse(pem: &[u8]) -> Result<Self, String> {
        let (mut roots, mut names) = (RootCertStore::empty(), Vec::new());
        for (certificate, number) in certificates(pem)?.into_iter().zip(1..) {
            let invalid = || format!("holds an invalid certificate, number {number} in it");
            let parsed = Certificate::from_der(&certificate).map_err(|_| invalid())?;
            let subject = parsed.tbs_certificate.subject.to_string();
            if !may_sign(&parsed) {
                return Err(format!(
                    "holds a certificate that is not an authority's, number {number} in it ({subject}): with its \
                     key, certificates for every caller could be signed; put the authority's own there (openssl \
                     x509 -text shows CA:TRUE)"
                ));
            }
            roots.add(certificate).map_err(|_| invalid())?;
            names.push(AuthorityName {
                subject,
                not_after: parsed.tbs_certificate.validity.not_after.to_system_time(),
            });
        }
        Ok(Self { roots, names })
    }
}

/// Whether a certificate is marked as an authority's (RFC 5280, sections 4.2.1.3 and 4.2.1.9).
fn may_sign(certificate: &Certificate) -> bool {
    let fields = &certificate.tbs_certificate;
    let is_authority = matches!(fields.get::<BasicConstraints>(), Ok(Some((_, it))) if it.ca);
    let may_sign = match fields.get::<KeyUsage>() {
        Ok(None) => true,
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Err(_) => false,
    };
    is_authority && may_sign
}

#[cfg(test)]
mod tests {
    use super::{super::test_authority::params, *};
    use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose};

    fn certificate(is_ca: IsCa, usages: &[KeyUsagePurpose]) -> String {
        let mut params = params("somebody");
        params.is_ca = is_ca;
        params.key_usages = usages.to_vec();
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").pem()
    }

    #[test]
    fn only_what_is_marked_as_an_authority_is_one() {
        let authority = IsCa::Ca(BasicConstraints::Unconstrained);
        let narrow = IsCa::Ca(BasicConstraints::Constrained(0));
        let (sign, other) = (
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        );
        let good = certificate(authority, &[sign, other]);
        for (is_ca, usages, is_accepted) in [
            (authority, &[][..], true),
            (narrow, &[sign][..], true),
            (authority, &[other][..], false),
            (IsCa::ExplicitNoCa, &[][..], false),
            (IsCa::ExplicitNoCa, &[sign][..], false),
            (IsCa::NoCa, &[][..], false),
        ] {
            let file = format!("{good}{}", certificate(is_ca, usages));
            let parsed = ClientAuthorities::parse(file.as_bytes());
            let parsed = parsed.map(|authorities| authorities.roots.len());
            if is_accepted {
                assert_eq!(parsed, Ok(2), "{is_ca:?} {usages:?}");
            } else {
                let error = parsed.expect_err("no authority");
                assert!(error.contains("number 2 in it (CN=somebody"), "{error}");
            }
        }
    }
}
