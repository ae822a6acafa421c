//! Verifies the certificate that a database server shows.
//!
//! Promises that the server has the private key of its certificate, whatever else is verified. Where
//! there are roots, it must never accept a certificate that no root has signed and that is no root itself.

use super::errors::{Unusable, signature_error};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::sync::Arc;
use x509_cert::{
    Certificate,
    der::{Decode, oid::db::rfc5280::ID_KP_SERVER_AUTH},
    ext::pkix::{ExtendedKeyUsage, KeyUsage},
};

/// Certificates behind the server's own. webpki tries every path through them, so that many more would
/// keep this process busy for seconds. Real servers send one or two.
const MAX_INTERMEDIATES: usize = 4;

/// Verifies as much as the address asks for, and always that the server has its certificate's private key.
#[derive(Debug)]
pub(super) struct Verifier {
    /// None if nothing is verified.
    pub trust: Option<Trust>,
    pub names_must_match: bool,
    pub provider: Arc<CryptoProvider>,
}

/// The root certificates.
#[derive(Debug)]
pub(super) struct Trust {
    roots: RootCertStore,
    /// Those whose issuer is their own subject. One of them may be a server's own: libpq accepts no
    /// other root as one.
    self_issued: Vec<CertificateDer<'static>>,
}

/// Whether a certificate can be a root.
pub(super) fn is_root(certificate: &CertificateDer<'_>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

impl Trust {
    pub(super) fn new(mut certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        certificates.retain(is_self_issued);
        Self {
            roots,
            self_issued: certificates,
        }
    }
}

fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    Certificate::from_der(certificate).is_ok_and(|certificate| {
        let contents = certificate.tbs_certificate;
        contents.issuer == contents.subject
    })
}

/// Verifies a certificate that is itself among the roots. webpki verifies none that may sign others,
/// as `openssl req -x509` makes them. Nothing has to have signed this one: the file with the roots
/// has its every byte.
fn verify_own_root(own: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let certificate = Certificate::from_der(own).map_err(|_| CertificateError::BadEncoding)?;
    let contents = certificate.tbs_certificate;
    if now.as_secs() < contents.validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet);
    }
    if now.as_secs() > contents.validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired);
    }
    let (purposes, usage) = (
        contents.get::<ExtendedKeyUsage>(),
        contents.get::<KeyUsage>(),
    );
    let (Ok(purposes), Ok(usage)) = (purposes, usage) else {
        return Err(CertificateError::BadEncoding);
    };
    let is_for_servers =
        purposes.is_none_or(|(_, purposes)| purposes.0.contains(&ID_KP_SERVER_AUTH));
    let is_for_tls = usage.is_none_or(|(_, usage)| {
        usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
    });
    if !is_for_servers || !is_for_tls {
        return Err(CertificateError::InvalidPurpose);
    }
    Ok(())
}

impl Verifier {
    fn verify(
        &self,
        trust: &Trust,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(own)?;
        if trust.self_issued.iter().any(|root| root == own) {
            verify_own_root(own, now)?;
        } else {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &trust.roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.names_must_match {
            verify_server_name(&parsed, host)?;
        }
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            if intermediates.len() > MAX_INTERMEDIATES {
                return Err(Unusable(
                    "comes with more than four others: let the server send only those between it and \
                     its root",
                )
                .into());
            }
            self.verify(trust, own, intermediates, host, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms).map_err(signature_error)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms).map_err(signature_error)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
