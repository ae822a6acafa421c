//! The source of truth for verified domains: the trait [`DomainStore`], its arguments and its answers.
//!
//! Promises that a write and its audit record are one transaction, and that keys and domains share one
//! order of revisions.

use super::{Committed, StillAllowed, StoreError};
use crate::model::{
    account::AccountId, caller_name::CallerName, domain::Domain, time::Timestamp,
    verified_domain::VerifiedDomain,
};
use async_trait::async_trait;

/// Adds, removes and lists the verified domains of accounts.
#[async_trait]
pub trait DomainStore: Send + Sync + 'static {
    /// Adds a domain to an account. If the account has it already, this changes only
    /// `include_subdomains`, and nothing if that is the same. The call is on record either way.
    async fn add_domain(
        &self,
        addition: &DomainAddition,
    ) -> Result<Committed<AddedDomain>, StoreError>;

    /// Removes a domain from an account. A domain that was removed before keeps its revision, and the
    /// call is on record all the same.
    ///
    /// Gives `None` if the account has never had the domain. That leaves no record: the caller appends
    /// one.
    async fn remove_domain(
        &self,
        removal: &DomainRemoval,
    ) -> Result<Option<Committed<RemovedDomain>>, StoreError>;

    /// Takes the names below a domain from an account, and leaves it the domain. Does nothing, and gives
    /// `None`, if the account does not have them, so that it never gives a domain back.
    async fn remove_subdomains(
        &self,
        removal: &DomainRemoval,
    ) -> Result<Option<Committed<()>>, StoreError>;

    /// The verified domains of one account, in alphabetical order, at most `query.limit` of them. It looks
    /// at no more than [`LISTED_COUNT_LEN`] keys of each to count those that are active.
    async fn list_domains(&self, query: &DomainQuery) -> Result<Vec<ListedDomain>, StoreError>;

    /// How many keys are active at a time and restricted to this domain of this account. It looks at no more
    /// than [`COUNT_LEN`] of them.
    async fn count_active_keys(
        &self,
        account_id: &AccountId,
        domain: &Domain,
        now: Timestamp,
    ) -> Result<ActiveKeys, StoreError>;
}

/// How many keys of a domain are looked at to count those that are active: some milliseconds' work. A key is
/// never deleted, so a domain may have any number of them.
pub const COUNT_LEN: usize = 1000;

/// The same for each domain of a list. A page has up to a thousand domains.
pub const LISTED_COUNT_LEN: usize = 100;

/// How many active keys are restricted to a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveKeys {
    /// So many at least.
    pub count: u64,
    /// Whether there may be more, because not all keys of the domain were looked at.
    pub is_minimum: bool,
}

impl ActiveKeys {
    /// No key was looked at.
    pub const UNKNOWN: Self = Self {
        count: 0,
        is_minimum: true,
    };

    /// So many were found among the newest keys of the domain. One more than `len` were looked at, if there
    /// are so many.
    pub(super) fn among(found: u64, looked_at: u64, len: usize) -> Self {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        Self {
            count: found.min(len),
            is_minimum: looked_at > len,
        }
    }
}

/// A domain to be added.
#[derive(Debug, Clone)]
pub struct DomainAddition {
    /// The account for which the domain was verified.
    pub account_id: AccountId,
    /// The domain.
    pub domain: Domain,
    /// Whether all names below the domain are verified with it.
    pub include_subdomains: bool,
    /// The domain's `create_time` and `verify_time`, unless it has them.
    pub now: Timestamp,
    /// Who adds it.
    pub caller: CallerName,
    /// Asked when its turn has come. If it says no, the write is not made.
    pub still_allowed: StillAllowed,
}

/// What became of an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedDomain {
    /// The domain as it is now.
    pub domain: VerifiedDomain,
    /// Whether another account has the domain too.
    pub is_shared: bool,
}

/// What became of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedDomain {
    /// The nearest domain above it that still verifies it for the account, at some moment since the removal
    /// was asked for.
    pub still_verified_by: Option<Domain>,
}

/// A domain to be removed, or the names below it.
#[derive(Debug, Clone)]
pub struct DomainRemoval {
    /// The account that has it.
    pub account_id: AccountId,
    /// The domain.
    pub domain: Domain,
    /// When that is.
    pub now: Timestamp,
    /// Who does it.
    pub caller: CallerName,
    /// Asked when its turn has come. If it says no, the write is not made.
    pub still_allowed: StillAllowed,
}

/// Which domains to list.
#[derive(Debug, Clone)]
pub struct DomainQuery {
    /// The account that has them.
    pub account_id: AccountId,
    /// Only domains that come after this one in alphabetical order. The account need not have it.
    pub after: Option<Domain>,
    /// The most domains to give, at least 1.
    pub limit: usize,
    /// The time at which keys are judged to be active.
    pub now: Timestamp,
}

/// A domain as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDomain {
    /// The domain.
    pub domain: VerifiedDomain,
    /// How many active keys are restricted to it.
    pub active_keys: ActiveKeys,
}
