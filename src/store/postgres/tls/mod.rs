//! TLS to the database: how far the server's certificate is verified.
//!
//! Promises that `verify-full` verifies both the certificate's chain and the server's name. Must
//! never verify less than the address asks for.

mod connector;
mod errors;
mod verifier;

use crate::file_access::{Content, warn_of_others};
pub(super) use connector::Connector;
use rustls::{
    ClientConfig,
    crypto::ring,
    pki_types::{
        CertificateDer,
        pem::{Error, PemObject},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use verifier::{Trust, Verifier};

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
pub(super) fn connector(verification: Verification) -> Result<Connector, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let (roots, names_must_match) = match verification {
        Verification::None => (None, false),
        Verification::Ca(path) => (Some(roots_in(&path)?), false),
        Verification::Full(Some(path)) => (Some(roots_in(&path)?), true),
        Verification::Full(None) => (Some(roots_of_the_system()?), true),
    };
    let verifier = Verifier {
        trust: roots.map(Trust::new),
        names_must_match,
        provider,
    };
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Connector(MakeRustlsConnect::new(config)))
}

fn roots_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    // Whoever may change it decides which server is believed.
    warn_of_others("sslrootcert", &[path], Content::Public);
    let invalid = |error| {
        let why = match error {
            Error::Io(error) => format!("cannot be read: {error}"),
            _ => "is not valid PEM".to_owned(),
        };
        format!("the file {} of sslrootcert {why}", path.display())
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(invalid)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(invalid)?;
    if certificates.is_empty() {
        return Err(format!(
            "the file {} of sslrootcert holds no certificate (PEM)",
            path.display()
        ));
    }
    if !certificates.iter().all(verifier::is_root) {
        return Err(format!(
            "the file {} of sslrootcert holds an invalid certificate",
            path.display()
        ));
    }
    Ok(certificates)
}

fn roots_of_the_system() -> Result<Vec<CertificateDer<'static>>, String> {
    let mut certificates = rustls_native_certs::load_native_certs().certs;
    certificates.retain(verifier::is_root);
    if certificates.is_empty() {
        let none =
            "no root certificate in the system's store; give one with sslrootcert=FILE (PEM)";
        return Err(none.to_owned());
    }
    Ok(certificates)
}
