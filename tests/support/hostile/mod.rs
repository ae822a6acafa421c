//! Clients that do not behave.

pub mod crowd;
pub mod flood;
pub mod frames;
pub mod random_tokens;
pub mod strangers;
pub mod wire;
