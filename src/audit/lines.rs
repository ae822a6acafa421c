//! The log lines of admin calls that have no line of their own.
//!
//! Owns the counts of such calls until a line tells of them: one line for all that were alike.
//! Promises that each admin call of an authenticated caller is in the log, by itself or in a count,
//! unless the process dies before the line is written.

use super::Alike;
use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The counts. Their number is bounded: the callers in the credentials file, times the methods, times
/// the outcomes.
#[derive(Default)]
pub(super) struct CountedLines(Mutex<HashMap<Alike, u64>>);

impl CountedLines {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
