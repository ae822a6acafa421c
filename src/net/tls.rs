//! Sets up TLS: how this server proves itself, and how it verifies its clients' certificates.
//! Owns the certificates and the private key, as the watched files hold them. `certificate_choice` has those of
//! this server.
//! Promises TLS 1.2 or later, HTTP/2 alone, and that every client's certificate is verified.
//! Must never resume a session, which could outlive the files it was set up with.

use super::{
    certificate_choice::{CertificateChoice, LastChoice},
    client_authorities::{AuthorityName, ClientAuthorities},
    client_chain::BoundedChain,
    identity::Identity,
    reload::{InvalidFile, Reloaded},
    revocation_lists::{self, NewestLists},
};
use crate::named_file::{FileError, NamedFile};
use humantime::format_rfc3339_seconds;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

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
    /// The lists of the clients' certificates that are revoked. They need the authorities.
    pub client_crl: Option<PathBuf>,
}

/// What a handshake needs.
pub(crate) struct Tls {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    certificate: Arc<CertificateChoice>,
    /// When the first of the revocation lists expires. From then on, the clients of its authority are
    /// refused.
    pub crl_next_update: Option<SystemTime>,
    authorities: Vec<AuthorityName>,
}

/// What was in use so far.
#[derive(Default)]
struct InUse {
    certificate: LastChoice,
    newest_lists: NewestLists,
}

/// The files' indices, for [`InvalidFile`].
pub(super) const CERTIFICATE: usize = 0;
pub(super) const KEY: usize = 1;
const CLIENT_CA: usize = 2;
const CLIENT_CRL: usize = 3;

/// How often the log says that the certificate or a revocation list has expired.
const BETWEEN_REPORTS: Duration = Duration::from_secs(60);

impl TlsFiles {
    /// Reads the files, and reloads them whenever they change.
    pub(crate) fn watch(self) -> Result<Reloaded<Tls>, FileError> {
        let named = |setting, path| NamedFile { setting, path };
        let certificate = self.certificate.clone();
        let mut files = vec![
            named("--tls-cert", self.certificate),
            named("--tls-key", self.key),
        ];
        files.extend(self.client_ca.map(|path| named("--tls-client-ca", path)));
        // The settings see to it that there are lists only where there are authorities.
        files.extend(self.client_crl.map(|path| named("--tls-client-crl", path)));
        let in_use = InUse::default();
        Reloaded::watch(files, move |contents| {
            Tls::parse(&certificate, contents, &in_use)
        })
    }
}

impl Tls {
    /// Parses the contents of the files, which are PEM. `path` is that of the certificate.
    fn parse(path: &Path, contents: &[Vec<u8>], in_use: &InUse) -> Result<Self, InvalidFile> {
        let file = |index| contents.get(index).map(Vec::as_slice);
        let (client_ca, client_crl) = (file(CLIENT_CA), file(CLIENT_CRL));
        let crls = client_crl.map(revocation_lists::parse).transpose();
        let crls = crls.map_err(|why| InvalidFile::new(CLIENT_CRL, why))?;
        let crls = crls.unwrap_or_default();
        let crl_next_update = crls.iter().filter_map(|list| list.next_update).min();
        let provider = Arc::new(ring::default_provider());
        let identity = Identity::parse(&contents[CERTIFICATE], &contents[KEY], &provider)?;
        let last = &in_use.certificate;
        let certificate = last.read(path.to_owned(), identity, SystemTime::now());
        let versions = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3");
        let mut authorities = Vec::new();
        let builder = match client_ca {
            None => versions.with_no_client_auth(),
            Some(pem) => {
                let parsed = ClientAuthorities::parse(pem);
                let ClientAuthorities { roots, names } =
                    parsed.map_err(|why| InvalidFile::new(CLIENT_CA, why))?;
                authorities = names;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    // A client without a certificate may show a bearer secret, or ask for health.
                    .allow_unauthenticated()
                    // Where there is a list, the rest is as strict as it can be: every certificate
                    // of a chain must be on record as not revoked, by a list that has not expired.
                    .with_crls(crls.iter().map(|list| list.der.clone()))
                    .enforce_revocation_expiration()
                    .build()
                    .map_err(|error| match error {
                        VerifierBuilderError::InvalidCrl(_) => InvalidFile::new(
                            CLIENT_CRL,
                            "holds a certificate revocation list that cannot be used; use complete \
                             lists of version 2, each of the authority that signs it",
                        ),
                        _ => InvalidFile::new(CLIENT_CA, error),
                    })?;
                versions.with_client_cert_verifier(Arc::new(BoundedChain(verifier)))
            }
        };
        let mut config = builder.with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would not be verified against authorities that have changed since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let taken = in_use.newest_lists.take(&crls);
        taken.map_err(|why| InvalidFile::new(CLIENT_CRL, why))?;
        in_use.certificate.note(&certificate);
        Ok(Self {
            config: Arc::new(config),
            certificate,
            crl_next_update,
            authorities,
        })
    }
}

