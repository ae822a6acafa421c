//! Bounds the chain of certificates that a client sends.
//! Owns how long such a chain may be, and which of its certificates are verified.
//! Promises that a longer one is refused before anything in it is parsed, and that the verifier finds
//! one path at most in any other.
//! Must never make a chain valid that is not: it only refuses, and leaves certificates out.

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::sync::Arc;
use x509_cert::der::{Decode, Reader, SliceReader, asn1::AnyRef};

/// Certificates behind the client's own. Real clients send one or two. Each on the path to an authority
/// costs the verifier a signature, which takes up to a millisecond.
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

#[derive(Debug, thiserror::Error)]
#[error(
    "comes with two certificates of the same authority: let the client send one for each authority between \
     its own and that of --tls-client-ca"
)]
pub(super) struct TwoPaths;

/// Verifies a client's certificate, unless its chain is too long or has more than one path.
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
        let path = path(own, intermediates, self.0.root_hint_subjects())?;
        let verified = self.0.verify_client_cert(own, &path, now);
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

    /// The names of the authorities are for clients with several certificates. The names of some hundred would be
    /// more than a message of TLS may have, and every handshake would fail.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
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

/// The certificates between the client's own and the authority's, from the one to the other.
///
/// The verifier tries every path through those that it is given. Among four that all have the authority's
/// name, as subject and as issuer, it finds 65, and checks a signature on each.
fn path<'a>(
    own: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'a>],
    roots: &[DistinguishedName],
) -> Result<Vec<CertificateDer<'a>>, CertificateError> {
    let (_, mut issuer) = names(own).ok_or(CertificateError::BadEncoding)?;
    // What cannot be parsed is on no path.
    let mut rest: Vec<_> = intermediates
        .iter()
        .filter_map(|it| Some((names(it)?, it)))
        .collect();
    let mut path = Vec::new();
    // Clients may send the root too. The verifier has it.
    while !roots.iter().any(|root| root.as_ref() == issuer) {
        let mut of_issuer = rest.extract_if(.., |((subject, _), _)| *subject == issuer);
        let Some(((_, next), certificate)) = of_issuer.next() else {
            break;
        };
        if of_issuer.next().is_some() {
            return Err(CertificateError::Other(OtherError(Arc::new(TwoPaths))));
        }
        drop(of_issuer);
        path.push(certificate.clone());
        issuer = next;
    }
    Ok(path)
}

/// The names of the subject and of the issuer, in DER as they were sent, which the verifier compares. Nothing is
/// verified yet, and what stands within a name may take a parser long: one that sorts a name's 1,700 parts takes
/// a tenth of a second.
fn names<'a>(certificate: &'a CertificateDer<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let certificate = AnyRef::from_der(certificate).ok()?;
    let signed_part = AnyRef::decode(&mut SliceReader::new(certificate.value()).ok()?).ok()?;
    let mut fields = SliceReader::new(signed_part.value()).ok()?;
    if fields.peek_byte()? == VERSION_TAG {
        fields.tlv_bytes().ok()?;
    }
    let mut next = || fields.tlv_bytes().ok();
    let (_serial_number, _algorithm, issuer) = (next()?, next()?, next()?);
    let (_validity, subject) = (next()?, next()?);
    Some((subject, issuer))
}

/// What a certificate's version begins with, which stands before the other fields or is left out (RFC 5280,
/// section 4.1).
const VERSION_TAG: u8 = 0xA0;

#[cfg(test)]
mod tests {
    use super::{
        super::test_authority::{Authority, authority as root, signed_by},
        *,
    };
    use rustls::RootCertStore;

    /// Which of those sent the verifier is given, by their indices.
    fn path_of(own: &Authority, sent: &[&Authority], roots: &[&Authority]) -> Option<Vec<usize>> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.der().clone()).expect("a root");
        }
        let sent: Vec<_> = sent.iter().map(|it| it.der().clone()).collect();
        let path = path(own.der(), &sent, &store.subjects()).ok()?;
        let index = |it| {
            sent.iter()
                .position(|sent| sent == it)
                .expect("it was sent")
        };
        Some(path.iter().map(index).collect())
    }

    #[test]
    fn the_verifier_is_given_one_path_and_nothing_else() {
        let (root, other) = (root("root"), self::root("other"));
        let outer = signed_by("outer", &root);
        let inner = signed_by("inner", &outer);
        let own = signed_by("own", &inner);
        let direct = signed_by("own", &root);
        let path = |own, sent: &[&Authority]| path_of(own, sent, &[&root, &other]);
        assert_eq!(path(&own, &[&inner, &outer]), Some(vec![0, 1]));
        // With the root, out of order, with one of nobody's, and with one too few.
        assert_eq!(path(&own, &[&inner, &outer, &root]), Some(vec![0, 1]));
        assert_eq!(
            path(&own, &[&root, &outer, &other, &inner]),
            Some(vec![3, 1])
        );
        assert_eq!(path(&own, &[&inner]), Some(vec![0]));
        assert_eq!(path(&direct, &[&root, &root, &root, &root]), Some(vec![]));
    }

    /// An element in DER whose content is longer than 127 bytes.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    #[test]
    fn names_are_taken_as_they_were_sent_whatever_stands_in_them() {
        // Of a set in falling order, which DER does not allow.
        let parts = (0..700_u16).rev().flat_map(|number| {
            let number = number.to_be_bytes();
            [&[0x30, 7, 0x06, 1, 0x2A, 0x04, 2], &number[..]].concat()
        });
        let set = element(0x31, &parts.collect::<Vec<_>>());
        let (issuer, subject) = (element(0x30, &set), root("own").der().clone());
        let (subject, _) = names(&subject).expect("it has names");
        for version in [&[0xA0, 3, 0x02, 1, 2][..], &[]] {
            let fields = [
                version,
                &[0x02, 1, 7],
                &[0x30, 0],
                &issuer,
                &[0x30, 0],
                subject,
            ];
            let certificate = element(0x30, &element(0x30, &fields.concat()));
            let certificate = CertificateDer::from(certificate);
            assert_eq!(names(&certificate), Some((subject, &issuer[..])));
            for end in 0..certificate.len() {
                let cut = CertificateDer::from(&certificate[..end]);
                assert_eq!(names(&cut), None);
            }
        }
    }

    #[test]
    fn no_certificates_of_a_client_give_the_verifier_many_paths() {
        let root = root("root");
        // Signed by the client itself, in the name of the root, and in another one.
        let roots: Vec<_> = (0..4).map(|_| self::root("root")).collect();
        let others: Vec<_> = (0..4).map(|_| self::root("other")).collect();
        let circle = signed_by("circle", &others[0]);
        let back = signed_by("other", &circle);
        let all = |of: &[Authority]| {
            let own = signed_by("own", &of[0]);
            path_of(&own, &of.iter().collect::<Vec<_>>(), &[&root])
        };
        assert_eq!(all(&roots), Some(vec![]));
        assert_eq!(all(&others), None);
        let own = signed_by("own", &circle);
        let path = path_of(&own, &[&back, &circle], &[&root]);
        assert_eq!(path, Some(vec![1, 0]));
    }
}
