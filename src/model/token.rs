//! The token of a key: the secret text that its holder sends along.
//!
//! Owns a token's form, its checksum, its preview and its digest.
//! Promises that only hashing leads from a [`Token`] to a [`TokenDigest`], and nothing leads back.
//! Must never print a token: the only way to its characters is [`Token::expose`].

use rand::{CryptoRng, RngExt, distr::Alphanumeric};
use std::fmt;

/// Every token begins with this text, so that secret scanners find it.
pub const PREFIX: &str = "tsend_";

/// The number of random characters. 62^43 > 2^256, so they carry 256 random bits.
const BODY_LEN: usize = 43;

/// The number of characters in the checksum. 62^6 > 2^32, so a CRC-32 fits.
const CHECKSUM_LEN: usize = 6;

const CHECKSUM_START: usize = PREFIX.len() + BODY_LEN;

/// The length of every token. All characters are ASCII.
pub const TOKEN_LEN: usize = CHECKSUM_START + CHECKSUM_LEN;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A well-formed token, which is a secret.
///
/// `Debug` does not show it, and there is no `Display`.
pub struct Token([u8; TOKEN_LEN]);

/// The text is not a token: its length, prefix, characters or checksum are wrong.
///
/// The error says no more, because the text may be a token with a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a token: a token is `tsend_` and 49 letters and digits, the last 6 of them a checksum"
)]
pub struct MalformedToken;

impl Token {
    /// Makes a new random token.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut text = [0; TOKEN_LEN];
        text[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
        for character in &mut text[PREFIX.len()..CHECKSUM_START] {
            *character = rng.sample(Alphanumeric);
        }
        let checksum = checksum(&text);
        text[CHECKSUM_START..].copy_from_slice(&checksum);
        Self(text)
    }

