//! The source of truth for accounts: the trait [`AccountStore`], its arguments and its answers.
//!
//! Promises that a write and its audit record are one transaction, and that keys, domains and accounts
//! share one order of revisions.

use super::{Committed, StoreError};
use crate::model::{
    account::AccountId,
    caller_name::CallerName,
    key::{Reason, Suspension},
    time::Timestamp,
};
use async_trait::async_trait;

/// Suspends accounts and resumes them.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// Suspends an account, or resumes it. An account that was suspended before stays so since then, for
    /// the new reason. The call is on record.
    ///
    /// Unavailable while a replica of an older release, which does not know such a change, may hold a
    /// lease.
    async fn set_suspension(
        &self,
        change: &SuspensionChange,
    ) -> Result<Committed<Option<Suspension>>, StoreError>;

    /// An account, with what it has at a time. An account that the store does not know has nothing.
    async fn get_account(
        &self,
        account_id: &AccountId,
        now: Timestamp,
    ) -> Result<AccountSummary, StoreError>;
}

/// Whether an account is to be suspended.
#[derive(Debug, Clone)]
pub struct SuspensionChange {
    /// The account.
    pub account_id: AccountId,
    /// Why it is suspended. `None` resumes it.
    pub reason: Option<Reason>,
    /// When that is.
    pub now: Timestamp,
    /// Who does it.
    pub caller: CallerName,
}

/// An account, and how much it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// Why the account is suspended. `None` means that it is not suspended.
    pub suspension: Option<Suspension>,
    /// How many of its keys have each status of their own.
    pub keys: KeyCounts,
    /// How many domains are verified for it.
    pub domains: u64,
}

/// How many keys have each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Neither of the others.
    pub active: u64,
    /// Suspended themselves.
    pub suspended: u64,
    /// Expired and not revoked.
    pub expired: u64,
    /// Revoked.
    pub revoked: u64,
}
