//! A certificate authority for the unit tests of this folder.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

/// An authority that no other has signed.
pub(super) fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(params(name), key()).expect("signed")
}

/// An authority that another has signed.
pub(super) fn signed_by(name: &str, issuer: &Authority) -> Authority {
    CertifiedIssuer::signed_by(params(name), key(), issuer).expect("signed")
}

/// What an authority's certificate says.
pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).expect("valid");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
