//! Owns what is counted of this process for the people who run it, and how Prometheus reads it.
//! Promises that counting a call takes a few relaxed atomic additions: no lock, no allocation.
//! Must never name a key, an account, a caller or anything that a caller sent.

mod exposition;
mod page;
mod process;
mod server;

pub(crate) use exposition::registry;
pub(crate) use server::{MAX_CONNECTIONS, serve};
