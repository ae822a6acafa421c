//! What a store lets go: the trait [`RetentionStore`] and its arguments.
//!
//! A key that is gone was denied, and stays denied, as unknown. So it is no write that replicas have to
//! learn of: it takes no revision, and wakes nobody. Each asks which of the keys that it denies are gone.

use super::{Revision, StoreError};
use crate::model::{key::KeyId, time::Timestamp};
use async_trait::async_trait;
use std::time::Duration;

/// Lets keys and writes go, some at a time, so that no other write has to wait.
#[async_trait]
pub trait RetentionStore: Send + Sync + 'static {
    /// The time by which keys are old: that of the caller's clock, if the store has no reason to doubt it. `passed` is
    /// the time since the caller last asked, by its monotonic clock; zero if it has not. The store remembers what
    /// it was told.
    async fn agreed_time(&self, now: Timestamp, passed: Duration) -> Result<Agreed, StoreError>;

    /// Looks at some writes after the given one, and lets the history start after those that may go. A replica that
    /// has not got so far must load everything anew.
    async fn raise_history_start(
        &self,
        old: &Old,
        after: Revision,
    ) -> Result<OldWrites, StoreError>;

    /// Where the history starts.
    async fn history_start(&self) -> Result<Revision, StoreError>;

    /// Looks at some keys after the given one, in the order of their ids, and forgets those that may go. None does
    /// whose last write is after `until`.
    async fn forget_keys(
        &self,
        old: &Old,
        until: Revision,
        after: KeyId,
    ) -> Result<Forgotten<KeyId>, StoreError>;

    /// Looks at some writes after the given one, up to `until`, and forgets those that may go: all but what stands in
    /// a row as its last write, or as the one that created it.
    async fn forget_writes(
        &self,
        old: &Old,
        until: Revision,
        after: Revision,
    ) -> Result<Forgotten<Revision>, StoreError>;

    /// Which of these keys the store does not have.
    async fn missing_keys(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError>;
}

/// What a store says of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreed {
    /// By this time, keys are old.
    Time(Timestamp),
    /// The clock has jumped, or was never looked at before. Nothing may go until it has gone on for so much longer.
    NotYet {
        /// How much longer.
        left: Duration,
        /// What the clock said at the look before, if it has jumped since.
        jumped_from: Option<Timestamp>,
    },
}

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Old {
    /// A key that was revoked or has expired before this, and a write of before.
    pub before: Timestamp,
    /// The time now. A write of a time to come was made by a clock that was wrong.
    pub now: Timestamp,
    /// A write that this replica has applied.
    pub applied: Revision,
}

/// How far the writes go that are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldWrites {
    /// The last one that was found old. The history starts after it, if the store has one.
    pub until: Revision,
    /// Whether there may be more.
    pub more: bool,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten<T> {
    /// How many.
    pub count: u64,
    /// The last one that was looked at. `None`: there are no more.
    pub last: Option<T>,
}
