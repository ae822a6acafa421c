//! Hints that the store may hold writes that this process did not make.
//!
//! Promises that a hint at a write that is not known yet ends a wait at once. Nothing may rely on
//! hints: they can be lost, and anybody who may connect to a shared database can send false ones.

use super::Revision;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

/// Passes hints from whoever receives them to the one task that follows the store.
#[derive(Debug, Default)]
pub struct Hints {
    /// The highest revision that was hinted at since the last wait looked. Zero for none.
    hinted: AtomicI64,
    given: Notify,
}

impl Hints {
    /// Hints that the store has a write of this revision.
    pub fn give(&self, revision: Revision) {
        self.hinted.fetch_max(revision.number(), Ordering::AcqRel);
        self.given.notify_one();
    }

    /// Hints that there may be writes, of whatever revision.
    pub fn give_unspecific(&self) {
        self.give(Revision::from_number(i64::MAX));
    }

    /// Returns when there was a hint at a write after `known`. May be dropped at any time.
    ///
    /// Each hint is looked at once, so a false one does not make later ones count.
    pub async fn wait_for_write_after(&self, known: Revision) {
        loop {
            self.given.notified().await;
            let hinted = self.hinted.swap(0, Ordering::AcqRel);
            if hinted > known.number() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn is_news(hints: &Hints, known: i64) -> bool {
        let wait = hints.wait_for_write_after(Revision::from_number(known));
        timeout(Duration::from_millis(20), wait).await.is_ok()
    }

    #[tokio::test]
    async fn a_hint_counts_once_and_only_for_a_write_that_is_not_known() {
        let hints = Hints::default();
        assert!(!is_news(&hints, 0).await);
        hints.give(Revision::from_number(5));
        assert!(is_news(&hints, 4).await);
        assert!(!is_news(&hints, 4).await);
        for known in [5, 6] {
            hints.give(Revision::from_number(5));
            assert!(!is_news(&hints, known).await);
        }
        hints.give_unspecific();
        hints.give(Revision::from_number(1));
        assert!(is_news(&hints, 6).await);
        hints.give(Revision::from_number(6));
        assert!(!is_news(&hints, 6).await, "an earlier hint has no effect");
    }
}
