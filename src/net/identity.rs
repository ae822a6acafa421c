//! How this server proves itself: its certificate with the chain behind it, and the private key.
//! Owns the messages about the two files.
//! Promises that each names the file that is to blame, and what to do.
//! Must never repeat a part of the key.

use super::{
    reload::InvalidFile,
    tls::{CERTIFICATE, KEY},
};
use crate::pem::{self, Wanted};
use rustls::{
    Error,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SigningKey},
};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use x509_cert::{Certificate, certificate::Version, der::Decode};

/// A certificate and its key, which fit.
#[derive(Debug)]
pub(super) struct Identity {
    pub certified_key: Arc<CertifiedKey>,
    /// From when on the certificate is valid.
    pub not_before: SystemTime,
    /// When it expires.
    pub not_after: SystemTime,
}

impl Identity {
    /// Parses the contents of both files, which are PEM.
    pub(super) fn parse(
        certificate: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, InvalidFile> {
        let (chain, own) = chain(certificate).map_err(|why| InvalidFile::new(CERTIFICATE, why))?;
        let key = private_key(key, provider).map_err(|why| InvalidFile::new(KEY, why))?;
        check_fit(&chain, &own, &key)?;
        let validity = own.tbs_certificate.validity;
        Ok(Self {
            certified_key: Arc::new(CertifiedKey::new(chain, key)),
            not_before: UNIX_EPOCH + validity.not_before.to_unix_duration(),
            not_after: UNIX_EPOCH + validity.not_after.to_unix_duration(),
        })
    }

    /// Whether clients accept the certificate's dates.
    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// The certificates in a file, of which there must be one or more.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    pem::check(pem, Wanted::Certificates)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(pem::why_missing(pem, Wanted::Certificates)),
    }
}

/// The certificates in the file of the server's, and the first of them, parsed.
fn chain(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, Certificate), String> {
    let chain = certificates(pem)?;
    let mut parsed = Vec::new();
    for (certificate, number) in chain.iter().zip(1..) {
        parsed.push(Certificate::from_der(certificate).map_err(|error| {
            format!("holds an invalid certificate, number {number} in it: {error}")
        })?);
    }
    Ok((chain, parsed.swap_remove(0)))
}

fn private_key(pem: &[u8], provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, &'static str> {
    pem::check(pem, Wanted::PrivateKey)?;
    // The parser's own error could repeat parts of the key.
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| pem::why_missing(pem, Wanted::PrivateKey))?;
    provider.key_provider.load_private_key(key).map_err(|_| {
        "holds a key that is damaged, or of a kind or size that is not supported; use ECDSA (P-256 or \
         P-384), Ed25519, or RSA with 2048 to 8192 bits"
    })
}

