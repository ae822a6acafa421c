//! The verified domain: a domain of which the platform has said that it belongs to an account.
//!
//! Must never say how it was verified. That is the platform's work.

use super::{account::AccountId, domain::Domain, time::Timestamp};

/// The record of a verified domain, as `AddDomain` and `ListDomains` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDomain {
    /// The account to which it belongs. Another account may have the same domain.
    pub account_id: AccountId,
    /// The domain.
    pub domain: Domain,
    /// Whether all names below the domain are verified with it.
    pub include_subdomains: bool,
    /// When the account first had this domain, by the clock of the replica that added it.
    pub create_time: Timestamp,
    /// Since when the domain has been verified. A domain that was removed and added again has a
    /// later one than at first.
    pub verify_time: Timestamp,
}

/// Everything that Authorize must know of a domain of an account. A keyring holds it, and a store
/// reports it as a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainState {
    /// The account.
    pub account_id: AccountId,
    /// The domain.
    pub domain: Domain,
    /// What is verified by it.
    pub coverage: Coverage,
}

/// The names that a domain of an account verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// None: the domain was removed.
    Removed,
    /// The domain alone.
    Domain,
    /// The domain and all names below it.
    DomainAndSubdomains,
}

impl Coverage {
    /// What a domain covers that a store has kept so.
    #[must_use]
    pub fn of(include_subdomains: bool, is_removed: bool) -> Self {
        match (is_removed, include_subdomains) {
            (true, _) => Self::Removed,
            (false, false) => Self::Domain,
            (false, true) => Self::DomainAndSubdomains,
        }
    }
}
