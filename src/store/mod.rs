//! Owns what a store of keys is: the [`KeyStore`] trait, its arguments, answers and errors.
//! Promises one behaviour, proved by one conformance suite, whichever store is behind it.
//! Must never see a token, only its digest.

pub mod error_counts;
mod migrations;
pub mod observed;
mod open_error;
pub mod postgres;
pub mod sqlite;

use crate::model::{
    account::{AccountId, Accounts},
    audit_record::AuditRecord,
    caller_name::CallerName,
    domain::Domain,
    key::{Key, KeyId, KeyState, RequestId, Status},
    time::{LeaseTerm, Timestamp},
    token::TokenDigest,
};
use async_trait::async_trait;
pub use migrations::SchemaError;
pub(crate) use open_error::other_secret;
pub use open_error::{OpenError, ReadAuditError};
use std::io;
use uuid::Uuid;

/// A write's place in the one order of all writes, from 1 on. Revision 0 stands before them all.
///
/// Revisions are given in commit order: who has seen revision R and asks for what came since
/// misses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

impl Revision {
    /// Before every write.
    pub const ZERO: Self = Self(0);

    /// From the number that a store keeps.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }
}

/// A point in a store's history: a revision, and the random id of the write that took it.
///
/// A store that was restored from a backup may give a revision out a second time, but not the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// How many writes came up to here.
    pub revision: Revision,
    /// Of the last of them.
    pub write_id: WriteId,
}

impl Position {
    /// Before every write, in every history.
    pub const START: Self = Self {
        revision: Revision::ZERO,
        write_id: WriteId(Uuid::nil()),
    };
}

/// Identifies one write among those of all histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteId(Uuid);

/// Identifies one process, from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicaId(Uuid);

macro_rules! kept_as_uuid {
    ($type:ident) => {
        impl $type {
            /// As the stores keep it.
            #[must_use]
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// As the stores keep it.
            #[must_use]
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }
    };
}
kept_as_uuid!(WriteId);
kept_as_uuid!(ReplicaId);

/// The source of truth for keys.
///
/// Every call is safe to drop at any time: a write that was begun may then stand or not, and a
/// read has no effect. Every call ends within the store's own time limits, with
/// [`StoreError::Unavailable`] when they pass; a load may take as long as its keys need.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// Stores a new key, durably, in one transaction with its revision and its audit record. Gives
    /// that write's position. A request id that was used before is on record too when this returns.
    async fn create(&self, new: &NewKey) -> Result<Position, CreateError>;

    /// Revokes a key, durably, in one transaction with its revision and its audit record. A key that
    /// was revoked before keeps its first `revoke_time` and its revision, and the call is on record
    /// all the same. One that is not found leaves no record: that is for the caller to append.
    async fn revoke(&self, revocation: &Revocation) -> Result<Revoked, RevokeError>;

    /// Appends audit records of what was no write, durably.
    async fn append(&self, records: &[AuditRecord]) -> Result<(), StoreError>;

    /// Keys of one account, newest first, at most `query.limit` of them.
    async fn list(&self, query: &ListQuery) -> Result<Vec<ListedKey>, StoreError>;

    /// Hands every key's state to `apply`, in no order, as of one moment, and gives that moment's
    /// position.
    async fn load(&self, apply: &mut ApplyState<'_>) -> Result<Position, StoreError>;

    /// The keys whose last change came after `since`, in revision order, at most `limit` of them.
    /// Fewer than `limit` means that these were all.
    async fn changes(&self, since: Position, limit: usize) -> Result<Vec<Change>, FollowError>;

    /// Whether other processes may write to this store. Where none can, a lease has no end.
    fn is_shared(&self) -> bool;

    /// Renews a replica's lease, and reads what it must apply before it may use the lease.
    ///
    /// One transaction, which stands wholly before or wholly after every write: a writer that
    /// looks at [`KeyStore::replicas`] after its commit sees this renewal, or this renewal reads
    /// that write.
    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, FollowError>;

    /// Every replica that may hold a lease, and which of these writes the store does not have.
    async fn replicas(&self, writes: &[Position]) -> Result<Look, StoreError>;

    /// Forgets a replica whose lease has lapsed, so that nobody waits for it again, unless it has
    /// renewed since. Tells whether it was this call that forgot it.
    async fn forget(&self, lapsed: &Replica) -> Result<bool, StoreError>;

    /// Forgets the calling replica, which has given up its lease.
    async fn leave(&self, id: ReplicaId) -> Result<(), StoreError>;

    /// Returns when there may be changes that this process did not make. A hint: it may come for
    /// nothing, and it may be lost, so whoever waits for it also looks from time to time.
    async fn changed(&self);

    /// Its connections for calls, if it has a pool of them.
    fn pool(&self) -> Option<PoolStatus> {
        None
    }
}

