//! Owns the count of a store's troubles, by what it was asked to do.
//! Promises the store's own answers, unchanged.
//! Must never count what is a caller's mistake: a key that is not there is no trouble.

use super::error_counts::{Operation, StoreErrors};
use super::{
    ApplyState, Change, CreateError, FollowError, KeyStore, ListQuery, ListedKey, Look, NewKey,
    PoolStatus, Position, Renewal, Renewed, Replica, ReplicaId, Revocation, RevokeError, Revoked,
    StoreError,
};
use crate::model::audit_record::AuditRecord;
use async_trait::async_trait;
use std::sync::Arc;

/// A store whose troubles are counted.
pub struct CountedStore {
    /// The store itself.
    pub store: Arc<dyn KeyStore>,
    /// Where they are counted.
    pub errors: &'static StoreErrors,
}

impl CountedStore {
    fn note<T, E: MayBeTrouble>(&self, operation: Operation, answer: Result<T, E>) -> Result<T, E> {
        if answer.as_ref().is_err_and(E::is_trouble) {
            self.errors.count(operation);
        }
        answer
    }
}

/// An error that may be the store's own.
trait MayBeTrouble {
    fn is_trouble(&self) -> bool;
}

impl MayBeTrouble for StoreError {
    fn is_trouble(&self) -> bool {
        true
    }
}

impl MayBeTrouble for CreateError {
    fn is_trouble(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

impl MayBeTrouble for RevokeError {
    fn is_trouble(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

/// Lost history is the gravest of troubles.
impl MayBeTrouble for FollowError {
    fn is_trouble(&self) -> bool {
        true
    }
}

#[async_trait]
impl KeyStore for CountedStore {
    async fn create(&self, new: &NewKey) -> Result<Position, CreateError> {
        self.note(Operation::Create, self.store.create(new).await)
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<Revoked, RevokeError> {
        self.note(Operation::Revoke, self.store.revoke(revocation).await)
    }

    async fn append(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        self.note(Operation::Audit, self.store.append(records).await)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<ListedKey>, StoreError> {
        self.note(Operation::List, self.store.list(query).await)
    }

    async fn load(&self, apply: &mut ApplyState<'_>) -> Result<Position, StoreError> {
        self.note(Operation::Load, self.store.load(apply).await)
    }

    async fn changes(&self, since: Position, limit: usize) -> Result<Vec<Change>, FollowError> {
        self.note(Operation::Follow, self.store.changes(since, limit).await)
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, FollowError> {
        self.note(Operation::Renew, self.store.renew(renewal).await)
    }

    async fn replicas(&self, writes: &[Position]) -> Result<Look, StoreError> {
        self.note(Operation::Replicas, self.store.replicas(writes).await)
    }

    async fn forget(&self, lapsed: &Replica) -> Result<bool, StoreError> {
        self.note(Operation::Forget, self.store.forget(lapsed).await)
    }

    async fn leave(&self, id: ReplicaId) -> Result<(), StoreError> {
        self.note(Operation::Leave, self.store.leave(id).await)
    }

    async fn changed(&self) {
        self.store.changed().await;
    }

    fn pool(&self) -> Option<PoolStatus> {
        self.store.pool()
    }
}
