//! What is wrong with TLS to a peer, where it is the same for a client and for a database server.
//!
//! Promises plain words. The names that rustls has for its errors are only logged, below info.

use rustls::CertificateError;

/// What is wrong with a peer's certificate, and what to do. `the certificate` stands before it.
pub(crate) fn of_certificate(error: &CertificateError) -> &'static str {
    use CertificateError::{
        Expired, ExpiredContext, NotValidYet, NotValidYetContext,
        UnsupportedSignatureAlgorithmContext, UnsupportedSignatureAlgorithmForPublicKeyContext,
    };
    match error {
        Expired | ExpiredContext { .. } => {
            "or one that has signed it has expired: renew it, or set this machine's clock right"
        }
        NotValidYet | NotValidYetContext { .. } => {
            "is not valid yet: compare the clocks of both machines"
        }
        UnsupportedSignatureAlgorithmContext { .. }
        | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "has a key or a signature of a kind or size that is not supported: use ECDSA (P-256 or \
             P-384), Ed25519, or RSA with 2048 to 8192 bits, and SHA-256, SHA-384 or SHA-512"
        }
        other if is_of_webpki(other, "UnsupportedCertVersion") => {
            "is of X.509 version 1: make one of version 3"
        }
        _ => {
            "or one that has signed it cannot be used: it is damaged, or has extensions that are not \
             supported or forbid this use"
        }
    }
}

/// Whether the certificate is an authority's, and so cannot be the peer's own.
pub(crate) fn is_authority(error: &CertificateError) -> bool {
    is_of_webpki(error, "CaUsedAsEndEntity")
}

/// webpki's errors have no types here.
fn is_of_webpki(error: &CertificateError, name: &str) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains(name))
}

/// The two sides of a connection can agree on nothing.
pub(crate) fn incompatible(peer: &str) -> String {
    format!(
        "{peer} and this service have no TLS version, cipher or kind of certificate in common: use TLS \
         1.2 or 1.3, and a certificate with an ECDSA key (P-256 or P-384), an Ed25519 key, or an RSA key \
         of 2048 to 8192 bits"
    )
}
