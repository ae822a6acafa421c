//! What a store has lost of a key or a domain, and whether that was a denial: one table for all who write lost denials
//! again.
//!
//! Promises that no loss counts as harmless by which something is granted that was denied.

use super::{time::Timestamp, verified_domain::Coverage};

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRights<'a> {
    /// Whether it is revoked.
    pub revoked: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// The only domain in its scope. `None` means all domains of its account.
    pub domain: Option<&'a str>,
    /// When it expires. `None` means never.
    pub expire_time: Option<Timestamp>,
}

/// What a store has lost of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLoss {
    /// All of it.
    Key,
    /// Its revocation.
    Revocation,
    /// A suspension, or a change of scope or expiry, without which the key is granted where it was denied.
    Denials,
    /// A change of scope or expiry that may have narrowed the key, which is suspended.
    DenialsOnceResumed,
    /// Where the key was granted, it is denied now.
    Grants,
}

impl KeyLoss {
    /// What is lost if a key was like `held`, and the store has it like `loaded`.
    #[must_use]
    pub fn between(held: &KeyRights<'_>, loaded: Option<&KeyRights<'_>>) -> Option<Self> {
        let Some(loaded) = loaded else {
            return Some(Self::Key);
        };
        if loaded.revoked {
            return None;
        }
        if held.revoked {
            return Some(Self::Revocation);
        }
        let takes_rights = loaded.has_wider_scope_than(held) || loaded.lasts_longer_than(held);
        if !loaded.suspended && (takes_rights || held.suspended) {
            return Some(Self::Denials);
        }
        if takes_rights {
            return Some(Self::DenialsOnceResumed);
        }
        (held != loaded).then_some(Self::Grants)
    }
}

impl KeyRights<'_> {
    /// Whether a key with these rights may be used for a domain that the other excludes.
    #[must_use]
    pub fn has_wider_scope_than(&self, other: &Self) -> bool {
        other.domain.is_some() && self.domain != other.domain
    }

    /// Whether it is granted at a time at which the other is not.
    #[must_use]
    pub fn lasts_longer_than(&self, other: &Self) -> bool {
        let end = |rights: &Self| rights.expire_time.unwrap_or(Timestamp::MAX);
        end(self) > end(other)
    }
}

/// What a store has lost of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainLoss {
    /// Names that were granted are denied now.
    Grants,
    /// Names that were denied are granted now.
    Denials(Removal),
}

/// What was taken from an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The domain, with all names below it.
    Domain,
    /// The names below the domain.
    Subdomains,
}

impl DomainLoss {
    /// What is lost if a domain verified the names of `held`, and does those of `loaded` by the store.
    #[must_use]
    pub fn between(held: Coverage, loaded: Coverage) -> Option<Self> {
        match (held, loaded) {
            (held, loaded) if held == loaded => None,
            (Coverage::Removed, _) => Some(Self::Denials(Removal::Domain)),
            (Coverage::Domain, Coverage::DomainAndSubdomains) => {
                Some(Self::Denials(Removal::Subdomains))
            }
            (Coverage::Domain | Coverage::DomainAndSubdomains, _) => Some(Self::Grants),
        }
    }
}
