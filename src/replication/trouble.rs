//! What keeps the follower from following.

use crate::store::{ReplicationError, StoreError};

/// What keeps the follower from following.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// The store does not answer, or has another history.
    Passing,
    /// The address leads to another store. The lease runs on: it says what memory is, and memory is still that
    /// of the store which was opened.
    OtherStore,
    /// Another store is in its place.
    Lost,
}

impl Trouble {
    pub(super) fn of<T>(renewed: &Result<T, ReplicationError>) -> Self {
        match renewed {
            Ok(_) => Self::None,
            Err(ReplicationError::StoreLost(_)) => Self::Lost,
            Err(ReplicationError::Store(StoreError::OtherStore(_))) => Self::OtherStore,
            Err(_) => Self::Passing,
        }
    }
}
