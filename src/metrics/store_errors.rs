//! Owns how often the store was in trouble, by what it was asked to do.
//! Promises that every operation shows from the start, so that a rate has a first value.
//! Must never hold what a store's driver said.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What stores are asked to do.
const OPERATIONS: [&str; 10] = [
    "create", "revoke", "audit", "list", "load", "follow", "renew", "replicas", "forget", "leave",
];

/// The store's troubles by operation.
#[derive(Default)]
pub struct StoreErrors([AtomicU64; OPERATIONS.len()]);

impl StoreErrors {
    /// Counts one.
    ///
    /// # Panics
    /// With an operation that no store is asked for.
    pub fn count(&self, operation: &'static str) {
        let place = OPERATIONS.iter().position(|known| *known == operation);
        let place = place.expect("every operation has its place");
        self.0[place].fetch_add(1, Relaxed);
    }

    /// Each operation, and how often it met trouble.
    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Relaxed));
        OPERATIONS.into_iter().zip(counts)
    }
}
