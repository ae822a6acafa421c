//! The store: the source of truth, behind one small trait for each of its tasks.
//!
//! Owns the traits, what they take and give, and their two implementations, `postgres` and
//! `sqlite`. Promises one behaviour, proved by one conformance suite, whichever store is behind the
//! traits. Must never see a token, only its digest.
//!
//! Every call is safe to drop at any time: a write that was begun may then stand or not, and a read
//! has no effect. Every call ends within the store's own time limits, with
//! [`StoreError::Unavailable`] when they pass. Only a load may take as long as its keys need.

mod accounts;
mod audit_log;
mod batch_revocation;
mod change_key;
mod changes;
mod domains;
mod error;
mod hints;
mod histories;
mod keys;
mod load;
mod migrations;
pub mod observed;
mod open_error;
mod pool;
mod position;
pub mod postgres;
mod replicas;
mod restored;
mod retention;
pub mod sqlite;
mod still_allowed;
mod uses;

pub use accounts::{
    AccountStore, AccountSummary, CountedKeys, KEY_COUNT_LEN, KeyCounts, SuspensionChange,
};
pub use audit_log::{Appended, ApplyRecord, AuditLog, ReadRecord, RecordOrigin, Unreadable};
pub use batch_revocation::{BatchRevocation, MAX_BATCH, Selected, Selection};
pub use change_key::{KeyChange, change_key};
pub use changes::{Change, ChangeFeed, ChangePage, State};
pub use domains::{
    ActiveKeys, AddedDomain, COUNT_LEN, DomainAddition, DomainQuery, DomainRemoval, DomainStore,
    LISTED_COUNT_LEN, ListedDomain, RemovedDomain,
};
pub(crate) use error::with_causes;
pub use error::{Cause, ReplicationError, StoreError};
pub use hints::Hints;
pub use histories::{HistoryStore, StoreIdentity};
pub use keys::{
    Counted, CreateOutcome, KeyLookup, KeyReplacement, KeyStore, KeySuspension, KeyTarget,
    LIST_SEARCH_LEN, ListQuery, Listed, NewKey, NotCreated, Replaced, Revocation, Suspended,
};
pub use load::{Batch, BatchSender, KeyBatch, batches};
pub use migrations::SchemaError;
pub(crate) use open_error::other_secret;
pub use open_error::{OpenError, ReadAuditError};
pub use pool::{ConnectionPool, PoolStatus};
pub use position::{Committed, Position, Progress, Revision, WriteId};
pub use replicas::{Renewal, Renewed, Replica, ReplicaId, ReplicaRegistry, ReplicaSnapshot};
pub use restored::RestoredStore;
use restored::WhenRestored;
pub use retention::{Agreed, Forgotten, Old, OldWrites, RetentionStore};
use std::sync::Arc;
pub use still_allowed::{StillAllowed, Watch};
pub use uses::{NotedUse, UseLog};

/// What there is at a store's address before it is opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Presence {
    /// A store.
    Store,
    /// Nothing: an opening would create a store at this address, which is shown without its password.
    Nothing(String),
    /// There is no way to it now, for this reason.
    Away(String),
    /// It cannot be told. An opening says why.
    Unknown,
}

/// How many writes that wait at the same time share one transaction at most, unless a setting says otherwise.
///
/// A group of this size takes a store some 10 ms, and the first write of it is answered only then. A larger group
/// would gain little: the commit is a small part of that time.
pub const WRITES_PER_COMMIT: usize = 64;

/// One store, by its tasks.
#[derive(Clone)]
pub struct Store {
    /// Tells it and its writes from all others.
    pub identity: StoreIdentity,
    /// Creates, reads, changes, revokes and lists keys.
    pub keys: Arc<dyn KeyStore>,
    /// Adds, removes and lists verified domains.
    pub domains: Arc<dyn DomainStore>,
    /// Suspends accounts and resumes them.
    pub accounts: Arc<dyn AccountStore>,
    /// Knows where its histories begin.
    pub histories: Arc<dyn HistoryStore>,
    /// Takes the audit records of calls that wrote nothing.
    pub audit: Arc<dyn AuditLog>,
    /// Keeps when keys were last used.
    pub uses: Arc<dyn UseLog>,
    /// Lets old keys go.
    pub retention: Arc<dyn RetentionStore>,
    /// Gives what a replica's memory is filled from.
    pub changes: Arc<dyn ChangeFeed>,
    /// The replicas that share the store. None if no other process can write to it: then a lease
    /// has no end, and a write waits for this process alone.
    pub replicas: Option<Arc<dyn ReplicaRegistry>>,
    /// The connections for calls, if the store has a pool of them.
    pub pool: Option<Arc<dyn ConnectionPool>>,
    /// Tells of changes that this process may not have made. It may do so for nothing, and hints may
    /// be lost, so whoever waits for one also reads the changes from time to time.
    pub hints: Arc<Hints>,
}
