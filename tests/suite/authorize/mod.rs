//! The decision of Authorize.

mod allocations;
