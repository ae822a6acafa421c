//! What changed in the store, in order: the trait [`ChangeFeed`], from which a replica fills its
//! memory.
//!
//! Promises that a load and the changes since its position miss no write.

use super::{BatchSender, Position, Progress, ReplicationError, Revision, StoreError};
use crate::model::{account::AccountState, key::KeyState, verified_domain::DomainState};
use async_trait::async_trait;

/// Reads everything, and then what changed since.
#[async_trait]
pub trait ChangeFeed: Send + Sync + 'static {
    /// Sends every state, as of one moment, and gives that moment's position. May take as long as the
    /// keys and domains need. Ends early with an error if nobody takes the batches any more.
    async fn load(&self, batches: BatchSender) -> Result<Position, StoreError>;

    /// What was last changed by the next `limit` writes after `since.read_to`, in revision order. There
    /// are fewer states than writes, since a later write may have changed the same thing again.
    ///
    /// Refused with [`ReplicationError::OtherHistory`] if the store does not have `since.head`.
    async fn changes(&self, since: Progress, limit: usize) -> Result<ChangePage, ReplicationError>;
}

/// Changes, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// In revision order.
    pub changes: Vec<Change>,
    /// The last of the writes that were looked at. There are more if it is not the head.
    pub read_to: Revision,
    /// The last write of all at that moment.
    pub head: Position,
}

impl ChangePage {
    /// The changes of at most `limit` writes after `since`.
    pub(in crate::store) fn new(
        changes: Vec<Change>,
        since: Revision,
        limit: usize,
        head: Position,
    ) -> Self {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let end = Revision::from_number(since.number().saturating_add(limit));
        Self {
            changes,
            read_to: end.min(head.revision),
            head,
        }
    }

    /// How far a reader is who has applied this page.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            read_to: self.read_to,
            head: self.head,
        }
    }

    /// Whether nothing was left to read.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.read_to == self.head.revision
    }
}

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
