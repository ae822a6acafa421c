//! What is wrong with TLS to a database server, and what to do.
//!
//! Promises plain sentences: the names that rustls has for its errors are only logged, below info.

use crate::tls_faults;
use rustls::{
    AlertDescription, CertificateError, Error, OtherError, pki_types::InvalidDnsNameError,
};
use std::{io, sync::Arc};

/// What is wrong with the server's certificate, and what to do, where rustls has no error for it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(pub(super) &'static str);

impl From<Unusable> for Error {
    /// An error of a certificate, so that the server gets an alert about its certificate.
    fn from(unusable: Unusable) -> Self {
        CertificateError::Other(OtherError(Arc::new(unusable))).into()
    }
}

/// The error for a handshake that was not signed with the certificate's key, as far as is known.
pub(super) fn signature_error(error: Error) -> Error {
    match error {
        // That is also what is said of an RSA key with too few bits.
        Error::InvalidCertificate(CertificateError::BadSignature) => Unusable(
            "has another key than the server, or an RSA key of a size that is not supported: use 2048 \
             to 8192 bits",
        )
        .into(),
        _ => error,
    }
}

/// What is wrong with the server's certificate, and what to do.
fn of_certificate(error: &CertificateError) -> &'static str {
    use CertificateError::{
        BadSignature, InvalidPurpose, InvalidPurposeContext, NotValidForName,
        NotValidForNameContext, UnknownIssuer,
    };
    if let CertificateError::Other(OtherError(other)) = error
        && let Some(Unusable(why)) = other.downcast_ref()
    {
        return why;
    }
    match error {
        UnknownIssuer | BadSignature => {
            "is signed by none of the roots of sslrootcert, or of the system without that: give the root that has \
             signed it, and let the server send the certificates between the two"
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
        other if tls_faults::is_authority(other) => {
            "is that of an authority, and not itself in the file of sslrootcert: put it there, or have \
             the authority sign another one for the server"
        }
        other => tls_faults::of_certificate(other),
    }
}

/// The error of a TLS stream, as a sentence.
pub(super) fn plain(error: io::Error) -> io::Error {
    let kind = error.kind();
    if kind == io::ErrorKind::UnexpectedEof {
        let closed = "the database server closed the connection; its log may say why";
        return io::Error::new(kind, closed);
    }
    let Some(cause) = error.get_ref() else {
        return error;
    };
    if cause.is::<InvalidDnsNameError>() {
        let invalid = "the address's host is neither a DNS name nor an IP address";
        io::Error::new(kind, invalid)
    } else if let Some(cause) = cause.downcast_ref() {
        io::Error::new(kind, sentence(cause))
    } else {
        error
    }
}

fn sentence(error: &Error) -> String {
    use AlertDescription::{
        CertificateRequired, HandshakeFailure, InsufficientSecurity, ProtocolVersion,
        UnrecognisedName,
    };
    tracing::debug!("TLS to the database server: {error}");
    match error {
        Error::InvalidCertificate(error) => {
            format!("the database server's certificate {}", of_certificate(error))
        }
        Error::PeerIncompatible(_)
        | Error::AlertReceived(HandshakeFailure | InsufficientSecurity | ProtocolVersion) => {
            tls_faults::incompatible("the database server")
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;

    #[test]
    fn only_a_host_that_is_no_name_is_told_to_be_none() {
        let no_name = ServerName::try_from("no name").expect_err("it has a space");
        let said = plain(io::Error::new(io::ErrorKind::InvalidInput, no_name)).to_string();
        assert!(said.contains("neither a DNS name nor"), "{said}");
        let other = io::Error::new(io::ErrorKind::InvalidInput, "another cause");
        assert_eq!(plain(other).to_string(), "another cause");
    }

    #[test]
    fn what_is_wrong_with_a_certificate_alone_is_told_to_the_server_as_such() {
        let error = Error::from(Unusable("is odd"));
        let said = plain(io::Error::new(io::ErrorKind::InvalidData, error.clone())).to_string();
        assert_eq!(said, "the database server's certificate is odd");
        let Error::InvalidCertificate(error) = error else {
            panic!("{error}");
        };
        let alert = AlertDescription::from(error);
        assert_eq!(alert, AlertDescription::CertificateUnknown);
    }
}
