//! Three kinds of time: a point on the wall clock, a point on a monotonic clock, and the length of
//! a lease.

mod lease_term;
mod moment;
mod timestamp;

pub use lease_term::LeaseTerm;
pub use moment::Moment;
pub use timestamp::Timestamp;
