//! Keeps this replica's memory level with the store, and lets a write return when every replica has it.

pub mod acknowledgement;
pub mod follower;
