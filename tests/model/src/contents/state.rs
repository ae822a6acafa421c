//! Owns the parts of a state of the model: the database, the replica, and the call of Authorize.
//! Promises that a state is complete; nothing is stored elsewhere.
//! Must never decide what happens next.

use super::{
    database::{Changes, Database, History, Position, Revision},
    promise::Outcome,
    things::{Condition, Contents, Standing, THINGS},
};

/// The answer to a read of changes, which is in flight or is being applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Page {
    /// Those that are not yet applied.
    pub(crate) changes: Changes,
    /// Whether these were all changes.
    pub(crate) is_last: bool,
    /// Whether a thing has changed more often than the page says.
    pub(crate) skips: bool,
    /// The last write when it was read.
    pub(crate) read_at: Position,
    /// The lease that it grants, if it answers a renewal.
    pub(crate) grants: Option<History>,
}

/// A load that is to replace the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fresh {
    pub(crate) keyring: Contents,
    pub(crate) position: Position,
    /// The things of which a denial was lost that is not yet written again.
    pub(crate) to_restore: [bool; THINGS],
}

/// What a replica has begun and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unfinished {
    /// A change can be seen that is not yet counted.
    Uncounted,
    /// Only in a trap: one part of the next change can be seen.
    HalfWritten,
    /// Only in a trap: it has loaded, and does not know what revision.
    RevisionUnknown,
}

/// What a replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) keyring: Contents,
    /// What it must do next.
    pub(crate) unfinished: Option<Unfinished>,
    /// The keyring has all writes up to this one.
    pub(crate) applied: Revision,
    /// The last change in the keyring.
    pub(crate) reached: Position,
    /// The last write that any read may have known of.
    pub(crate) read_at: Position,
    /// Whether the keyring may lack a change that was skipped, and have later ones.
    pub(crate) is_skipping: bool,
    pub(crate) page: Option<Page>,
    /// When its lease was granted, before or after the loss.
    pub(crate) lease: Option<History>,
    pub(crate) fresh: Option<Fresh>,
    /// What it held when it found that writes are lost.
    pub(crate) held: Option<Contents>,
    /// Only in a trap: the things that it holds as removed.
    pub(crate) is_removed: [bool; THINGS],
    /// Only in a trap: an answer that was read earlier than the one that is being applied.
    pub(crate) older_page: Option<Page>,
}

impl Replica {
    /// What it holds after a load.
    pub(crate) fn loaded(keyring: Contents, position: Position) -> Self {
        Self {
            keyring,
            unfinished: None,
            applied: position.revision,
            reached: position,
            read_at: position,
            is_skipping: false,
            page: None,
            lease: None,
            fresh: None,
            held: None,
            is_removed: [false; THINGS],
            older_page: None,
        }
    }
}

/// The parts of a thing that a call has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Seen {
    pub(crate) standing: Option<Standing>,
    pub(crate) is_wide: Option<bool>,
}

/// One part of a thing's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Whether anything is granted.
    Standing,
    /// How much.
    Width,
}

impl Seen {
    pub(crate) fn has(self, part: Part) -> bool {
        match part {
            Part::Standing => self.standing.is_some(),
            Part::Width => self.is_wide.is_some(),
        }
    }

    pub(crate) fn see(&mut self, part: Part, condition: Condition) {
        match part {
            Part::Standing => self.standing = Some(condition.standing),
            Part::Width => self.is_wide = Some(condition.is_wide),
        }
    }
}

/// The record of the key that a call has found. There are two: one that holds the key's state, and a spare
/// one for its next state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) condition: Condition,
    /// Whether it is not the spare one now.
    pub(crate) is_current: bool,
}

/// One Authorize call that has found a lease. One is enough, since calls do not affect each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    /// When that lease was granted.
    pub(crate) lease: History,
    /// The last write that had returned when the call began.
    pub(crate) returned: Revision,
    /// Where it has found the key, if there is one among the things.
    pub(crate) record: Option<Record>,
    /// What it has seen, by thing.
    pub(crate) seen: [Seen; THINGS],
    /// Whether a change was counted since it began to look.
    pub(crate) has_counted: bool,
    /// The keyring in which it looks, if another has taken its place since.
    pub(crate) replaced: Option<Contents>,
    /// Whether it has looked while the keyring might lack a change that was skipped.
    pub(crate) met_skipping: bool,
}

impl Call {
    pub(crate) fn new(lease: History, returned: Revision) -> Self {
        Self {
            lease,
            returned,
            record: None,
            seen: [Seen::default(); THINGS],
            has_counted: false,
            replaced: None,
            met_skipping: false,
        }
    }

    /// Everything that it needs, once it has seen it.
    pub(crate) fn contents(&self) -> Option<Contents> {
        let mut contents = [Condition::ABSENT; THINGS];
        for (condition, seen) in contents.iter_mut().zip(self.seen) {
            *condition = Condition::of(seen.standing?, seen.is_wide?);
        }
        Some(contents)
    }

    /// Whether it has begun to look, and so has a keyring.
    pub(crate) fn has_looked(&self) -> bool {
        self.record.is_some() || self.seen != [Seen::default(); THINGS]
    }
}

/// A state of the whole system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) database: Database,
    /// How many writes callers have committed, the lost ones included.
    pub(crate) commits: usize,
    /// The last write that has returned. Earlier ones may have returned too.
    pub(crate) returned: Revision,
    /// The replica, once it has joined.
    pub(crate) replica: Option<Replica>,
    pub(crate) call: Option<Call>,
    /// Whether another replica has written again what it denied.
    pub(crate) has_other_narrowed: bool,
    /// What the run has led to. Then it has ended, and everything else is forgotten.
    pub(crate) outcome: Option<Outcome>,
}

impl State {
    pub(crate) fn new(start: Contents) -> Self {
        Self {
            database: Database::new(start),
            commits: 0,
            returned: 0,
            replica: None,
            call: None,
            has_other_narrowed: false,
            outcome: None,
        }
    }

    pub(crate) fn end(&mut self, outcome: Outcome) {
        *self = Self {
            outcome: Some(outcome),
            ..Self::new([Condition::ABSENT; THINGS])
        };
    }
}
