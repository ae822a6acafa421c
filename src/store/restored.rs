//! A store that somebody has restored from a backup or copied, and that is not accepted yet.
//!
//! Such a store may lack revocations, and its rows cannot tell. So a replica that remembers nothing itself must not
//! serve it before somebody has accepted that.

use crate::model::{counted::counted, time::Timestamp};
use std::fmt;
use uuid::Uuid;

/// What an opening does with such a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenRestored {
    /// It fails.
    Refuse,
    /// It opens the store, which is still not accepted afterwards.
    Open,
}

/// What can be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredStore {
    /// Its address, without a password.
    pub store: String,
    /// What tells it from every other one: a restored store has the id of the one that the backup is of.
    pub store_id: Option<Uuid>,
    /// How many keys it has, whatever their state, where they were counted.
    pub keys: Option<u64>,
    /// When its last write was that no replay has made. Those that came after that may be missing. None if it has none.
    pub last_write: Option<Timestamp>,
    /// If a replay has written to it since: when the last of the lost writes was that it knew.
    pub replayed_until: Option<Timestamp>,
}

impl RestoredStore {
    /// What a replay has done about it, for the end of a sentence.
    #[must_use]
    pub fn replayed(&self) -> String {
        self.replayed_until.map_or(String::new(), |time| {
            format!(" (a replay has written again what took rights away, by lines up to {time})")
        })
    }
}

impl fmt::Display for RestoredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            store, last_write, ..
        } = self;
        write!(f, "{store} was restored from a backup, or copied")?;
        if let Some(id) = self.store_id {
            write!(f, ", of the store {id}")?;
        }
        if let Some(keys) = self.keys {
            write!(f, " with {}", counted(keys, "key"))?;
        }
        f.write_str(": ")?;
        match last_write {
            Some(time) => write!(f, "writes after {time} may be missing")?,
            None => f.write_str("any write may be missing")?,
        }
        f.write_str(", including revocations")?;
        f.write_str(&self.replayed())
    }
}
