//! The replicas that share a store, and their leases: the trait [`ReplicaRegistry`].
//!
//! Only a store that several processes write to has one. Where no other process can write, a
//! replica's memory cannot fall behind unnoticed, and its lease has no end.
//!
//! Promises that each renewal stands wholly before or wholly after every write.

use super::{ChangePage, Position, Progress, ReplicationError, Revision, StoreError};
use crate::model::time::LeaseTerm;
use async_trait::async_trait;
use uuid::Uuid;

/// Keeps which replicas may hold a lease, and what each of them has applied.
#[async_trait]
pub trait ReplicaRegistry: Send + Sync + 'static {
    /// Renews a replica's lease, and reads what it must apply before it may use the lease.
    ///
    /// This is one transaction, which stands wholly before or wholly after every write: a writer
    /// that reads [`ReplicaRegistry::replicas`] after its commit sees this renewal, or this renewal
    /// reads that write.
    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, ReplicationError>;

    /// Every replica that may hold a lease, and which of these writes the store does not have.
    async fn replicas(&self, writes: &[Position]) -> Result<ReplicaSnapshot, StoreError>;

    /// Removes a replica whose lease has lapsed, so that no writer waits for it again, unless it
    /// has renewed since. Tells whether this call removed it.
    async fn remove_lapsed(&self, lapsed: &Replica) -> Result<bool, StoreError>;

    /// Removes the calling replica, which has given up its lease.
    async fn leave(&self, id: ReplicaId) -> Result<(), StoreError>;

    /// Whether the store is the one that its writes were made in, or was accepted since it was restored.
    async fn is_own(&self) -> Result<bool, StoreError>;

    /// Accepts a store that was restored, if it has this write. Tells whether it had to.
    ///
    /// The caller must remember all that was written up to this write, and must have written again what the store
    /// has lost of it.
    async fn vouch(&self, held: Position) -> Result<bool, StoreError>;
}

/// Identifies one process, from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicaId(Uuid);

impl ReplicaId {
    /// The id that a store keeps as this UUID.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID that a store keeps.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

/// A replica that may hold a lease, as its last renewal left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The process.
    pub id: ReplicaId,
    /// Its machine and address, for people.
    pub name: String,
    /// The replica's keyring holds the write of this revision and all before it.
    pub applied: Revision,
    /// The number of its last renewal. No two renewals of a replica have the same number.
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
    /// How far it has got: to `applied`, or into the changes that came after it.
    pub since: Progress,
    /// The most changes to give.
    pub limit: usize,
}

/// The answer to a [`Renewal`].
#[derive(Debug, Clone)]
pub struct Renewed {
    /// What came since then. Fewer changes than the limit mean that these were all: once they are
    /// applied, the lease may be used.
    pub page: ChangePage,
    /// Every replica that may hold a lease, the one that asked included.
    pub replicas: Vec<Replica>,
}

/// What a writer sees of the replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSnapshot {
    /// Every replica that may hold a lease.
    pub replicas: Vec<Replica>,
    /// The writes asked about that the store does not have (see
    /// [`ReplicationError::OtherHistory`]). What its replicas have applied says nothing of them.
    pub lost: Vec<Revision>,
}
