//! Sets up TLS: how this server proves itself, and how it verifies its clients' certificates.
//! Owns the certificates and the private key, as the watched files hold them.
//! Promises TLS 1.2 or later, HTTP/2 alone, and that every client's certificate is verified.
//! Must never resume a session, which could outlive the files it was set up with.

use super::reload::{FileError, InvalidFile, NamedFile, Reloaded};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use x509_cert::{Certificate, der::Decode};

/// The files that TLS is set up with.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// The server's certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that issue the clients' certificates. Without them, no client is asked for a
    /// certificate.
    pub client_ca: Option<PathBuf>,
}

/// What a handshake needs.
pub(crate) struct Tls {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    /// When the server's certificate expires.
    pub not_after: SystemTime,
}

/// The files' indices, for [`InvalidFile`].
const CERTIFICATE: usize = 0;
const KEY: usize = 1;
const CLIENT_CA: usize = 2;

impl TlsFiles {
    /// Reads the files, and reloads them whenever they change.
    pub(crate) fn watch(self) -> Result<Reloaded<Tls>, FileError> {
        let named = |setting, path| NamedFile { setting, path };
        let mut files = vec![
            named("--tls-cert", self.certificate),
            named("--tls-key", self.key),
        ];
        files.extend(self.client_ca.map(|path| named("--tls-client-ca", path)));
        Reloaded::watch(files, |contents| {
            let client_ca = contents.get(CLIENT_CA).map(Vec::as_slice);
            Tls::parse(&contents[CERTIFICATE], &contents[KEY], client_ca)
        })
    }
}

impl Tls {
    /// Parses the contents of the files, which are PEM.
    pub(crate) fn parse(
        certificate: &[u8],
        key: &[u8],
        client_ca: Option<&[u8]>,
    ) -> Result<Self, InvalidFile> {
        let chain = certificates(certificate).map_err(|why| InvalidFile::new(CERTIFICATE, why))?;
        let not_after = not_after(&chain[0]).map_err(|why| InvalidFile::new(CERTIFICATE, why))?;
        // The parser's own error could repeat parts of the key.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| InvalidFile::new(KEY, "holds no private key (PEM, not encrypted)"))?;
        let provider = Arc::new(ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3");
        let builder = match client_ca {
            None => versions.with_no_client_auth(),
            Some(roots) => {
                let roots = self::roots(roots).map_err(|why| InvalidFile::new(CLIENT_CA, why))?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    // A client without a certificate may show a bearer secret, or ask for health.
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| InvalidFile::new(CLIENT_CA, error))?;
                versions.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            InvalidFile::new(
                KEY,
                format!("does not fit the certificate of --tls-cert: {error}"),
            )
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would not be verified against authorities that have changed since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            not_after,
        })
    }
}

/// The certificates in a file, of which there must be one or more.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err("holds no certificate (PEM)".to_owned()),
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

fn not_after(certificate: &CertificateDer<'_>) -> Result<SystemTime, String> {
    let certificate = Certificate::from_der(certificate)
        .map_err(|error| format!("holds an invalid certificate: {error}"))?;
    let validity = certificate.tbs_certificate.validity;
    Ok(UNIX_EPOCH + validity.not_after.to_unix_duration())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::time::Duration;

    fn self_signed() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("valid");
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn invalid(certificate: &str, key: &str, client_ca: Option<&str>) -> (usize, String) {
        let client_ca = client_ca.map(str::as_bytes);
        let parsed = Tls::parse(certificate.as_bytes(), key.as_bytes(), client_ca);
        let invalid = parsed.map(|_| ()).expect_err("invalid");
        (invalid.file, invalid.why)
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted_or_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = Tls::parse(&bytes, &bytes, Some(&bytes));
        }
    }

    #[test]
    fn an_error_names_the_file_that_is_invalid() {
        let (certificate, key) = self_signed();
        let (other_certificate, other_key) = self_signed();
        let tls = Tls::parse(certificate.as_bytes(), key.as_bytes(), None).expect("valid");
        let day = Duration::from_secs(24 * 3600);
        let new_year_2030 = UNIX_EPOCH + day * 21_915;
        assert_eq!(tls.not_after, new_year_2030);
        let both = format!("{certificate}{other_certificate}");
        assert!(Tls::parse(both.as_bytes(), key.as_bytes(), Some(both.as_bytes())).is_ok());

        assert_eq!(invalid("", &key, None).0, CERTIFICATE);
        assert_eq!(invalid(&key, &key, None).0, CERTIFICATE);
        assert_eq!(invalid(&certificate, "", None).0, KEY);
        assert_eq!(invalid(&certificate, &certificate, None).0, KEY);
        let (file, why) = invalid(&certificate, &other_key, None);
        assert_eq!(file, KEY);
        assert!(why.contains("does not fit the certificate"), "{why}");
        assert_eq!(invalid(&certificate, &key, Some("")).0, CLIENT_CA);
    }
}
