//! The decision that every Authorize takes.

mod allocations;
