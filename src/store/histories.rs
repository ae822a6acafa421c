//! The histories of a store: the trait [`HistoryStore`], and what tells the store's writes from those of others.

use super::{Position, StoreError};
use crate::model::{
    history::{History, HistoryId},
    time::Timestamp,
};
use async_trait::async_trait;
use uuid::Uuid;

/// Knows where each history begins.
#[async_trait]
pub trait HistoryStore: Send + Sync + 'static {
    /// All of them, in order. What is written belongs to the last.
    async fn histories(&self) -> Result<Vec<History>, StoreError>;

    /// Begins another. A replay says when the last of the lost writes was that it knows.
    async fn begin_history(&self, replayed_until: Option<Timestamp>) -> Result<(), StoreError>;
}

/// Tells a store from every other one, and its writes from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Each copy of the store has the same.
    pub store_id: Uuid,
    /// The history to which all writes of this process belong, if no other process can begin one.
    pub own_history: Option<HistoryId>,
}

impl StoreIdentity {
    /// Of no store.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self {
        store_id: Uuid::nil(),
        own_history: None,
    };

    /// To which history a write belongs that was just made.
    #[must_use]
    pub fn history_of(self, write: Position) -> HistoryId {
        let of_write = || HistoryId::from_first_half(write.write_id.as_uuid());
        self.own_history.unwrap_or_else(of_write)
    }
}
