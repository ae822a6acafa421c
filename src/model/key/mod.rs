//! The key: the record behind a token, and the types of its fields.
//!
//! Must never hold a token. Only its digest and its preview remain.

pub mod change;
mod end;
mod etag;
pub mod filter;
mod id;
pub mod labels;
mod reason;
mod request_id;
#[cfg(test)]
mod samples;
mod status;

use super::{
    account::AccountId,
    domain::Domain,
    line::Line,
    time::Timestamp,
    token::{Preview, TokenDigest},
};
pub use end::KeyEnd;
pub use etag::{Etag, Version};
pub use id::{InvalidKeyId, KeyId};
pub use labels::{InvalidLabels, Labels};
pub use reason::{InvalidReason, Reason};
pub use request_id::{InvalidRequestId, RequestId};
pub use status::Status;

/// The name that people give to a key. Several keys may have the same.
pub type KeyName = Line<100>;

/// Since when a key or an account is suspended, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Why.
    pub reason: Reason,
    /// Since when, by the clock of the replica that suspended it first.
    pub time: Timestamp,
}

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

/// The record of a key, as most calls show it. `change` says what may become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The service chooses the id.
    pub id: KeyId,
    /// The account that owns the key. It never changes.
    pub account_id: AccountId,
    /// The name that people gave to the key.
    pub name: KeyName,
    /// The part of the token that may be shown.
    pub preview: Preview,
    /// The domains for which the key may be used.
    pub scope: Scope,
    /// How people organise their keys.
    pub labels: Labels,
    /// When the key was created, by the clock of the replica that created it.
    pub create_time: Timestamp,
    /// When the key stops working. `None` means never.
    pub expire_time: Option<Timestamp>,
    /// When the key was first revoked. `None` means that it is not revoked.
    pub revoke_time: Option<Timestamp>,
    /// Why the key was revoked. `None` means that nobody said.
    pub revoke_reason: Option<Reason>,
    /// Why the key is suspended. `None` means that it is not suspended.
    pub suspension: Option<Suspension>,
    /// The key that this one replaced by a rotation.
    pub predecessor: Option<KeyId>,
    /// The key that replaced this one by a rotation.
    pub successor: Option<KeyId>,
    /// Counts the changes of the record.
    pub version: Version,
    /// When the key was last granted, as far as the store knows. `None` means never. It is no change of
    /// the record.
    pub last_used_time: Option<Timestamp>,
}

impl Key {
    /// The status of the key at a time.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let (is_revoked, is_suspended) = (self.revoke_time.is_some(), self.suspension.is_some());
        Status::at(now, is_revoked, is_suspended, self.expire_time)
    }

    /// Tells this state of the record from every other.
    #[must_use]
    pub fn etag(&self) -> Etag {
        Etag::of(self)
    }
}

/// Everything that Authorize must know of a key. A keyring holds it, and a store reports it as a
/// change.
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
    /// Whether the key itself is suspended. Its account may be too.
    pub suspended: bool,
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
            suspended: key.suspension.is_some(),
        }
    }
}

/// A [`KeyState`] whose texts stand elsewhere, so that many can be read without an allocation for each.
#[derive(Debug, Clone, Copy)]
pub struct KeyStateRef<'a> {
    /// The digest of the key's token.
    pub digest: TokenDigest,
    /// The id that a grant names.
    pub id: KeyId,
    /// The account that owns the key.
    pub account_id: &'a str,
    /// The domain to which the key is restricted. `None` means all domains of its account.
    pub domain: Option<&'a str>,
    /// When the key stops working. `None` means never.
    pub expire_time: Option<Timestamp>,
    /// Whether the key is revoked, at whatever time.
    pub revoked: bool,
    /// Whether the key itself is suspended.
    pub suspended: bool,
}

impl<'a> From<&'a KeyState> for KeyStateRef<'a> {
    fn from(state: &'a KeyState) -> Self {
        Self {
            digest: state.digest,
            id: state.id,
            account_id: state.account_id.as_str(),
            domain: state.scope.domain(),
            expire_time: state.expire_time,
            revoked: state.revoked,
            suspended: state.suspended,
        }
    }
}

impl From<KeyStateRef<'_>> for KeyState {
    fn from(state: KeyStateRef<'_>) -> Self {
        let domain = state.domain.map(str::to_owned).map(Domain::from_stored);
        Self {
            digest: state.digest,
            id: state.id,
            account_id: AccountId::from_stored(state.account_id.to_owned()),
            scope: Scope::from_domain(domain),
            expire_time: state.expire_time,
            revoked: state.revoked,
            suspended: state.suspended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revoked_outranks_expired_and_that_outranks_suspended() {
        let time = |micros| Timestamp::from_micros(micros).expect("in range");
        let status = |is_revoked, is_suspended, now| {
            Status::at(time(now), is_revoked, is_suspended, Some(time(10)))
        };
        assert_eq!(status(false, false, 9), Status::Active);
        assert_eq!(status(false, false, 10), Status::Expired);
        assert_eq!(status(false, true, 9), Status::Suspended);
        assert_eq!(status(false, true, 10), Status::Expired);
        for (is_suspended, now) in [(false, 9), (false, 10), (true, 9), (true, 10)] {
            assert_eq!(status(true, is_suspended, now), Status::Revoked);
        }
    }
}
