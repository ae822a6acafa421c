//! Counts the warnings of the server.
//!
//! It warns where it ends a commit's wait for the synchronous standbys, because somebody has asked for that, and
//! answers the commit as if they had it. Its words depend on its language, so every warning counts as this one.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

/// The count, which all connections to one store share.
#[derive(Clone, Default)]
pub(super) struct Warnings(Arc<AtomicU64>);

impl Warnings {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    pub(super) fn so_far(&self) -> u64 {
        self.0.load(SeqCst)
    }
}
