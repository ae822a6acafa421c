//! Clients that follow the protocol.

pub mod balanced_load;
pub mod callers;
pub mod driver;
pub mod health;
pub mod questions;
pub mod reflected;
pub mod session;
pub mod well_behaved;
