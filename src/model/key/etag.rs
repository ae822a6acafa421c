//! The etag of a key: a text that stands for one state of its record.
//!
//! Must never tell more than whether two states are the same: a count of all writes of the service would
//! tell one account how busy the others are.

use super::KeyId;
use std::fmt;

/// Counts the changes of a record, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(i32);

impl Version {
    /// No record has it, nor has the one before it.
    pub const NONE: Self = Self(0);

    /// That of a new record.
    pub const FIRST: Self = Self(1);

    /// Takes back a version that a store has kept.
    #[must_use]
    pub fn from_stored(number: i32) -> Self {
        Self(number)
    }

    /// The form in which the stores keep it.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// The version after one more change. Two thousand million changes of one key would begin anew.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(1))
    }
}

/// Stands for one state of a key's record: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(String);

impl Etag {
    pub(super) fn of(key: KeyId, version: Version) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(key.as_uuid().as_bytes());
        hasher.update(&version.number().to_le_bytes());
        Self(hasher.finalize().to_hex()[..16].to_owned())
    }

    /// Whether a caller's text is this etag.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
