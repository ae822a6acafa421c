//! On whose behalf a request changes something.

use crate::{callers::Caller, model::time::Timestamp, store::StillAllowed};

/// The caller of a write, as its call knows it. Every function that reads such a request takes one, so that no
/// write can be built without asking whether its caller still has its rights.
pub struct Writer<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// Whether the caller still has its rights, for a write that may wait for others.
    pub still_allowed: StillAllowed,
    /// When the handler took the call up.
    pub now: Timestamp,
}
