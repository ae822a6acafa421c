//! Faults at random, clients beside them, and the checker of what the clients were told.

pub mod deployment;
pub mod fault;
pub mod history;
pub mod keys;
pub mod load;
pub mod tally;
