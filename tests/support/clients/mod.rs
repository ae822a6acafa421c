//! Clients that behave.

pub mod balanced_load;
pub mod bystander;
pub mod callers;
pub mod health;
pub mod session;
