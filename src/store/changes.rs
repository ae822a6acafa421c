//! What changed in the store, in order: the trait [`ChangeFeed`], from which a replica fills its
//! memory.
//!
//! Promises that a load and the changes since its position miss no write.

use super::{Position, Progress, ReplicationError, StoreError};
use crate::model::{account::AccountState, key::KeyState, verified_domain::DomainState};
use async_trait::async_trait;

/// Reads everything, and then what changed since.
#[async_trait]
pub trait ChangeFeed: Send + Sync + 'static {
    /// Hands every state to `apply`, in no order, as of one moment, and gives that moment's position.
    /// May take as long as the keys and domains need.
    async fn load(&self, apply: &mut ApplyState<'_>) -> Result<Position, StoreError>;

    /// What was last changed after `since.read_to`, in revision order, at most `limit` states. Fewer
    /// than `limit` means that these were all.
    ///
    /// Refused with [`ReplicationError::OtherHistory`] if the store does not have `since.head`.
    async fn changes(&self, since: Progress, limit: usize) -> Result<ChangePage, ReplicationError>;
}

/// Changes, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// In revision order.
    pub changes: Vec<Change>,
    /// The last write of all at that moment.
    pub head: Position,
}

/// Takes one state.
pub type ApplyState<'a> = dyn FnMut(State) + Send + 'a;

/// The whole state of one thing that Authorize must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Of a key.
    Key(KeyState),
    /// Of a domain of an account.
    Domain(DomainState),
    /// Of an account itself.
    Account(AccountState),
}

/// A state, and the position of the write that made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The position of the last write to it.
    pub position: Position,
    /// Its state since that write.
    pub state: State,
}
