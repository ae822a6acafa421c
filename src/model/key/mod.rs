//! Owns the key, the record behind a token, and the types of its fields.
//! Promises that each of these values is valid wherever it exists: text becomes one only here.
//! Must never hold a token; a digest and a preview are all that is left of it.

mod id;
mod name;

use super::{
    account::AccountId,
    domain::Domain,
    text::{HoldsToken, free_of_tokens},
    time::Timestamp,
    token::{Preview, TokenDigest},
};
pub use id::{InvalidKeyId, KeyId};
pub use name::{InvalidKeyName, KeyName};

/// A caller's own name for one Create, which makes repeating it harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

/// The text is no request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequestId {
    /// Empty, too long, or other characters.
    #[error("must be 1 to 128 visible ASCII characters, such as a random UUID")]
    Malformed,
    /// A token in the wrong field.
    #[error(transparent)]
    Token(#[from] HoldsToken),
}

impl RequestId {
    /// Reads a request id; nothing is trimmed or folded.
    pub fn parse(text: String) -> Result<Self, InvalidRequestId> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=128).contains(&text.len()) || !visible {
            return Err(InvalidRequestId::Malformed);
        }
        free_of_tokens(&text)?;
        Ok(Self(text))
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

impl Status {
    /// That of a key at this time.
    #[must_use]
    pub fn at(now: Timestamp, revoked: bool, expire_time: Option<Timestamp>) -> Self {
        match expire_time {
            _ if revoked => Self::Revoked,
            Some(time) if time <= now => Self::Expired,
            _ => Self::Active,
        }
    }
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
        Status::at(now, self.revoke_time.is_some(), self.expire_time)
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

    #[test]
    fn text_that_is_kept_holds_no_token() {
        const TOKEN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
        let owned = || format!("acme/{TOKEN}");
        assert_eq!(AccountId::parse(owned()), Err(HoldsToken.into()));
        assert_eq!(RequestId::parse(owned()), Err(HoldsToken.into()));
        assert_eq!(KeyName::parse(&owned()), Err(HoldsToken.into()));
        let joined = TOKEN
            .replace("abc", "a\u{200d}bc")
            .replace('_', "\u{200c}_");
        assert_eq!(KeyName::parse(&joined), Err(HoldsToken.into()));
        let mistyped = TOKEN.replace("abc", "abd");
        assert_eq!(KeyName::parse(&mistyped), Err(HoldsToken.into()));
        assert!(KeyName::parse("after tsend_Ke…Xm9s").is_ok());
    }

    #[test]
    fn revoked_outranks_expired() {
        let time = |micros| Timestamp::from_micros(micros).expect("in range");
        let mut key = Key {
            id: KeyId::from_uuid(uuid::Uuid::from_u128(1)),
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
