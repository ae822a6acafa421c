//! Owns the key, the record behind a token, and the types of its fields.
//! Promises that each of these values is valid wherever it exists: text becomes one only here.
//! Must never hold a token; a digest and a preview are all that is left of it.

use crate::{
    domain::Domain,
    token::{Preview, TokenDigest},
};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use uuid::{Builder, Uuid};

/// A point in time, in whole microseconds since the Unix epoch, never before it.
///
/// Microseconds because that is what PostgreSQL keeps; 63 bits of them last for 292 thousand
/// years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 9999-12-31T23:59:59.999999Z, the last moment of `google.protobuf.Timestamp`.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The wall clock's time. A clock set before 1970 reads as 1970.
    #[must_use]
    pub fn now() -> Self {
        Self::from_system_time(SystemTime::now())
    }

    /// From the system's type, cut to microseconds and to 1970..=9999.
    #[must_use]
    pub fn from_system_time(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_micros())
            .map_or(Self::MAX, |micros| Self(micros).min(Self::MAX))
    }

    /// To the system's type, exactly.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.as_micros().unsigned_abs())
    }

    /// From microseconds since the epoch; none if outside 1970..=9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Option<Self> {
        (0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }
}

/// The public name of a key: `key_` and a UUIDv7 in 26 characters of Crockford's base32, lower
/// case (the TypeID form). Ids of later keys sort after those of earlier ones, which keeps the
/// store's index dense.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u128);

const KEY_ID_PREFIX: &str = "key_";
const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const KEY_ID_DIGITS: usize = 26;

/// The text is no key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a key id; a key id is `key_` and 26 lower-case letters and digits")]
pub struct InvalidKeyId;

impl KeyId {
    /// A new id: the time, then 74 of the given random bits.
    #[must_use]
    pub fn new(now: Timestamp, random: &[u8; 10]) -> Self {
        let millis = now.as_micros().unsigned_abs() / 1000;
        Self::from_uuid(Builder::from_unix_timestamp_millis(millis, random).into_uuid())
    }

    /// Reads the form that [`fmt::Display`] writes, and no other.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyId> {
        let digits = text.strip_prefix(KEY_ID_PREFIX).ok_or(InvalidKeyId)?;
        let first_fits = matches!(digits.as_bytes().first(), Some(b'0'..=b'7'));
        if digits.len() != KEY_ID_DIGITS || !first_fits {
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

    /// As the stores keep it.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.as_u128())
    }

    /// As the stores keep it.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; KEY_ID_PREFIX.len() + KEY_ID_DIGITS];
        let (prefix, digits) = text.split_at_mut(KEY_ID_PREFIX.len());
        prefix.copy_from_slice(KEY_ID_PREFIX.as_bytes());
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = CROCKFORD[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).expect("Crockford's alphabet is ASCII"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The tenant that owns keys, named by the platform's own identifier for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountId(String);

/// The text is no account id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not an account id; use 1 to 128 letters, digits and -_.:@/ with a letter or digit first"
)]
pub struct InvalidAccountId;

impl AccountId {
    /// Reads an account id; nothing is trimmed or folded.
    pub fn parse(text: String) -> Result<Self, InvalidAccountId> {
        let first_is_plain = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        let all_allowed = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@/".contains(&byte));
        if text.len() <= 128 && first_is_plain && all_allowed {
            Ok(Self(text))
        } else {
            Err(InvalidAccountId)
        }
    }

    /// Takes back an account id that a store kept.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What people call a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// The text is no name for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyName {
    /// Only white space, or more than 100 characters.
    #[error("must have 1 to 100 characters, not counting white space at its ends")]
    Length,
    /// A line feed, say, which would let a name forge a line of a list.
    #[error("holds a control character; use printable text on one line")]
    Control,
}

