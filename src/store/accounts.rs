//! The source of truth for accounts: the trait [`AccountStore`], its arguments and its answers.
//!
//! Promises that a write and its audit record are one transaction, and that keys, domains and accounts
//! share one order of revisions.

use super::{Committed, Revision, StillAllowed, StoreError};
use crate::model::{
    account::AccountId,
    caller_name::CallerName,
    key::{Reason, Suspension},
    time::Timestamp,
};
use async_trait::async_trait;
use std::ops::AddAssign;

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

    /// An account. One that the store does not know has nothing.
    async fn get_account(&self, account_id: &AccountId) -> Result<AccountSummary, StoreError>;

    /// How many of an account's keys have each status at a time, of those that were created before a revision.
    /// It counts the newest [`KEY_COUNT_LEN`] of these: so no account keeps the store busy for long.
    async fn count_keys(
        &self,
        account_id: &AccountId,
        now: Timestamp,
        before: Revision,
    ) -> Result<CountedKeys, StoreError>;
}

/// How many keys are counted at once, which takes some ten milliseconds.
pub const KEY_COUNT_LEN: i64 = 5000;

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
    /// Asked when its turn has come. If it says no, the write is not made.
    pub still_allowed: StillAllowed,
}

/// An account, and how much it has besides keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// Why the account is suspended. `None` means that it is not suspended.
    pub suspension: Option<Suspension>,
    /// How many domains are verified for it.
    pub domains: u64,
}

/// How many of some keys have each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedKeys {
    /// The numbers.
    pub counts: KeyCounts,
    /// The oldest of these keys was created in this revision. `None` means that there is no older one.
    pub counted_to: Option<Revision>,
}

/// How many keys have each status of their own.
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

impl CountedKeys {
    /// With how many were counted, and the first revision of the oldest of them.
    pub(super) fn new(counts: KeyCounts, oldest: Option<Revision>) -> Self {
        let KeyCounts {
            active,
            suspended,
            expired,
            revoked,
        } = counts;
        let is_all = active + suspended + expired + revoked < KEY_COUNT_LEN.unsigned_abs();
        Self {
            counts,
            counted_to: oldest.filter(|_| !is_all),
        }
    }
}

impl AddAssign for KeyCounts {
    fn add_assign(&mut self, other: Self) {
        self.active += other.active;
        self.suspended += other.suspended;
        self.expired += other.expired;
        self.revoked += other.revoked;
    }
}
