//! Kinds of time: a point on the wall clock, a point on a monotonic clock, the length of a lease, and what two looks
//! at the wall clock tell of it.

mod clock_look;
mod lease_term;
mod moment;
mod timestamp;

pub use clock_look::{ClockLook, TRUSTED_AFTER};
pub use lease_term::LeaseTerm;
pub use moment::Moment;
pub use timestamp::Timestamp;