impl KeyName {
    /// Trims and checks.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyName> {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.chars().nth(100).is_some() {
            return Err(InvalidKeyName::Length);
        }
        if trimmed.contains(is_unprintable) {
            return Err(InvalidKeyName::Control);
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// Takes back a name that a store kept.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters, line and paragraph separators, and the marks that reorder text.
fn is_unprintable(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A caller's own name for one Create, which makes repeating it harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

/// The text is no request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 visible ASCII characters, such as a random UUID")]
pub struct InvalidRequestId;

impl RequestId {
    /// Reads a request id; nothing is trimmed or folded.
    pub fn parse(text: String) -> Result<Self, InvalidRequestId> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if (1..=128).contains(&text.len()) && visible {
            Ok(Self(text))
        } else {
            Err(InvalidRequestId)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which sending domains a key may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every domain.
    AllDomains,
    /// This one, and none of its subdomains.
    Domain(Domain),
}

impl Scope {
    /// From the column that is null for all domains.
    #[must_use]
    pub fn from_domain(domain: Option<Domain>) -> Self {
        domain.map_or(Self::AllDomains, Self::Domain)
    }

    /// The one domain, if it is restricted to one.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::AllDomains => None,
            Self::Domain(domain) => Some(domain.as_str()),
        }
    }
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Neither revoked nor expired.
    Active,
    /// Revoked, whether or not it would have expired since.
    Revoked,
    /// Past its expiry, and never revoked.
    Expired,
}

/// The record of a key, without what only Authorize needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its public name.
    pub id: KeyId,
    /// Its owner.
    pub account_id: AccountId,
    /// What people call it.
    pub name: KeyName,
    /// What may be shown of its token.
    pub preview: Preview,
    /// Where it may be used.
    pub scope: Scope,
    /// When it was created.
    pub create_time: Timestamp,
    /// From when on it is refused; never if none.
    pub expire_time: Option<Timestamp>,
    /// When it was first revoked.
    pub revoke_time: Option<Timestamp>,
}

impl Key {
    /// Its status at a time.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        match (self.revoke_time, self.expire_time) {
            (Some(_), _) => Status::Revoked,
            (None, Some(expire_time)) if expire_time <= now => Status::Expired,
            (None, _) => Status::Active,
        }
    }
}

/// What Authorize must know of a key: what a keyring holds and a store's change feed carries.
///
/// Of these, only `revoked` ever changes, and only from false to true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Of its token.
    pub digest: TokenDigest,
    /// Its public name.
    pub id: KeyId,
    /// Its owner.
    pub account_id: AccountId,
    /// Where it may be used.
    pub scope: Scope,
    /// From when on it is refused; never if none.
    pub expire_time: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl KeyState {
    /// The state of a key whose token has this digest.
    #[must_use]
    pub fn of(key: &Key, digest: TokenDigest) -> Self {
        Self {
            digest,
            id: key.id,
            account_id: key.account_id.clone(),
            scope: key.scope.clone(),
            expire_time: key.expire_time,
            revoked: key.revoke_time.is_some(),
        }
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

        #[test]
        fn any_text_is_a_name_or_refused_without_a_panic(text: String) {
            if let Ok(name) = KeyName::parse(&text) {
                prop_assert_eq!(KeyName::parse(name.as_str()), Ok(name.clone()));
                prop_assert!((1..=100).contains(&name.as_str().chars().count()));
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

    #[test]
    fn names_are_trimmed_counted_in_characters_and_kept_on_one_line() {
        assert_eq!(
            KeyName::parse("  Büro\u{a0}").map(|n| n.0).as_deref(),
            Ok("Büro")
        );
        assert!(KeyName::parse(&"ü".repeat(100)).is_ok());
        assert_eq!(
            KeyName::parse(&"ü".repeat(101)),
            Err(InvalidKeyName::Length)
        );
        assert_eq!(KeyName::parse(" \t "), Err(InvalidKeyName::Length));
        assert_eq!(KeyName::parse("a\nb"), Err(InvalidKeyName::Control));
        assert_eq!(KeyName::parse("a\u{202e}b"), Err(InvalidKeyName::Control));
    }

    #[test]
    fn revoked_outranks_expired() {
        let time = |micros| Timestamp::from_micros(micros).expect("in range");
        let mut key = Key {
            id: KeyId(1),
            account_id: AccountId::parse("a".into()).expect("valid"),
            name: KeyName::parse("n").expect("valid"),
            preview: Preview::from_stored("tsend_ab…wxyz".into()),
            scope: Scope::AllDomains,
            create_time: time(1),
            expire_time: Some(time(10)),
            revoke_time: None,
        };
        assert_eq!(key.status(time(9)), Status::Active);
        assert_eq!(key.status(time(10)), Status::Expired);
        key.revoke_time = Some(time(5));
        assert_eq!(key.status(time(20)), Status::Revoked);
    }
}
