//! Shows the metrics of the process to Prometheus.
//!
//! Owns the page and its port. The values stand with those who count them.
//! Must never name a key, an account, a caller or anything that a caller sent.

mod exposition;
mod page;
mod process;
mod server;

pub(crate) use exposition::registry;
pub(crate) use server::{MAX_CONNECTIONS, serve};
