//! The status of a key at a time: active, revoked or expired.

use crate::model::time::Timestamp;

/// Whether a key works at a time, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Neither revoked nor expired.
    Active,
    /// Revoked, whether or not it has expired as well.
    Revoked,
    /// Expired, and never revoked.
    Expired,
}

impl Status {
    pub(crate) fn at(now: Timestamp, is_revoked: bool, expire_time: Option<Timestamp>) -> Self {
        match expire_time {
            _ if is_revoked => Self::Revoked,
            Some(time) if time <= now => Self::Expired,
            _ => Self::Active,
        }
    }
}