/// A pool of connections, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Established, and in nobody's use.
    pub idle: usize,
    /// In use.
    pub in_use: usize,
    /// The most that there may be.
    pub max: usize,
    /// Calls that wait for one.
    pub waiting: usize,
}

/// Takes one audit record, and may refuse to take more.
pub type ApplyRecord<'a> = dyn FnMut(AuditRecord) -> io::Result<()> + 'a;

/// Takes one key's state.
pub type ApplyState<'a> = dyn FnMut(KeyState) + Send + 'a;

/// A key's state, and the position of the write that made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of the key's last write.
    pub position: Position,
    /// Since that write.
    pub state: KeyState,
}

/// A replica that may hold a lease, as its last renewal left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The process.
    pub id: ReplicaId,
    /// Its machine and address, for people.
    pub name: String,
    /// Its keyring holds the write of this revision and all before.
    pub applied: Revision,
    /// The number of its last renewal. No two renewals of a replica have the same.
    pub renewals: i64,
    /// How long the lease lasts that this renewal may have been granted.
    pub term: LeaseTerm,
}

/// A replica's request for a lease.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// The process.
    pub id: ReplicaId,
    /// Its machine and address, for people.
    pub name: String,
    /// The number of this renewal, larger than those of all before it.
    pub renewals: i64,
    /// How long a lease it asks for.
    pub term: LeaseTerm,
    /// What its keyring holds completely *now*, before the answer.
    pub applied: Revision,
    /// Where it has got to: as far as `applied`, or into the changes that came since.
    pub since: Position,
    /// The most changes to give.
    pub limit: usize,
}

/// The answer to a [`Renewal`].
#[derive(Debug, Clone)]
pub struct Renewed {
    /// What came since that position, in revision order. Fewer than the limit means that
    /// these were all: with them applied, the lease may be used.
    pub changes: Vec<Change>,
    /// Every replica that may hold a lease, the one that asked among them.
    pub replicas: Vec<Replica>,
}

/// What a writer sees of the replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Every replica that may hold a lease.
    pub replicas: Vec<Replica>,
    /// Those of the writes asked about that the store does not have (see
    /// [`FollowError::OtherHistory`]). What its replicas have applied says nothing of them.
    pub lost: Vec<Revision>,
}

/// What came since a position could not be told.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The store does not hold the write at that position: it was restored from a backup, or a
    /// standby took over that had missed the last commits.
    #[error("the store's history is not the one that this replica has followed")]
    OtherHistory,
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key to be stored.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The key; not revoked.
    pub key: Key,
    /// Of its token.
    pub digest: TokenDigest,
    /// The caller's name for this Create.
    pub request_id: Option<RequestId>,
    /// Who creates it.
    pub caller: CallerName,
}

/// Which key to revoke.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The key.
    pub target: RevokeTarget,
    /// The key must belong to one of these; any other is not found.
    pub accounts: Accounts,
    /// Its `revoke_time`, unless it has one.
    pub now: Timestamp,
    /// Who revokes it.
    pub caller: CallerName,
}

/// How a key to be revoked is named.
#[derive(Debug, Clone)]
pub enum RevokeTarget {
    /// By its id.
    Id(KeyId),
    /// By its token's digest.
    Digest(TokenDigest),
}

/// A key that is revoked now.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// The key.
    pub key: Key,
    /// Of the write that revoked it.
    pub position: Position,
}

/// Which keys to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Their owner.
    pub account_id: AccountId,
    /// Only those with this status at `now`.
    pub status: Option<Status>,
    /// Only those restricted to exactly this domain.
    pub domain: Option<Domain>,
    /// Only those created by a write before this one.
    pub before: Option<Revision>,
    /// The most to give; at least 1.
    pub limit: usize,
    /// The time at which `status` is judged.
    pub now: Timestamp,
}

/// A key, and its place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The key.
    pub key: Key,
    /// Of the write that created it.
    pub create_revision: Revision,
}

/// The store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be reached, or not in time. Trying again later may help.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// It failed in a way that trying again will not mend.
    #[error("the store failed: {0}")]
    Failed(#[source] Cause),
}

/// What a store's driver said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error with all that is behind it, on one line.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A key was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The account's request id was used before.
    #[error("the request id was used before, for key {first}")]
    RequestIdUsed {
        /// The key that its first use created.
        first: KeyId,
        /// Of that write.
        position: Position,
    },
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is no such key, or it belongs to another account.
    #[error("there is no such key")]
    NotFound,
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}
