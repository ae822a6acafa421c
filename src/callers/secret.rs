//! The bearer secret of a caller, and its digest.
//!
//! Promises that only hashing leads from a [`Secret`] to a [`SecretDigest`], and nothing leads
//! back.
//! Must never print a secret: the only way to its characters is [`Secret::expose`].

use crate::model::caller_name::SECRET_PREFIX as PREFIX;
use data_encoding::HEXLOWER;
use rand::{CryptoRng, RngExt, distr::Alphanumeric};
use std::{fmt, sync::LazyLock};

/// The number of random characters. 62^43 > 2^256, so they carry 256 random bits.
const BODY_LEN: usize = 43;

const SECRET_LEN: usize = PREFIX.len() + BODY_LEN;

/// The text that a caller presents to prove who it is.
///
/// `Debug` does not show it, and there is no `Display`.
pub struct Secret(String);

impl Secret {
    /// Makes a new random secret.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let body = (0..BODY_LEN).map(|_| char::from(rng.sample(Alphanumeric)));
        Self(PREFIX.chars().chain(body).collect())
    }

    /// The whole secret, for the one command that shows it. Never log what this returns.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digest for the credentials file.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The BLAKE3 digest of a secret. It stands in the credentials file and is looked up there.
///
/// A comparison may take a time that depends on the digests. An attacker who learns a digest in
/// that way still does not know the 256 random bits behind it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretDigest([u8; 32]);

/// Names the only use of these digests. Changing it makes every credentials file useless.
const DIGEST_CONTEXT: &str = "tosend.keys.v1 2026-11-25 bearer secret digest";

static DIGEST_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| blake3::derive_key(DIGEST_CONTEXT, b""));

/// A digest's text begins with this.
const DIGEST_SCHEME: &str = "blake3:";

impl SecretDigest {
    /// Digests what a caller presented, if it has the form of a secret.
    #[must_use]
    pub fn of_presented(presented: &[u8]) -> Option<Self> {
        let is_well_formed =
            presented.len() == SECRET_LEN && presented.starts_with(PREFIX.as_bytes());
        is_well_formed.then(|| Self::of(presented))
    }

    fn of(secret: &[u8]) -> Self {
        Self(*blake3::keyed_hash(&DIGEST_KEY, secret).as_bytes())
    }

    /// Parses the text that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(DIGEST_SCHEME)?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIGEST_SCHEME}{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    proptest! {
        #[test]
        fn a_digest_reads_back_from_its_text(bytes: [u8; 32]) {
            let digest = SecretDigest(bytes);
            prop_assert_eq!(SecretDigest::parse(&digest.to_string()), Some(digest));
        }

        #[test]
        fn other_text_is_no_digest_and_other_bytes_no_secret(text: String, bytes: Vec<u8>) {
            prop_assert_eq!(SecretDigest::parse(&text), None);
            prop_assert_eq!(SecretDigest::of_presented(&bytes), None);
        }
    }

    /// Callers keep secrets, and files keep digests. So neither form ever changes.
    #[test]
    fn a_secret_has_the_documented_form_and_keeps_its_digest() {
        let secret = Secret("tsop_KeyServiceExampleSecretDoNotUse0123456789ab".into());
        assert_eq!(secret.expose().len(), SECRET_LEN);
        let drawn = Secret::generate(&mut StdRng::seed_from_u64(1));
        assert_eq!(drawn.expose().len(), SECRET_LEN);
        assert_eq!(
            SecretDigest::of_presented(drawn.expose().as_bytes()),
            Some(drawn.digest())
        );
        assert_eq!(
            secret.digest().to_string(),
            "blake3:08793c6299901fc6bd0d8260e9f2f74df5671e282dc145cb1810b10412419ea3"
        );
    }

    #[test]
    fn debug_output_never_shows_a_secret() {
        let secret = Secret::generate(&mut rand::rng());
        let shown = format!("{secret:?} {:?}", secret.digest());
        assert_eq!(shown, "Secret(redacted) SecretDigest(…)");
    }
}
