//! What a replica has to say of a store that was restored under it: whether others may serve it.
//!
//! Promises that a store is accepted only if it has, or has again, all that this replica remembers. That is all that
//! was acknowledged, unless the replica had lost the former database before the others did.

use super::own_writes;
use crate::store::{Position, Store, StoreError};
use std::time::Duration;
use tokio::time::Instant;

/// How often a replica looks whether the store was restored. One that starts on such a store waits for that.
const EVERY: Duration = Duration::from_secs(10);

/// When a replica is to look again.
pub(super) struct Vouching {
    due: Instant,
}

impl Vouching {
    /// Of a replica whose start has looked.
    pub(super) fn begin() -> Self {
        Self {
            due: Instant::now() + EVERY,
        }
    }

    /// Has the next look come at once, because the store was away.
    pub(super) fn set_due(&mut self) {
        self.due = Instant::now();
    }

    /// Whether it is time. The next look is then due later.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.due <= now;
        if is_due {
            self.due = now + EVERY;
        }
        is_due
    }
}

/// Accepts a store that was restored, if it has this write, up to which this replica remembers everything.
pub(super) async fn vouch(store: &Store, held: Position) -> Result<(), StoreError> {
    let Some(registry) = &store.replicas else {
        return Ok(());
    };
    if registry.vouch(held).await? {
        tracing::warn!(
            revision = held.revision.number(),
            "the store was restored from a backup, and has, or has again, what this replica remembers: it is accepted"
        );
        own_writes::log_last_history(store).await?;
    }
    Ok(())
}

/// Refuses a store that was restored, for a replica that does not remember enough.
pub(super) async fn refuse_restored(store: &Store) -> Result<(), StoreError> {
    match &store.replicas {
        Some(registry) if !registry.is_own().await? => Err(StoreError::Failed(
            "it was restored from a backup, and this replica does not remember enough to vouch for it: run \
             `keyservice accept-restore` if it is to be served all the same"
                .into(),
        )),
        _ => Ok(()),
    }
}
