//! When keys were last used, as far as a store knows: the trait [`UseLog`] and its argument.
//!
//! It is no write of a key: it takes no revision, waits for no lock of the writers, and wakes nobody.

use super::StoreError;
use crate::model::{key::KeyId, time::Timestamp};
use async_trait::async_trait;

/// Keeps when keys were last used.
#[async_trait]
pub trait UseLog: Send + Sync + 'static {
    /// Stores the uses that are worth it, and gives the last one that is now stored, or a later one, for
    /// each key that the store has. Of several uses of one key, whichever replica noted them, the latest
    /// stays.
    async fn record_uses(&self, uses: &[NotedUse]) -> Result<Vec<(KeyId, Timestamp)>, StoreError>;
}

/// A use of a key that a replica has noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotedUse {
    /// The key.
    pub key_id: KeyId,
    /// When it was granted, or up to a minute earlier.
    pub time: Timestamp,
    /// The use is not worth storing if the store has one since then.
    pub unless_since: Timestamp,
}
