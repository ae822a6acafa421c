//! The log lines of admin calls that have no line of their own.
//!
//! Owns the counts of such calls until a line tells of them: one line for all that were alike.
//! Promises that each admin call of an authenticated caller is in the log, by itself or in a count,
//! unless the process dies before the line is written.

use super::Alike;
use crate::store::StoreIdentity;
use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The counts. Their number is bounded: the callers in the credentials file, times the methods, times
/// the outcomes.
pub(super) struct CountedLines {
    counts: Mutex<HashMap<Alike, u64>>,
    identity: StoreIdentity,
}

impl CountedLines {
    /// For calls about this store.
    pub(super) fn new(identity: StoreIdentity) -> Self {
        let counts = Mutex::default();
        Self { counts, identity }
    }

    pub(super) fn count(&self, alike: Alike) {
        let mut counts = self.lock();
        let calls = counts.entry(alike).or_default();
        *calls = calls.saturating_add(1);
    }

    /// Logs what was counted.
    pub(super) fn write(&self) {
        let counts = mem::take(&mut *self.lock());
        for (alike, calls) in counts {
            tracing::info!(
                store_id = %self.identity.store_id,
                caller = alike.caller.as_str(),
                method = alike.method.as_str(),
                outcome = alike.outcome.as_str(),
                calls,
                "admin calls that have no line of their own"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Alike, u64>> {
        // The counts are right at any time: nothing that is done under the lock can panic half way.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
