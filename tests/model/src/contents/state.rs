//! Owns the parts of a state of the model: the database, the replica, and the call of Authorize.
//! Promises that a state is complete; nothing is stored elsewhere.
//! Must never decide what happens next.

use super::{
    database::{Changes, Database, History, Position, Revision},
    promise::Outcome,
};

/// How many domains the account may have. The first may be verified with its subdomains.
pub(crate) const DOMAINS: usize = 2;

/// What is verified by a domain, in two parts, of which a careless reader may see only one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coverage {
    pub(crate) name: bool,
    pub(crate) subdomains: bool,
}

impl Coverage {
    pub(crate) const REMOVED: Self = Self::of(false, false);
    pub(crate) const NAME: Self = Self::of(true, false);
    pub(crate) const NAME_AND_SUBDOMAINS: Self = Self::of(true, true);

    const fn of(name: bool, subdomains: bool) -> Self {
        Self { name, subdomains }
    }

    /// What both cover.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::of(self.name && other.name, self.subdomains && other.subdomains)
    }

    /// Whether the other one covers all that this one covers.
    pub(crate) fn is_within(self, other: Self) -> bool {
        self.and(other) == self
    }
}

/// What is verified, by domain.
pub(crate) type Contents = [Coverage; DOMAINS];

/// The answer to a read of changes, which is in flight or is being applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Page {
    /// Those that are not yet applied.
    pub(crate) changes: Changes,
    /// Whether these were all changes.
    pub(crate) is_last: bool,
    /// Whether a domain has changed more often than the page says.
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
    /// The domains of which a denial was lost that is not yet written again.
    pub(crate) to_restore: [bool; DOMAINS],
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
    /// Only in a trap: the domains that it holds as removed.
    pub(crate) is_removed: [bool; DOMAINS],
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
            is_removed: [false; DOMAINS],
        }
    }
}

/// The parts of a domain that a call has seen.
pub(crate) type Seen = [Option<bool>; 2];

/// One Authorize call that has found a lease. One is enough, since calls do not affect each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    /// When that lease was granted.
    pub(crate) lease: History,
    /// The last write that had returned when the call began.
    pub(crate) returned: Revision,
    /// What it has seen, by domain.
    pub(crate) seen: [Seen; DOMAINS],
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
            seen: [[None; 2]; DOMAINS],
            has_counted: false,
            replaced: None,
            met_skipping: false,
        }
    }

    /// Everything that it needs, once it has seen it.
    pub(crate) fn contents(&self) -> Option<Contents> {
        let mut contents = [Coverage::REMOVED; DOMAINS];
        for (coverage, [name, subdomains]) in contents.iter_mut().zip(self.seen) {
            *coverage = Coverage::of(name?, subdomains?);
        }
        Some(contents)
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
    pub(crate) fn new() -> Self {
        Self {
            database: Database::new(),
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
            ..Self::new()
        };
    }
}
