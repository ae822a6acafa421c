//! Owns how often the store was in trouble, by what it was asked to do.
//! Promises that every operation shows from the start, so that a rate has a first value.
//! Must never hold what a store's driver said.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a store is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are `KeyStore`'s methods, which say more")]
pub enum Operation {
    Create,
    Revoke,
    Audit,
    List,
    Load,
    Follow,
    Renew,
    Replicas,
    Forget,
    Leave,
}

impl Operation {
    const ALL: [Self; 10] = [
        Self::Create,
        Self::Revoke,
        Self::Audit,
        Self::List,
        Self::Load,
        Self::Follow,
        Self::Renew,
        Self::Replicas,
        Self::Forget,
        Self::Leave,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Revoke => "revoke",
            Self::Audit => "audit",
            Self::List => "list",
            Self::Load => "load",
            Self::Follow => "follow",
            Self::Renew => "renew",
            Self::Replicas => "replicas",
            Self::Forget => "forget",
            Self::Leave => "leave",
        }
    }
}

/// The store's troubles by operation.
#[derive(Default)]
pub struct StoreErrors([AtomicU64; Operation::ALL.len()]);

impl StoreErrors {
    /// Counts one.
    pub fn count(&self, operation: Operation) {
        self.0[operation as usize].fetch_add(1, Relaxed);
    }

    /// Each operation, and how often it met trouble.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |operation: Operation| self.0[operation as usize].load(Relaxed);
        let all = Operation::ALL.into_iter();
        all.map(move |operation| (operation.name(), count(operation)))
    }
}
