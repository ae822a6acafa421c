//! Random faults, the clients that run meanwhile, and the checker of the answers that they got.

pub mod deployment;
pub mod domains;
pub mod fault;
pub mod history;
pub mod kept;
pub mod key_states;
pub mod keys;
pub mod load;
pub mod subjects;
pub mod tally;
