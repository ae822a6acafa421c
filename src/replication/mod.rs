//! Keeps this replica's memory current, and lets a write return when every replica has applied it.

pub mod acknowledgement;
mod believed_domain;
pub mod follower;
pub mod loading;
mod lost_history;
mod own_writes;
pub mod retention;
mod trouble;
pub mod uses;
mod vouching;
