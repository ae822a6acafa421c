//! Clients that break the protocol or take more than their share.

pub mod flood;
pub mod frames;
pub mod metrics_connections;
pub mod persistent;
pub mod random_tokens;
pub mod unfinished;
pub mod wire;
