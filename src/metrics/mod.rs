//! Owns what is counted of this process for the people who run it, and how Prometheus reads it.
//! Promises that counting a call takes a few relaxed atomic additions: no lock, no allocation.
//! Must never name a key, an account, a caller or anything that a caller sent.

mod exposition;
mod page;
mod places;
mod process;
mod server;

use crate::{
    authorize::decision_counts::Decisions,
    observe::{call_counts::Calls, histogram::Histogram},
    store::observed::StoreErrors,
};
pub use exposition::Exposition;
pub use server::{MAX_CONNECTIONS, serve};

/// What is counted while calls run.
pub struct Counts {
    /// Every call.
    pub calls: Calls,
    /// What Authorize decided.
    pub decisions: Decisions,
    /// How long Creates waited for every replica, after their commit.
    pub create_waits: Histogram,
    /// The same of Revokes.
    pub revoke_waits: Histogram,
    /// The store's troubles.
    pub store_errors: StoreErrors,
}

impl Counts {
    /// All else at zero. They last as long as the process, so that a call that counts need not
    /// count who refers to them as well.
    #[must_use]
    pub fn of_process(calls: Calls) -> &'static Self {
        Box::leak(Box::new(Self {
            calls,
            decisions: Decisions::default(),
            create_waits: Histogram::default(),
            revoke_waits: Histogram::default(),
            store_errors: StoreErrors::default(),
        }))
    }
}
