//! The client libraries against real replicas. `clients/README.md` says what they promise, and
//! `clients/DRIVER.md` how they are run.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod credentials;
mod faults;
mod repeated;

/// The test of faults has the machine for itself, since its calls have 200 ms each. The others share it.
static MACHINE: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
