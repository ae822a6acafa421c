//! Bounds the chain of certificates that a client sends.
//! Owns how long such a chain may be.
//! Promises that a longer one is refused before anything in it is parsed or verified.
//! Must never make a chain valid that is not: it only refuses.

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::sync::Arc;

/// Certificates behind the client's own. The verifier tries every path through them, so its work
/// doubles and more with each: four take less than a millisecond, eight some 50. Real clients send
/// one or two.
const MAX_INTERMEDIATES: usize = 4;

/// Bytes of all certificates together. They are kept as long as the connection is open. One takes one
/// or two KiB.
const MAX_BYTES: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
#[error(
    "comes with {intermediates} others, and takes {bytes} bytes with them; at most {MAX_INTERMEDIATES} \
     and {MAX_BYTES} bytes are read: let the client send only those between its own and the authority's"
)]
pub(super) struct ChainTooLong {
    intermediates: usize,
    bytes: usize,
}

/// Verifies a client's certificate, unless its chain is too long.
#[derive(Debug)]
pub(super) struct BoundedChain(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for BoundedChain {
    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Each is an error of a certificate, so that the client gets an alert about its certificates.
        check_length(own, intermediates)
            .map_err(|error| CertificateError::Other(OtherError(Arc::new(error))))?;
        let verified = self.0.verify_client_cert(own, intermediates, now);
        verified.map_err(|error| match error {
            // Another authority of the same name has signed it. The handshake is not signed yet.
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                CertificateError::UnknownIssuer.into()
            }
            other => other,
        })
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn check_length(
    own: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), ChainTooLong> {
    let behind: usize = intermediates.iter().map(|it| it.len()).sum();
    let (intermediates, bytes) = (intermediates.len(), own.len() + behind);
    if intermediates > MAX_INTERMEDIATES || bytes > MAX_BYTES {
        return Err(ChainTooLong {
            intermediates,
            bytes,
        });
    }
    Ok(())
}
