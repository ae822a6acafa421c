//! Times: the wall clock's, a monotonic clock's, and the length of a lease.

mod lease_term;
mod moment;
mod timestamp;

pub use lease_term::LeaseTerm;
pub use moment::Moment;
pub use timestamp::Timestamp;
