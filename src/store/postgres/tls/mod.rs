//! TLS to the database: how far the server's certificate is verified.
//!
//! Promises that `verify-full` verifies both the certificate's chain and the server's name. Must
//! never verify less than the address asks for.

mod connector;
mod errors;
mod verifier;

use crate::{
    file_access::{self, Content, warn_of_others},
    pem::{self, Wanted},
};
pub(super) use connector::Connector;
use rustls::{
    ClientConfig,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use verifier::{Trust, Verifier};

/// Larger than any sensible file of roots. That of a whole system has a quarter of it.
const MAX_ROOTS_LEN: u64 = 1024 * 1024;

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
    let invalid = |why: &str| format!("the file {} of sslrootcert {why}", path.display());
    let content = file_access::read(path, MAX_ROOTS_LEN)
        .map_err(|error| invalid(&format!("cannot be read: {error}")))?;
    let pem = content.ok_or_else(|| invalid("is larger than 1 MiB"))?;
    pem::check(&pem, Wanted::Certificates).map_err(invalid)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.ok().filter(|found| !found.is_empty());
    let certificates =
        certificates.ok_or_else(|| invalid(pem::why_missing(&pem, Wanted::Certificates)))?;
    if !certificates.iter().all(verifier::is_root) {
        return Err(invalid("holds an invalid certificate"));
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
