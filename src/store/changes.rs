//! What changed in the store, in order: the trait [`ChangeFeed`], from which a replica fills its
//! memory.
//!
//! Promises that a load and the changes since its position miss no write.

use super::{Position, ReplicationError, StoreError};
use crate::model::key::KeyState;
use async_trait::async_trait;

/// Reads everything, and then what changed since.
#[async_trait]
pub trait ChangeFeed: Send + Sync + 'static {
    /// Hands every key's state to `apply`, in no order, as of one moment, and gives that moment's
    /// position. May take as long as its keys need.
    async fn load(&self, apply: &mut ApplyState<'_>) -> Result<Position, StoreError>;

    /// The keys whose last change came after `since`, in revision order, at most `limit` of them.
    /// Fewer than `limit` means that these were all.
    async fn changes(&self, since: Position, limit: usize)
    -> Result<Vec<Change>, ReplicationError>;
}

/// Takes one key's state.
pub type ApplyState<'a> = dyn FnMut(KeyState) + Send + 'a;

/// A key's state, and the position of the write that made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The position of the key's last write.
    pub position: Position,
    /// The key's state since that write.
    pub state: KeyState,
}