/// Logs that the server's certificate or a revocation list is not valid now: at once, whenever the files
/// change, and again and again, until the files are dropped.
pub(crate) async fn report_invalid_dates(files: Weak<Reloaded<Tls>>) {
    loop {
        let Some(files) = files.upgrade() else {
            return;
        };
        let mut changes = files.changes();
        files.get().report_invalid_dates(SystemTime::now());
        drop(files);
        // It ends too when the files are dropped.
        let _ = timeout(BETWEEN_REPORTS, changes.changed()).await;
    }
}

impl Tls {
    /// When the certificate that the server shows expires.
    pub(crate) fn not_after(&self) -> SystemTime {
        self.certificate.not_after(SystemTime::now())
    }

    /// Whether a certificate is shown that was read before, because that of the file is not valid now.
    pub(crate) fn keeps_another_certificate(&self) -> bool {
        self.certificate.keeps_another(SystemTime::now())
    }

    fn report_invalid_dates(&self, now: SystemTime) {
        if let Some(problem) = self.certificate.problem(now) {
            tracing::warn!("{problem}");
        }
        if self.crl_next_update.is_some_and(|expiry| expiry <= now) {
            tracing::error!(
                "--tls-client-crl: a list has expired, and clients with certificates of its \
                 authority are refused; replace it with the authority's current list"
            );
        }
        for authority in self.authorities.iter().filter(|it| it.not_after < now) {
            tracing::warn!(
                subject = authority.subject,
                "--tls-client-ca: the certificate of this authority expired at {}, and certificates that it has \
                 signed are still accepted; remove it, or replace it",
                format_rfc3339_seconds(authority.not_after)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::test_authority::authority, *};
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::time::UNIX_EPOCH;

    fn self_signed() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("valid");
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// Parses files that nothing was read of before.
    fn parse(
        certificate: &[u8],
        key: &[u8],
        client_ca: Option<&[u8]>,
        client_crl: Option<&[u8]>,
    ) -> Result<Tls, InvalidFile> {
        let files = [Some(certificate), Some(key), client_ca, client_crl];
        let contents: Vec<_> = files.into_iter().flatten().map(<[u8]>::to_vec).collect();
        Tls::parse(Path::new("tls.crt"), &contents, &InUse::default())
    }

    fn invalid(
        certificate: &str,
        key: &str,
        client_ca: Option<&str>,
        client_crl: Option<&str>,
    ) -> (usize, String) {
        let client_crl = client_crl.map(str::as_bytes);
        let client_ca = client_ca.map(str::as_bytes);
        let parsed = parse(
            certificate.as_bytes(),
            key.as_bytes(),
            client_ca,
            client_crl,
        );
        let invalid = parsed.map(|_| ()).expect_err("invalid");
        (invalid.file, invalid.why)
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted_or_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, &bytes, Some(&bytes), Some(&bytes));
        }
    }

    #[test]
    fn an_error_names_the_file_that_is_invalid() {
        let (certificate, key) = self_signed();
        let (other_certificate, other_key) = self_signed();
        let tls = parse(certificate.as_bytes(), key.as_bytes(), None, None).expect("valid");
        let day = Duration::from_secs(24 * 3600);
        let new_year_2030 = UNIX_EPOCH + day * 21_915;
        assert_eq!(tls.not_after(), new_year_2030);
        let both = format!("{certificate}{other_certificate}");
        let (authority, other) = (authority("one").pem(), authority("other").pem());
        let authorities = format!("{authority}{other}");
        assert!(
            parse(
                both.as_bytes(),
                key.as_bytes(),
                Some(authorities.as_bytes()),
                None
            )
            .is_ok()
        );

        assert_eq!(invalid("", &key, None, None).0, CERTIFICATE);
        assert_eq!(invalid(&certificate, &other_key, None, None).0, KEY);
        let junk = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let (file, why) = invalid(
            &certificate,
            &key,
            Some(&format!("{authority}{junk}")),
            None,
        );
        assert_eq!(file, CLIENT_CA);
        assert_eq!(why, "holds an invalid certificate, number 2 in it");
        assert_eq!(invalid(&certificate, &key, Some(""), None).0, CLIENT_CA);
        let broken = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
        for crl in ["", &certificate, broken] {
            let (file, why) = invalid(&certificate, &key, Some(&authority), Some(crl));
            assert_eq!(file, CLIENT_CRL, "{why}");
            assert!(why.contains("certificate revocation list"), "{why}");
        }
    }
}
