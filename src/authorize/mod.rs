//! Decides whether a token may be used for a domain, from memory.

pub mod decision;
pub mod decision_counts;
pub mod keyring;
pub mod lease;
