//! The status of a key at a time: active, suspended, revoked or expired.

use crate::model::time::Timestamp;

/// Whether a key works at a time, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// None of the others.
    Active,
    /// Revoked, whether or not it is suspended or has expired as well.
    Revoked,
    /// Expired and never revoked, whether or not it is suspended as well.
    Expired,
    /// Suspended, and neither revoked nor expired.
    Suspended,
}

impl Status {
    pub(crate) fn at(
        now: Timestamp,
        is_revoked: bool,
        is_suspended: bool,
        expire_time: Option<Timestamp>,
    ) -> Self {
        match expire_time {
            _ if is_revoked => Self::Revoked,
            Some(time) if time <= now => Self::Expired,
            _ if is_suspended => Self::Suspended,
            _ => Self::Active,
        }
    }
}
