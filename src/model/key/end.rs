//! When a key stops working, as a change of it has left it.

use super::Key;
use crate::model::time::Timestamp;
use std::fmt;

/// When a key stops working: by its expiry, or since it was revoked, whichever came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEnd {
    /// The key was not revoked, and does not expire.
    Never,
    /// At this time.
    At(Timestamp),
}

impl KeyEnd {
    /// That of a key as it is.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        let ends = key.expire_time.into_iter().chain(key.revoke_time);
        ends.min().map_or(Self::Never, Self::At)
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            time => Timestamp::parse_rfc3339(time).map(Self::At),
        }
    }
}

impl fmt::Display for KeyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::At(time) => time.fmt(f),
        }
    }
}
