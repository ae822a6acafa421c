//! A write's place in the store's history, and the proof that a write is in it.
//!
//! Owns [`Revision`], [`Position`] and [`Committed`]. Promises that whoever holds a [`Committed`]
//! got it from a store, which holds the write and the call's audit record durably. Nothing outside
//! `store/` may make one.

use uuid::Uuid;

/// A write's place in the one order of all writes, counted from 1. Revision 0 comes before every
/// write.
///
/// Revisions are given in commit order: whoever has seen revision R and asks for what came since
/// misses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

impl Revision {
    /// Before every write.
    pub const ZERO: Self = Self(0);

    /// The revision with the number that a store keeps.
    #[must_use]
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// The number that a store keeps.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }
}

/// A point in a store's history: a revision, and the random id of the write that took it.
///
/// A store that was restored from a backup may give a revision out a second time, but not the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The revision of the last write before this point.
    pub revision: Revision,
    /// The id of that write.
    pub write_id: WriteId,
}

impl Position {
    /// Before every write, in every history.
    pub const START: Self = Self {
        revision: Revision::ZERO,
        write_id: WriteId(Uuid::nil()),
    };
}

/// How far a reader of the changes has got.
///
/// A page of changes leaves out what a later write has changed again. So a page counts only for as long
/// as the store has the last write that it had then: without that write, what was left out would come
/// back behind the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The reader has everything up to this revision, unless it was changed again after that.
    pub read_to: Revision,
    /// The store's last write when the reader read.
    pub head: Position,
}

impl Progress {
    /// Of a reader that has everything up to a position, and has read nothing since.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self {
            read_to: position.revision,
            head: position,
        }
    }
}

/// Identifies one write among the writes of all histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteId(Uuid);

impl WriteId {
    /// The id that a store keeps as this UUID.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID that a store keeps.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

/// The answer to a call that the store has put on record, durably, in the transaction in which it
/// carried the call out.
///
/// The call needs no other audit record. It may be answered once every replica has applied the
/// write at [`Committed::position`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the call is on record, and may be answered only once every replica has applied it"]
pub struct Committed<T> {
    value: T,
    position: Position,
    is_earlier: bool,
}

impl<T> Committed<T> {
    /// For a store whose transaction, audit record included, is committed or is about to be: if
    /// the commit fails, this must not leave the store.
    pub(in crate::store) fn new(value: T, position: Position) -> Self {
        Self {
            value,
            position,
            is_earlier: false,
        }
    }

    /// The same, of a call that found its work done by an earlier write, if this is so.
    pub(in crate::store) fn by_earlier_write(self, is_earlier: bool) -> Self {
        Self { is_earlier, ..self }
    }

    /// Whether the call found its work done, and the position is that of an earlier write.
    pub fn is_by_earlier_write(&self) -> bool {
        self.is_earlier
    }

    /// What the call has led to.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The write that made things as the answer says. It may be an earlier call's: a key that is
    /// revoked again was revoked by the first Revoke.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The same, of another value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Committed<U> {
        Committed {
            value: map(self.value),
            position: self.position,
            is_earlier: self.is_earlier,
        }
    }

    /// The value and the position.
    pub fn into_parts(self) -> (T, Position) {
        (self.value, self.position)
    }
}