/// Checks that the key is that of the first certificate.
fn check_fit(
    chain: &[CertificateDer<'static>],
    own: &Certificate,
    key: &Arc<dyn SigningKey>,
) -> Result<(), InvalidFile> {
    let fit = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match()
    };
    let Err(error) = fit(&chain[0]) else {
        return Ok(());
    };
    Err(
        if chain.iter().any(|certificate| fit(certificate).is_ok()) {
            InvalidFile::new(
                CERTIFICATE,
                "holds the certificate of the key behind another one; put it first, and behind it that \
             which has signed it, and so on",
            )
        } else if matches!(error, Error::InconsistentKeys(_)) {
            InvalidFile::new(KEY, "does not fit the certificate of --tls-cert")
        } else if own.tbs_certificate.version == Version::V3 {
            InvalidFile::new(
                CERTIFICATE,
                "holds a certificate that cannot be used: it is damaged, or has critical extensions that \
             are not supported",
            )
        } else {
            InvalidFile::new(
                CERTIFICATE,
                "holds a certificate of X.509 version 1 or 2; make one of version 3, with the host's name \
             among its subject alternative names",
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, CertifiedIssuer, CustomExtension, IsCa, KeyPair};
    use rustls::crypto::ring;
    use x509_cert::der::Encode;

    /// A key for tests alone, of a curve that is not supported.
    const P521_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIArl76PQMKvdfD57VW\n\
        GrVuqFYDxWCLZ3qxv2UisBKLZjXh878GYUfj6efxCtv5FH0ylXEor7ep4jad0ECH\n\
        AzKkUFChgYkDgYYABABTauhBWXvtAvAqaWNVJcIJI366Qd9t7nolSzWy4AnYF/i1\n\
        hJvfSveltuHPGNKA9SCw9ljervaqXt5v82iP+CYiXQFO2JsJvZK6N12fhj6oNyxp\n\
        4nL/bR87/MvPD+vV9PwEb8cabJyvuGknAgX+CYyEzuLHhVOEkIk8RJYy7XXeHhw6\n\
        9Q==\n\
        -----END PRIVATE KEY-----\n";

    /// A key for tests alone, of too few bits.
    const RSA_1024_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIICdQIBADANBgkqhkiG9w0BAQEFAASCAl8wggJbAgEAAoGBAM5qbpeSmacn2Dsd\n\
        H5KuZc17z+xQbnlB+EQw9+hty3q4wh+k7dwvrOxGh9+JIhEQ2zzX7RBrGp2lopw+\n\
        rSraxejHAz21GqSLEBvMSfAhQOA+1Co+fWyZW8s3pduFWcacswbKBZD2QO4u8l51\n\
        JHa82B3sVvEemKcRsnZCqECfBRyjAgMBAAECgYBBs2bYH/WAWxJcXny6N4B30zzv\n\
        Pvqq5fCb4+pEtQ3bVguT/u8m8pXb7uc4o3GQdQkTaLcwTqb+HsaPbPO5fEEZsAto\n\
        ky3XmbjqKkmfE+PpIjlKdpNKQUILRid/oyYIUyrX2JkiL2RxJFKrH7vf6CCDCdyU\n\
        qjcam83zDmOpBl3ngQJBAPNc5fIoB/glnQxEvJc2rot5e+5EXmtlE3k/4JlPj5Xd\n\
        Fp0z7CZtZF6L4bFViHf64XNl6HTIpEQ+eluA8bEVjZECQQDZImIvjWecrazONa9G\n\
        QpXEaFG7m8N1iDYlWnin7sfTNEAl7zXdJXYrREdsr/W7BEW4nWdrkgBP+Wwd2skW\n\
        ZfzzAkArs94TW3763/5Q6rMXUJmNsHZB9oMiNBeIKaFyxqfZWMer2VwqFnD0zZft\n\
        GZgVO7dq2r0g47skCjg84G4GyAERAkAOlnvIPBTQ9u4cMIklDEYpmuSa2R0poUwZ\n\
        +FkQ1z7/lowUwFx7DhBBWeX+jFfTB7dzbsfK91UkClrUKqXF5nY3AkBFXjzIUKLd\n\
        9mhcLT959bcZPerjX6qJ9R+ATixw4SC9Ej/7YbLZja4Z2BXpfMO4pD1o7NP17A97\n\
        63WsaxGRkm7d\n\
        -----END PRIVATE KEY-----\n";

    const ENCRYPTED_KEY: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
        MAA=\n\
        -----END ENCRYPTED PRIVATE KEY-----\n";

    const OLD_ENCRYPTED_KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\n\
        Proc-Type: 4,ENCRYPTED\n\
        DEK-Info: AES-256-CBC,00000000000000000000000000000000\n\n\
        MAA=\n\
        -----END RSA PRIVATE KEY-----\n";

    const JUNK_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    const JUNK: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    /// A certificate as OpenSSL makes it without extensions.
    fn of_version_1(der: &CertificateDer<'_>) -> String {
        let mut certificate = Certificate::from_der(der).expect("a certificate");
        certificate.tbs_certificate.version = Version::V1;
        certificate.tbs_certificate.extensions = None;
        let base64 = data_encoding::BASE64.encode(&certificate.to_der().expect("DER"));
        format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn each_message_blames_the_right_file_and_says_what_to_do() {
        let params = || CertificateParams::new(["localhost".to_owned()]).expect("valid");
        let pair = || KeyPair::generate().expect("a key");
        let mut of_authority = params();
        of_authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(of_authority, pair()).expect("an authority");
        let key = pair();
        let own = params().signed_by(&key, &authority).expect("signed");
        let mut with_critical = params();
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        with_critical.custom_extensions.push(unknown);
        let with_critical = with_critical.self_signed(&key).expect("signed").pem();

        let (old, old_authority) = (of_version_1(own.der()), of_version_1(authority.der()));
        let (own, authority) = (own.pem(), authority.pem());
        let (key, other_key) = (key.serialize_pem(), pair().serialize_pem());
        let parse = |certificate: &str, key: &str| {
            let provider = ring::default_provider();
            Identity::parse(certificate.as_bytes(), key.as_bytes(), &provider).map(|_| ())
        };
        for certificate in [
            &own,
            &format!("{own}{authority}"),
            &format!("{own}{old_authority}"),
        ] {
            assert!(parse(certificate, &key).is_ok());
        }

        let own_and_junk = format!("{own}{JUNK}");
        let (behind, behind_old) = (format!("{authority}{own}"), format!("{old_authority}{own}"));
        let swapped = "--tls-cert and --tls-key may be swapped";
        for (certificate, key, file, why) in [
            ("", &*key, CERTIFICATE, "holds no certificate (PEM)"),
            (&key, &own, CERTIFICATE, swapped),
            (JUNK, &key, CERTIFICATE, "an invalid certificate, number 1"),
            (
                &own_and_junk,
                &key,
                CERTIFICATE,
                "an invalid certificate, number 2",
            ),
            (
                &behind,
                &key,
                CERTIFICATE,
                "behind another one; put it first",
            ),
            (
                &behind_old,
                &key,
                CERTIFICATE,
                "behind another one; put it first",
            ),
            (&old, &key, CERTIFICATE, "make one of version 3"),
            (
                &with_critical,
                &key,
                CERTIFICATE,
                "critical extensions that are not supported",
            ),
            (&own, "", KEY, "holds no private key (PEM)"),
            (&own, &own, KEY, swapped),
            (
                &own,
                JUNK_KEY,
                KEY,
                "damaged, or of a kind or size that is not supported",
            ),
            (&own, P521_KEY, KEY, "use ECDSA (P-256 or P-384)"),
            (&own, RSA_1024_KEY, KEY, "RSA with 2048 to 8192 bits"),
            (&own, ENCRYPTED_KEY, KEY, "decrypt it"),
            (&own, OLD_ENCRYPTED_KEY, KEY, "decrypt it"),
            (
                &own,
                &other_key,
                KEY,
                "does not fit the certificate of --tls-cert",
            ),
        ] {
            let invalid = parse(certificate, key).expect_err(why);
            assert!(
                invalid.why.contains(why),
                "{why} is missing in: {}",
                invalid.why
            );
            assert_eq!(invalid.file, file, "{why}");
        }
    }
}
