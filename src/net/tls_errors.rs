//! What is wrong with the TLS of a client, and what to do.
//!
//! Promises plain sentences: the names that rustls has for its errors are only logged, below info.

use super::client_chain::{ChainTooLong, TwoPaths};
use crate::tls_faults;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, OtherError};

/// The error of a handshake, as a sentence.
pub(super) fn sentence(error: &Error) -> String {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown, DecryptError,
        HandshakeFailure, InsufficientSecurity, ProtocolVersion, UnknownCA, UnsupportedCertificate,
    };
    tracing::debug!("TLS with a client: {error}");
    let said = match error {
        Error::InvalidCertificate(error) => return of_certificate(error),
        Error::PeerIncompatible(_)
        | Error::AlertReceived(HandshakeFailure | InsufficientSecurity | ProtocolVersion) => {
            return tls_faults::incompatible("the client");
        }
        Error::AlertReceived(
            BadCertificate
            | CertificateExpired
            | CertificateRevoked
            | CertificateUnknown
            | DecryptError
            | UnknownCA
            | UnsupportedCertificate,
        ) => {
            "the client does not accept the certificate of --tls-cert: give the client the root that \
             has signed it, and let it call a name that the certificate has"
        }
        Error::AlertReceived(alert) => {
            return format!(
                "the client ended TLS with the alert {}; its log may say why",
                u8::from(*alert)
            );
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the client does not begin with TLS, without which this port serves nothing: let it \
             connect with TLS"
        }
        Error::NoApplicationProtocol => {
            "the client does not offer HTTP/2 (h2 in ALPN), which gRPC needs"
        }
        _ => "what the client sent is not valid TLS: check what is between",
    };
    said.to_owned()
}

fn of_certificate(error: &CertificateError) -> String {
    use CertificateError::{
        BadSignature, ExpiredRevocationList, ExpiredRevocationListContext, InvalidPurpose,
        InvalidPurposeContext, Revoked, UnknownIssuer, UnknownRevocationStatus,
    };
    if let CertificateError::Other(OtherError(other)) = error
        && (other.is::<ChainTooLong>() || other.is::<TwoPaths>())
    {
        return format!("the client's certificate {other}");
    }
    let why = match error {
        UnknownIssuer => {
            "is signed by none of the authorities of --tls-client-ca: give the one that has signed it, \
             and let the client send the certificates between the two"
        }
        BadSignature => {
            "has another key than the client, or an RSA key of a size that is not supported: use 2048 \
             to 8192 bits"
        }
        Revoked => "is revoked by a list of --tls-client-crl",
        UnknownRevocationStatus => {
            "or one that has signed it is of an authority that has no list in --tls-client-crl: add the \
             list of each authority"
        }
        ExpiredRevocationList | ExpiredRevocationListContext { .. } => {
            "cannot be checked, because a list of --tls-client-crl has expired: replace it with the \
             authority's current list"
        }
        InvalidPurpose | InvalidPurposeContext { .. } => {
            "is for another purpose than to be a client's: make one whose extended key usage, if it has \
             one, has clientAuth"
        }
        other if tls_faults::is_authority(other) => {
            "is that of an authority: let the authority sign another one for the client"
        }
        other => tls_faults::of_certificate(other),
    };
    format!("the client's certificate {why}")
}
