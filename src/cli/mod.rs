//! The commands of the `keyservice` binary.

pub mod audit;