    /// Parses exactly the text that [`Token::expose`] returns. White space is not trimmed, and case
    /// matters.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let text: &[u8; TOKEN_LEN] = text.as_bytes().try_into().map_err(|_| MalformedToken)?;
        let well_formed = text.starts_with(PREFIX.as_bytes())
            && text[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric)
            && text[CHECKSUM_START..] == checksum(text);
        well_formed.then_some(Self(*text)).ok_or(MalformedToken)
    }

    /// Whether a text contains the whole of a token, with a wrong prefix or none: the checksum tells.
    pub(super) fn is_within(text: &str) -> bool {
        let bodies = text.as_bytes().windows(TOKEN_LEN - PREFIX.len());
        let mut bodies = bodies.filter(|body| body.iter().all(u8::is_ascii_alphanumeric));
        let mut token = [0; TOKEN_LEN];
        token[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
        bodies.any(|body| {
            token[PREFIX.len()..].copy_from_slice(body);
            token[CHECKSUM_START..] == checksum(&token)
        })
    }

    /// The whole token, for the one response that shows it. Never log what this returns.
    #[must_use]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a token is made of ASCII characters only")
    }

    /// The part of the token that may be shown.
    #[must_use]
    pub fn preview(&self) -> Preview {
        let text = self.expose();
        Preview(format!("{}…{}", &text[..8], &text[TOKEN_LEN - 4..]))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// The CRC-32 (ISO-HDLC, as in zlib) of prefix and body, in base62, most significant digit first.
///
/// A CRC detects every error within 32 consecutive bits, and so every single changed character.
fn checksum(text: &[u8; TOKEN_LEN]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(&text[..CHECKSUM_START]);
    let mut digits = [0; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

/// The part of a token that may be shown: its first 8 characters, `…`, and its last 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview(String);

/// The text is not a preview. It may be a token, so the error says no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not like `tsend_ab…wxyz`: give a token's first 8 and last 4 characters with `…` or `...` between \
     them; if you have the whole token, call Get"
)]
pub struct InvalidPreview;

impl Preview {
    /// Takes back a preview that a store has kept.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Parses a preview as people copy it, with `…` or `...`.
    pub fn parse(text: &str) -> Result<Self, InvalidPreview> {
        let shown = text.strip_prefix(PREFIX).ok_or(InvalidPreview)?;
        let ends = shown.split_once('…').or_else(|| shown.split_once("..."));
        let is_end =
            |text: &str, len| text.len() == len && text.bytes().all(|byte| BASE62.contains(&byte));
        ends.filter(|(first, last)| is_end(first, 2) && is_end(last, 4))
            .map(|(first, last)| Self(format!("{PREFIX}{first}…{last}")))
            .ok_or(InvalidPreview)
    }

    /// The text to show, such as `tsend_Ke…Xm9s`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The BLAKE3 digest of a token. It is stored and looked up in place of the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Takes back a digest that a store has kept.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store keeps.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// Turns tokens into digests. Its key stays the same for the life of a store.
///
/// BLAKE3's `derive_key` makes the key, which separates these digests from every other use of
/// BLAKE3. If the operator configured a secret, the digests are also useless to somebody who has
/// only the store.
#[derive(Clone)]
pub struct Digester {
    key: [u8; 32],
}

/// Names the only use of these digests. Changing it makes every stored digest useless.
const DIGEST_CONTEXT: &str = "tosend.keys.v1 2026-11-24 token digest";

/// Names the use of [`Digester::fingerprint`].
const FINGERPRINT_CONTEXT: &str = "tosend.keys.v1 2026-11-24 digest key fingerprint";

impl Digester {
    /// Derives the key from the operator's secret, or from nothing.
    #[must_use]
    pub fn new(secret: Option<&[u8]>) -> Self {
        Self {
            key: blake3::derive_key(DIGEST_CONTEXT, secret.unwrap_or_default()),
        }
    }

    /// The digest by which stores and the keyring know the token.
    #[must_use]
    pub fn digest(&self, token: &Token) -> TokenDigest {
        TokenDigest(*blake3::keyed_hash(&self.key, &token.0).as_bytes())
    }

    /// Tells the keys of two digesters apart without revealing either. A store keeps it, so that a
    /// service with another secret does not start. Otherwise that service would deny every token.
    pub(crate) fn fingerprint(&self) -> [u8; 16] {
        let full = blake3::derive_key(FINGERPRINT_CONTEXT, &self.key);
        *full.first_chunk().expect("32 bytes hold 16")
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::{ContainsSecret, refuse_secrets};
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn token(seed: u64) -> Token {
        Token::generate(&mut StdRng::seed_from_u64(seed))
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in any::<String>()) {
            let _ = Token::parse(&text);
        }

        #[test]
        fn text_of_the_right_form_with_a_random_checksum_is_refused(text in "tsend_[0-9A-Za-z]{49}") {
            // One text in 2^32 has the right checksum by chance.
            prop_assert!(Token::parse(&text).is_err());
        }

        #[test]
        fn a_generated_token_reads_back_as_itself(seed: u64) {
            let token = token(seed);
            let back = Token::parse(token.expose()).expect("a generated token is well formed");
            prop_assert_eq!(back.expose(), token.expose());
        }

        #[test]
        fn any_single_changed_character_is_refused(seed: u64, at in 0..TOKEN_LEN, new: char) {
            let token = token(seed);
            let mut characters: Vec<char> = token.expose().chars().collect();
            prop_assume!(characters[at] != new);
            characters[at] = new;
            let changed: String = characters.into_iter().collect();
            prop_assert_eq!(Token::parse(&changed).err(), Some(MalformedToken));
        }
    }

    proptest! {
        #[test]
        fn a_preview_may_stand_in_a_text_where_a_token_may_not(seed: u64, before: String) {
            let token = token(seed);
            let text = format!("{before}{}", token.expose());
            prop_assert_eq!(refuse_secrets(&text), Err(ContainsSecret::Token));
            prop_assert_eq!(refuse_secrets(token.preview().as_str()), Ok(()));
        }
    }

    #[test]
    fn every_single_character_replacement_in_one_token_is_refused() {
        let token = token(1);
        for at in 0..TOKEN_LEN {
            for new in 0..=127 {
                let mut text = token.0;
                text[at] = new;
                let text = std::str::from_utf8(&text).expect("ASCII");
                assert_eq!(Token::parse(text).is_ok(), text == token.expose());
            }
        }
    }

    #[test]
    fn a_token_has_the_documented_form_and_preview() {
        let token = token(7);
        let text = token.expose();
        assert_eq!(text.len(), 55);
        assert!(text.starts_with("tsend_"));
        assert_eq!(
            token.preview().as_str(),
            format!("{}…{}", &text[..8], &text[51..])
        );
    }

    #[test]
    fn debug_output_never_shows_a_token_or_a_secret() {
        let token = token(3);
        let digester = Digester::new(Some(b"a secret of the operator"));
        let shown = format!("{token:?} {:?} {digester:?}", digester.digest(&token));
        assert_eq!(shown, "Token(redacted) TokenDigest(…) Digester(redacted)");
    }

    #[test]
    fn digests_and_fingerprints_depend_on_the_secret() {
        let token = token(5);
        let (plain, keyed) = (Digester::new(None), Digester::new(Some(b"secret")));
        assert!(plain.digest(&token) != keyed.digest(&token));
        assert!(plain.fingerprint() != keyed.fingerprint());
        assert!(plain.digest(&token) == Digester::new(None).digest(&token));
    }

    /// Users keep tokens, and the database keeps digests. So form, checksum and digest never
    /// change.
    #[test]
    fn a_known_token_stays_well_formed_and_keeps_its_digest() {
        let token = Token::parse("tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s")
            .expect("well formed");
        let digest = Digester::new(None).digest(&token);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&digest.as_bytes()[..8]),
            "b8979a06913402c1"
        );
    }
}
