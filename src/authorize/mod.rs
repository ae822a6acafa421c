//! Decides whether a token may be used for a domain, from memory.
//!
//! Owns the keyring (every key in memory), the lease that says until when the keyring is current,
//! and the decision made from both. [`Authorizer`] puts them together.

mod authorizer;
pub mod decision;
mod decision_counts;
pub(crate) mod keyring;
pub(crate) mod lease;

pub use authorizer::Authorizer;
pub use keyring::Filling;
