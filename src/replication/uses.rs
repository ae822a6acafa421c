//! The task that brings the uses of keys, which memory has noted, to the store.
//!
//! Promises that a use is in the store within two minutes, if it is the key's first one or comes after an
//! hour without one, and within an hour otherwise. What cannot be stored stays in memory, and is tried
//! again.
//! Must never hold up a call: neither an Authorize, which only notes the use, nor a write.

use crate::{
    authorize::keyring::{KeyNumber, KeyUse, Keyring},
    model::time::Timestamp,
    observe::repeated_line::RepeatedLine,
    store::{NotedUse, StoreError, UseLog},
};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval_at};

/// How often uses are stored.
const PERIOD: Duration = Duration::from_secs(60);

/// How many uses are stored at a time. It takes some milliseconds, so that calls come in between.
const BATCH_LEN: usize = 500;

/// How many uses the store was told.
#[derive(Debug, Default)]
pub struct UseCounts(AtomicU64);

impl UseCounts {
    pub(crate) fn stored(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Brings uses from memory to the store.
pub struct UseRecorder<'a> {
    /// Where they are noted.
    pub keyring: &'a Keyring,
    /// Where they are stored.
    pub store: &'a dyn UseLog,
    /// Counts them.
    pub counts: &'a UseCounts,
}

impl UseRecorder<'_> {
    /// Stores uses forever.
    pub async fn run(&self) {
        static FAILED: RepeatedLine = RepeatedLine::new();
        let mut ticks = interval_at(tokio::time::Instant::now() + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.store_due(Timestamp::now()).await
                && let Some(left_out) = FAILED.admit(Instant::now())
            {
                tracing::warn!(
                    left_out,
                    "cannot store when keys were last used, and will try again: {error}"
                );
            }
        }
    }

    /// Stores the uses that are due at a time.
    pub async fn store_due(&self, now: Timestamp) -> Result<(), StoreError> {
        self.store_each(|from| self.keyring.due_uses(now, from, BATCH_LEN))
            .await
    }

    /// Stores every use that the store does not know, before the process ends. May be given up at any time.
    pub async fn store_all(&self) -> Result<(), StoreError> {
        self.store_each(|from| self.keyring.unstored_uses(from, BATCH_LEN))
            .await
    }

    async fn store_each(
        &self,
        find: impl Fn(KeyNumber) -> (Vec<KeyUse>, Option<KeyNumber>),
    ) -> Result<(), StoreError> {
        let mut next = Some(KeyNumber::FIRST);
        while let Some(from) = next {
            let (uses, after) = find(from);
            self.store_batch(&uses).await?;
            next = after;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn store_batch(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let noted = |used: &KeyUse| NotedUse {
            key_id: used.key_id(),
            time: used.time(),
            unless_since: used.unless_since(),
        };
        let noted: Vec<_> = uses.iter().map(noted).collect();
        let stored = self.store.record_uses(&noted).await?;
        let stored: HashMap<_, _> = stored.into_iter().collect();
        for used in uses {
            if let Some(&time) = stored.get(&used.key_id()) {
                self.keyring.set_stored(used, time);
            }
        }
        self.counts.0.fetch_add(stored.len() as u64, Relaxed);
        Ok(())
    }
}
