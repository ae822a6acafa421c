//! Owns the subject alternative name, by which a client certificate names its caller.
//! Promises the URI and DNS names of a certificate, and their spelling in the credentials file.
//! Must never be asked about a certificate whose chain was not verified.

use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// A name in a certificate. The kinds are apart, so that neither can pass for the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum San {
    /// Such as a SPIFFE id; compared as it is.
    Uri(String),
    /// A host's name, in lower case, since DNS knows no other.
    Dns(String),
}

/// RFC 6125 lets a host's name be this long, SPIFFE its ids 2048 bytes.
const MAX_LEN: usize = 2048;

/// The text names no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is neither a URI, such as spiffe://example.org/mailer, nor a host's name, such as \
     mailer.example.org; a wildcard names no one caller"
)]
pub struct InvalidSan;

impl San {
    /// Reads the name as it stands in the credentials file.
    pub fn parse(text: &str) -> Result<Self, InvalidSan> {
        if text.len() > MAX_LEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidSan);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
            return if is_scheme && !rest.is_empty() {
                Ok(Self::Uri(text.to_owned()))
            } else {
                Err(InvalidSan)
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
            Err(InvalidSan)
        }
    }

    /// The names of a certificate (DER), in its order; none where it has none or makes no sense.
    #[must_use]
    pub fn all_of(certificate: &[u8]) -> Vec<Self> {
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
            let _ = (San::all_of(&bytes), San::parse(&text));
        }
    }

    #[test]
    fn a_uri_and_a_hosts_name_are_told_apart() {
        let uri = "spiffe://example.org/ns/Mail/sa/sender";
        assert_eq!(San::parse(uri), Ok(San::Uri(uri.into())));
        let host = San::parse("Mailer.Example.org");
        assert_eq!(host, Ok(San::Dns("mailer.example.org".into())));
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
            assert_eq!(San::parse(wrong), Err(InvalidSan), "{wrong}");
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
            San::all_of(certificate.der()),
            [San::Dns("mailer.example.org".into()), San::Uri(uri.into())]
        );
    }
}
