//! The name of a caller in its client certificate: a subject alternative name.
//!
//! Owns how the URI and DNS names of a certificate are read, and how the credentials file spells
//! them.
//! Must never read a certificate whose chain was not verified.

use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// A name in a certificate. A URI never equals a DNS name, whatever its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// A URI, such as a SPIFFE id. Case matters.
    Uri(String),
    /// The name of a host, in lower case, because case does not matter in DNS.
    Dns(String),
}

/// A SPIFFE id may have 2048 bytes. The name of a host is shorter.
const MAX_LEN: usize = 2048;

/// The text cannot be a name in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is neither a URI, such as spiffe://example.org/mailer, nor the name of a host, such as \
     mailer.example.org; a wildcard cannot name a caller"
)]
pub struct InvalidCertificateName;

impl CertificateName {
    /// Parses a name in the credentials file.
    pub fn parse(text: &str) -> Result<Self, InvalidCertificateName> {
        if text.len() > MAX_LEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidCertificateName);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
            return if is_scheme && !rest.is_empty() {
                Ok(Self::Uri(text.to_owned()))
            } else {
                Err(InvalidCertificateName)
            };
        }
        let is_label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if text.split('.').all(is_label) {
            Ok(Self::Dns(text.to_ascii_lowercase()))
        } else {
            Err(InvalidCertificateName)
        }
    }

    /// Reads the names of a certificate (DER) in their order. If the certificate cannot be parsed,
    /// it has none.
    #[must_use]
    pub fn read_all(certificate: &[u8]) -> Vec<Self> {
        let Ok(certificate) = Certificate::from_der(certificate) else {
            return Vec::new();
        };
        let names = certificate.tbs_certificate.get::<SubjectAltName>();
        let names = names.ok().flatten().map(|(_, names)| names.0);
        let names = names.unwrap_or_default().into_iter();
        names
            .filter_map(|name| match name {
                GeneralName::UniformResourceIdentifier(uri) => Some(Self::Uri(uri.to_string())),
                GeneralName::DnsName(host) => Some(Self::Dns(host.as_str().to_ascii_lowercase())),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    proptest! {
        #[test]
        fn any_bytes_have_names_or_none_without_a_panic(bytes: Vec<u8>, text: String) {
            let _ = (CertificateName::read_all(&bytes), CertificateName::parse(&text));
        }
    }

    #[test]
    fn a_uri_and_a_hosts_name_are_told_apart() {
        let uri = "spiffe://example.org/ns/Mail/sa/sender";
        assert_eq!(
            CertificateName::parse(uri),
            Ok(CertificateName::Uri(uri.into()))
        );
        let host = CertificateName::parse("Mailer.Example.org");
        assert_eq!(host, Ok(CertificateName::Dns("mailer.example.org".into())));
        for wrong in [
            "",
            "*.example.org",
            "a..b",
            "://x",
            "spiffe://",
            "a b",
            "ä.example",
            "a.",
        ] {
            assert_eq!(
                CertificateName::parse(wrong),
                Err(InvalidCertificateName),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_certificates_uri_and_dns_names_are_read() {
        let mut params = CertificateParams::new(["Mailer.example.org".to_owned()]).expect("valid");
        let uri = "spiffe://example.org/mailer";
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().expect("ASCII")));
        params
            .subject_alt_names
            .push(SanType::IpAddress([127, 0, 0, 1].into()));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        assert_eq!(
            CertificateName::read_all(certificate.der()),
            [
                CertificateName::Dns("mailer.example.org".into()),
                CertificateName::Uri(uri.into())
            ]
        );
    }
}
