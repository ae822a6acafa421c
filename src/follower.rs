//! Owns keeping the keyring level with the store.
//! Promises that every write of any replica reaches the keyring, in revision order.
//! Must never skip a revision: what it has not applied it asks for again.

use crate::{
    keyring::Keyring,
    store::{KeyStore, Revision, StoreError},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Changes asked for at a time, which bounds what one answer holds in memory.
const CHANGES_LIMIT: usize = 1000;

/// Brings the store's changes to the keyring.
pub struct Follower {
    store: Arc<dyn KeyStore>,
    keyring: Arc<Keyring>,
    applied: Revision,
}

impl Follower {
    /// Loads every key into the keyring and marks it complete.
    pub async fn load(store: Arc<dyn KeyStore>, keyring: Arc<Keyring>) -> Result<Self, StoreError> {
        let started = Instant::now();
        let applied = store.load(&mut |state| keyring.apply(&state)).await?;
        keyring.mark_complete();
        tracing::info!(
            keys = keyring.len(),
            revision = applied.number(),
            elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "keyring loaded"
        );
        Ok(Self {
            store,
            keyring,
            applied,
        })
    }

    /// Follows for ever: at once when the store hints at changes, and every `poll_interval`
    /// whether it does or not. A failure is logged when it begins and when it ends.
    ///
    /// May be dropped at any time.
    pub async fn run<Never>(mut self, poll_interval: Duration) -> Never {
        let mut failing = false;
        loop {
            let caught_up = self.catch_up().await;
            if failing != caught_up.is_err() {
                failing = !failing;
                self.log_turn(caught_up);
            }
            tokio::select! {
                () = self.store.changed(), if !failing => {}
                () = tokio::time::sleep(poll_interval) => {}
            }
        }
    }

    /// Says that following began to fail, or succeeds again.
    fn log_turn(&self, caught_up: Result<(), StoreError>) {
        let revision = self.applied.number();
        match caught_up {
            Ok(()) => tracing::info!(revision, "following the store again"),
            Err(error) => {
                tracing::warn!(
                    revision,
                    "cannot follow the store, and will try on: {error}"
                );
            }
        }
    }

    /// Applies all changes that the store has.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let changes = self.store.changes(self.applied, CHANGES_LIMIT).await?;
            let these_were_all = changes.len() < CHANGES_LIMIT;
            for (revision, state) in changes {
                self.keyring.apply(&state);
                self.applied = revision;
            }
            if these_were_all {
                return Ok(());
            }
        }
    }
}
