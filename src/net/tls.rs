//! Owns how this server proves itself over TLS, and how it verifies its clients' certificates.
//! Promises TLS 1.2 or later, HTTP/2 alone, and that what a certificate says was verified.
//! Must never let a session outlive the files it was made of: none is resumed.

use super::reload::{FileError, NamedFile, Reloaded, Wrong};
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

/// The files that TLS is made of.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots of the clients' certificates.
    pub client_ca: Option<PathBuf>,
}

/// What a handshake needs.
pub struct Tls {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    /// When the server's certificate expires.
    pub not_after: SystemTime,
}

/// The places of the files, for [`Wrong`].
const CERTIFICATE: usize = 0;
const KEY: usize = 1;
const CLIENT_CA: usize = 2;

impl TlsFiles {
    /// Reads the files, and from now on follows them.
    pub fn follow(self) -> Result<Reloaded<Tls>, FileError> {
        let named = |setting, path| NamedFile { setting, path };
        let mut files = vec![
            named("--tls-cert", self.certificate),
            named("--tls-key", self.key),
        ];
        files.extend(self.client_ca.map(|path| named("--tls-client-ca", path)));
        Reloaded::start(files, |contents| {
            let client_ca = contents.get(CLIENT_CA).map(Vec::as_slice);
            Tls::parse(&contents[CERTIFICATE], &contents[KEY], client_ca)
        })
    }
}

impl Tls {
    /// Reads the files' contents, which are PEM.
    pub fn parse(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, Wrong> {
        let chain = certificates(certificate).map_err(|why| Wrong::new(CERTIFICATE, why))?;
        let not_after = not_after(&chain[0]).map_err(|why| Wrong::new(CERTIFICATE, why))?;
        // The parser's own error could repeat what it read.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| Wrong::new(KEY, "holds no private key (PEM, not encrypted)"))?;
        let provider = Arc::new(ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3");
        let builder = match client_ca {
            None => versions.with_no_client_auth(),
            Some(roots) => {
                let wrong = |why: String| Wrong::new(CLIENT_CA, why);
                let roots = Arc::new(self::roots(roots).map_err(wrong)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    // Who has none may still show a bearer secret, or ask for health.
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| Wrong::new(CLIENT_CA, error))?;
                versions.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            Wrong::new(
                KEY,
                format!("does not fit the certificate of --tls-cert: {error}"),
            )
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would be judged by the roots of its first handshake.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            not_after,
        })
    }
}

/// At least one.
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
        .map_err(|error| format!("holds a certificate that makes no sense: {error}"))?;
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

    fn wrong(certificate: &str, key: &str, client_ca: Option<&str>) -> (usize, String) {
        let client_ca = client_ca.map(str::as_bytes);
        let parsed = Tls::parse(certificate.as_bytes(), key.as_bytes(), client_ca);
        let wrong = parsed.map(|_| ()).expect_err("wrong");
        (wrong.file, wrong.why)
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = Tls::parse(&bytes, &bytes, Some(&bytes));
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_the_file_that_is_wrong() {
        let (certificate, key) = self_signed();
        let (other_certificate, other_key) = self_signed();
        let tls = Tls::parse(certificate.as_bytes(), key.as_bytes(), None).expect("right");
        let day = Duration::from_secs(24 * 3600);
        let new_year_2030 = UNIX_EPOCH + day * 21_915;
        assert_eq!(tls.not_after, new_year_2030);
        let both = format!("{certificate}{other_certificate}");
        assert!(Tls::parse(both.as_bytes(), key.as_bytes(), Some(both.as_bytes())).is_ok());

        assert_eq!(wrong("", &key, None).0, CERTIFICATE);
        assert_eq!(wrong(&key, &key, None).0, CERTIFICATE);
        assert_eq!(wrong(&certificate, "", None).0, KEY);
        assert_eq!(wrong(&certificate, &certificate, None).0, KEY);
        let (file, why) = wrong(&certificate, &other_key, None);
        assert_eq!(file, KEY);
        assert!(why.contains("does not fit the certificate"), "{why}");
        assert_eq!(wrong(&certificate, &key, Some("")).0, CLIENT_CA);
    }
}
