//! The key: the record behind a token, and the types of its fields.
//!
//! Must never hold a token. Only its digest and its preview remain.

mod id;
mod name;
mod request_id;
mod status;

use super::{
    account::AccountId,
    domain::Domain,
    time::Timestamp,
    token::{Preview, TokenDigest},
};
pub use id::{InvalidKeyId, KeyId};
pub use name::{InvalidKeyName, KeyName};
pub use request_id::{InvalidRequestId, RequestId};
pub use status::Status;

/// Which of its account's sending domains a key may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The key may be used for every domain of its account.
    AllDomains,
    /// The key may be used for this domain, and not for its subdomains.
    Domain(Domain),
}

impl Scope {
    /// The scope of a key that is restricted to this domain, or to none.
    #[must_use]
    pub fn from_domain(domain: Option<Domain>) -> Self {
        domain.map_or(Self::AllDomains, Self::Domain)
    }

    /// The only domain that is in the scope. `None` means all domains of the account.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.as_domain().map(Domain::as_str)
    }

    /// The same as a value.
    #[must_use]
    pub fn as_domain(&self) -> Option<&Domain> {
        match self {
            Self::AllDomains => None,
            Self::Domain(domain) => Some(domain),
        }
    }
}

/// The record of a key, as Create, List and Revoke show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The service chooses the id.
    pub id: KeyId,
    /// The account that owns the key. It never changes.
    pub account_id: AccountId,
    /// The name that people gave to the key. Several keys may have the same.
    pub name: KeyName,
    /// The part of the token that may be shown.
    pub preview: Preview,
    /// The domains for which the key may be used.
    pub scope: Scope,
    /// When the key was created, by the clock of the replica that created it.
    pub create_time: Timestamp,
    /// When the key stops working. `None` means never.
    pub expire_time: Option<Timestamp>,
    /// When the key was first revoked. `None` means that it is not revoked.
    pub revoke_time: Option<Timestamp>,
}

impl Key {
    /// The status of the key at a time.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        Status::at(now, self.revoke_time.is_some(), self.expire_time)
    }
}

/// Everything that Authorize must know of a key. A keyring holds it, and a store reports it as a
/// change.
///
/// Only `revoked` ever changes, and only from false to true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The digest of the key's token.
    pub digest: TokenDigest,
    /// The id that a grant names.
    pub id: KeyId,
    /// The account that owns the key.
    pub account_id: AccountId,
    /// The domains for which the key may be used.
    pub scope: Scope,
    /// When the key stops working. `None` means never.
    pub expire_time: Option<Timestamp>,
    /// Whether the key is revoked, at whatever time.
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
