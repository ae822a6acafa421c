//! TLS to the database: how far the server's certificate is verified.
//!
//! Promises that `verify-full` verifies both the certificate's chain and the server's name. Must
//! never verify less than the address asks for.

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What is verified of the server. A path names a file of root certificates.
pub(super) enum Verification {
    /// Nothing: only encryption, as with libpq's `prefer` and `require`.
    None,
    /// A root has signed the certificate.
    Ca(PathBuf),
    /// A root has signed the certificate, and it names the host. Without a path, the system's root
    /// certificates count.
    Full(Option<PathBuf>),
}

/// A connector that verifies this much. The error says what is wrong with the root certificates.
pub(super) fn connector(verification: Verification) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let (roots, names_must_match) = match verification {
        Verification::None => (None, false),
        Verification::Ca(path) => (Some(roots(Some(&path))?), false),
        Verification::Full(path) => (Some(roots(path.as_deref())?), true),
    };
    let chain = roots.map(|roots| {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        builder.build().map_err(|error| error.to_string())
    });
    let verifier = Verifier {
        chain: chain.transpose()?,
        names_must_match,
        provider,
    };
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn roots(path: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match path {
        Some(path) => {
            let unreadable = |error| format!("sslrootcert {}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                let certificate = certificate.map_err(unreadable)?;
                roots
                    .add(certificate)
                    .map_err(|error| format!("sslrootcert {}: {error}", path.display()))?;
            }
        }
        None => {
            let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        let source = path.map_or("the system's store".into(), Path::to_string_lossy);
        return Err(format!(
            "no root certificate in {source}; give one with sslrootcert=FILE (PEM)"
        ));
    }
    Ok(roots)
}

/// Certificates behind the server's own. webpki tries every path through them, so that many more would
/// keep this process busy for seconds. Real servers send one or two.
const MAX_INTERMEDIATES: usize = 4;

/// Verifies as much as the address asks for, and always that the server has its certificate's private key.
#[derive(Debug)]
struct Verifier {
    /// None if nothing is verified.
    chain: Option<Arc<WebPkiServerVerifier>>,
    names_must_match: bool,
    provider: Arc<CryptoProvider>,
}

/// What is wrong with the server's certificate, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("the database server's certificate {0}")]
struct Unusable(&'static str);

impl Unusable {
    fn of(error: &Error) -> Option<Self> {
        use CertificateError::{
            BadSignature, Expired, ExpiredContext, NotValidYet, NotValidYetContext, Other,
            UnknownIssuer,
        };
        let Error::InvalidCertificate(error) = error else {
            return None;
        };
        let advice = match error {
            Expired | ExpiredContext { .. } => "has expired: renew it",
            NotValidYet | NotValidYetContext { .. } => {
                "is not valid yet: compare the clocks of both machines"
            }
            UnknownIssuer | BadSignature => {
                "is signed by none of the roots of sslrootcert: give the root that has signed it, and \
                 let the server send the certificates between the two"
            }
            // webpki's errors have no types here.
            Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "is that of an authority, such as a self-signed one that is its own root: have an \
                 authority sign another one for the server"
            }
            Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
                "is of X.509 version 1: make one of version 3"
            }
            _ => return None,
        };
        Some(Self(advice))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        if intermediates.len() > MAX_INTERMEDIATES {
            let too_many = Unusable(
                "comes with more than four others: let the server send only those \
                                     between it and its root",
            );
            return Err(OtherError(Arc::new(too_many)).into());
        }
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is verified last, after the chain.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names_must_match => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(match Unusable::of(&error) {
                Some(unusable) => OtherError(Arc::new(unusable)).into(),
                None => error,
            }),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
