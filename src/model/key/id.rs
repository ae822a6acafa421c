//! The id of a key, which is public: logs, lists and audit records show it.
//!
//! Promises that each id has exactly one text.

use crate::model::time::Timestamp;
use std::fmt;
use uuid::{Builder, Uuid};

/// The id of a key: `key_` and a UUIDv7 in 26 characters of Crockford's base32, in lower case (the
/// TypeID form).
///
/// The id of a later key sorts after that of an earlier one, which keeps the store's index dense.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u128);

const PREFIX: &str = "key_";
const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const DIGITS: usize = 26;

/// The text is not a key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a key id; a key id is `key_` and 26 lower-case letters and digits")]
pub struct InvalidKeyId;

impl KeyId {
    /// Makes an id from the time and 74 of the random bits.
    #[must_use]
    pub fn new(now: Timestamp, random: &[u8; 10]) -> Self {
        let millis = now.as_micros().unsigned_abs() / 1000;
        Self::from_uuid(Builder::from_unix_timestamp_millis(millis, random).into_uuid())
    }

    /// Parses the text that [`fmt::Display`] writes, and no other.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyId> {
        let digits = text.strip_prefix(PREFIX).ok_or(InvalidKeyId)?;
        let first_fits = matches!(digits.as_bytes().first(), Some(b'0'..=b'7'));
        if digits.len() != DIGITS || !first_fits {
            return Err(InvalidKeyId);
        }
        let digit_value = |digit| CROCKFORD.iter().position(|&symbol| symbol == digit);
        digits
            .bytes()
            .try_fold(0, |value, digit| {
                Some(value << 5 | digit_value(digit)? as u128)
            })
            .map(Self)
            .ok_or(InvalidKeyId)
    }

    /// Takes back an id that a store has kept.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.as_u128())
    }

    /// The form in which the stores keep the id.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }
}

impl KeyId {
    /// The text, of which all characters are ASCII.
    pub(crate) fn to_ascii(self) -> [u8; PREFIX.len() + DIGITS] {
        let mut text = [0; PREFIX.len() + DIGITS];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = CROCKFORD[(rest & 31) as usize];
            rest >>= 5;
        }
        text
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_ascii();
        f.write_str(std::str::from_utf8(&text).expect("Crockford's alphabet is ASCII"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_id_reads_back_as_itself(value: u128) {
            let id = KeyId(value);
            prop_assert_eq!(KeyId::parse(&id.to_string()), Ok(id));
        }

        #[test]
        fn any_text_is_a_key_id_in_its_one_form_or_refused(text in "key_[0-9a-zA-Z]{26}|\\PC*") {
            if let Ok(id) = KeyId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn key_ids_sort_by_the_time_of_creation() {
        let at = |micros| {
            KeyId::new(
                Timestamp::from_micros(micros).expect("in range"),
                &[255; 10],
            )
        };
        assert!(at(1_000_000).to_string() < at(1_001_000).to_string());
    }
}
