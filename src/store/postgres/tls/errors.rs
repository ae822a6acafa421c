//! What is wrong with TLS to a database server, and what to do.
//!
//! Promises plain sentences: the names that rustls has for its errors are only logged, below info.

use rustls::{AlertDescription, CertificateError, Error, OtherError};
use std::{io, sync::Arc};

/// What is wrong with the server's certificate, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("the database server's certificate {0}")]
pub(super) struct Unusable(pub(super) &'static str);

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Self {
        OtherError(Arc::new(unusable)).into()
    }
}

const UNSUPPORTED: &str = "has a key or a signature of a kind or size that is not supported: use ECDSA \
                           (P-256 or P-384), Ed25519, or RSA with 2048 to 8192 bits, and SHA-256, \
                           SHA-384 or SHA-512";

const INCOMPATIBLE: &str = "the database server and this service have no TLS version, cipher or kind \
                            of certificate in common: use TLS 1.2 or 1.3, and a certificate with an \
                            ECDSA key (P-256 or P-384), an Ed25519 key, or an RSA key of 2048 to 8192 \
                            bits";

/// The error for a certificate that was not verified.
pub(super) fn chain_error(error: Error) -> Error {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext,
        NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext, UnknownIssuer,
    };
    let Error::InvalidCertificate(found) = &error else {
        return error;
    };
    Unusable(match found {
        Expired | ExpiredContext { .. } => {
            "or one that has signed it has expired: renew it, or set this machine's clock right"
        }
        NotValidYet | NotValidYetContext { .. } => {
            "is not valid yet: compare the clocks of both machines"
        }
        UnknownIssuer | BadSignature => {
            "is signed by none of the roots of sslrootcert: give the root that has signed it, and \
             let the server send the certificates between the two"
        }
        NotValidForName | NotValidForNameContext { .. } => {
            "does not name the address's host among its subject alternative names (a common name does \
             not count): write a name that it has as the host, and the server's network address as \
             hostaddr, or make another certificate"
        }
        InvalidPurpose | InvalidPurposeContext { .. } => {
            "is for another purpose than to be a server's: make one whose extended key usage, if it has \
             one, has serverAuth, and whose key usage, if it has one, has digitalSignature"
        }
        // webpki's errors have no types here.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "is that of an authority, and not itself in the file of sslrootcert: put it there, or have \
             the authority sign another one for the server"
        }
        other => return unusable(other),
    })
    .into()
}

/// The error for a handshake that was not signed with the certificate's key, as far as is known.
pub(super) fn signature_error(error: Error) -> Error {
    match &error {
        // That is also what is said of an RSA key with too few bits.
        Error::InvalidCertificate(CertificateError::BadSignature) => Unusable(
            "has another key than the server, or an RSA key of a size that is not supported: use 2048 \
             to 8192 bits",
        )
        .into(),
        Error::InvalidCertificate(other) => unusable(other),
        _ => error,
    }
}

fn unusable(error: &CertificateError) -> Error {
    use CertificateError::{
        UnsupportedSignatureAlgorithmContext, UnsupportedSignatureAlgorithmForPublicKeyContext,
    };
    tracing::debug!("the database server's certificate: {error}");
    Unusable(match error {
        UnsupportedSignatureAlgorithmContext { .. }
        | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => UNSUPPORTED,
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            "is of X.509 version 1: make one of version 3"
        }
        _ => {
            "or one that has signed it cannot be used: it is damaged, or has extensions that are not \
             supported or forbid this use"
        }
    })
    .into()
}

/// The error of a TLS stream, as a sentence.
pub(super) fn plain(error: io::Error) -> io::Error {
    let kind = error.kind();
    let said = match kind {
        io::ErrorKind::UnexpectedEof => {
            "the database server closed the connection; its log may say why".to_owned()
        }
        io::ErrorKind::InvalidInput => {
            "the address's host is neither a DNS name nor an IP address".to_owned()
        }
        _ => match error.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(cause) => sentence(cause),
            None => return error,
        },
    };
    io::Error::new(kind, said)
}

fn sentence(error: &Error) -> String {
    use AlertDescription::{
        CertificateRequired, HandshakeFailure, InsufficientSecurity, ProtocolVersion,
        UnrecognisedName,
    };
    tracing::debug!("TLS to the database server: {error}");
    match error {
        Error::Other(OtherError(ours)) => ours.to_string(),
        Error::PeerIncompatible(_)
        | Error::AlertReceived(HandshakeFailure | InsufficientSecurity | ProtocolVersion) => {
            INCOMPATIBLE.to_owned()
        }
        Error::AlertReceived(CertificateRequired) => {
            "the database server demands a client certificate, and this service sends none: let the \
             server accept a password"
                .to_owned()
        }
        Error::AlertReceived(UnrecognisedName) => {
            "the database server does not know the address's host: write the name that it goes by as \
             the host"
                .to_owned()
        }
        Error::AlertReceived(alert) => format!(
            "the database server ended TLS with the alert {}; its log may say why",
            u8::from(*alert)
        ),
        _ => "the database server's answer is not valid TLS: check the host and the port, and what is \
              between"
            .to_owned(),
    }
}
