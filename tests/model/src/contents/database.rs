//! Owns what PostgreSQL keeps: the writes in the order of their commits.
//! Promises to give what a real read gives, the last state of each thing and not its earlier ones.
//! Must never decide what a replica does with an answer.

use super::things::{Condition, Contents, THINGS};

/// A write's place in the order of commits, from 1. Revision 0 is an empty database.
pub type Revision = usize;

/// More writes than a run has: those of callers, and those that the replica writes again.
const CAPACITY: usize = 8;

/// Before or after the loss. With the revision it identifies a write, as the random `write_id` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum History {
    BeforeLoss,
    AfterLoss,
}

/// Who has asked for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Author {
    Caller,
    /// A replica, which writes again what was lost.
    Replica,
}

/// One committed write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) thing: usize,
    /// The thing's state from then on.
    pub(crate) condition: Condition,
    pub(crate) history: History,
    pub(crate) author: Author,
    /// The last write that had returned when this one was committed.
    pub(crate) returned_before: Revision,
}

impl Write {
    pub(crate) fn is_a_callers_since_the_loss(&self) -> bool {
        (self.author, self.history) == (Author::Caller, History::AfterLoss)
    }
}

/// A revision and the identity of its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) revision: Revision,
    pub(crate) history: History,
}

impl Position {
    /// Before every write, in every history.
    pub(crate) const START: Self = Self {
        revision: 0,
        history: History::BeforeLoss,
    };
}

/// The whole state of one thing, and the write that made it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Change {
    pub(crate) position: Position,
    pub(crate) thing: usize,
    pub(crate) condition: Condition,
}

/// Some changes, in the order in which they are applied. Vacant places come last.
pub(crate) type Changes = [Option<Change>; THINGS];

/// What PostgreSQL keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    /// What it held before the first write.
    pub(crate) start: Contents,
    writes: [Option<Write>; CAPACITY],
    pub(crate) history: History,
    /// The history starts after this write, by which the key was revoked that has no row any more.
    pub(crate) history_start: Option<Revision>,
}

impl Database {
    pub(crate) fn new(start: Contents) -> Self {
        Self {
            start,
            writes: [None; CAPACITY],
            history: History::BeforeLoss,
            history_start: None,
        }
    }

    /// Every write with its revision.
    pub(crate) fn writes(&self) -> impl DoubleEndedIterator<Item = (Revision, Write)> + Clone {
        let places = self.writes.iter().enumerate();
        places.filter_map(|(place, write)| Some((place + 1, (*write)?)))
    }

    /// The last committed write.
    pub(crate) fn revision(&self) -> Revision {
        let last = self.writes().next_back();
        last.map_or(0, |(revision, _)| revision)
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.writes.contains(&None)
    }

    pub(crate) fn commit(&mut self, write: Write) {
        let place = self.writes.iter_mut().find(|place| place.is_none());
        *place.expect("a write is taken only where there is room") = Some(write);
    }

    /// A standby that has missed the last writes takes over.
    pub(crate) fn lose_after(&mut self, revision: Revision) {
        self.writes[revision..].fill(None);
        self.history = History::AfterLoss;
    }

    /// The last write to a thing among those up to a revision.
    pub(crate) fn last_write_to(&self, thing: usize, until: Revision) -> Option<(Revision, Write)> {
        let mut writes = self.writes().rev();
        writes.find(|(revision, write)| *revision <= until && write.thing == thing)
    }

    /// The truth at a revision.
    pub(crate) fn contents_at(&self, revision: Revision) -> Contents {
        std::array::from_fn(|thing| {
            let last = self.last_write_to(thing, revision);
            last.map_or(self.start[thing], |(_, write)| write.condition)
        })
    }

    /// The truth now.
    pub(crate) fn contents(&self) -> Contents {
        self.contents_at(self.revision())
    }

    /// The contents of the rows, as a load finds them.
    pub(crate) fn rows(&self) -> Contents {
        let [first, second] = self.contents();
        match self.history_start {
            Some(_) => [Condition::ABSENT, second],
            None => [first, second],
        }
    }

    /// The write that has revoked the key, if the key still has its row.
    pub(crate) fn revocation(&self) -> Option<Revision> {
        let last = self.last_write_to(0, self.revision());
        let revoked = last.filter(|(_, write)| write.condition == Condition::REVOKED);
        revoked
            .map(|(revision, _)| revision)
            .filter(|_| self.history_start.is_none())
    }

    /// Whether a thing has a row. A row stays when its thing is removed.
    pub(crate) fn has_row(&self, thing: usize) -> bool {
        (thing != 0 || self.history_start.is_none()) && self.had_row(thing)
    }

    fn had_row(&self, thing: usize) -> bool {
        self.start[thing] != Condition::ABSENT
            || self.last_write_to(thing, self.revision()).is_some()
    }

    pub(crate) fn position(&self) -> Position {
        let last = self.writes().next_back();
        last.map_or(Position::START, |(revision, write)| Position {
            revision,
            history: write.history,
        })
    }

    /// Whether a position's write is one of this history's.
    pub(crate) fn holds(&self, position: Position) -> bool {
        position.revision == 0
            || self
                .writes()
                .any(|(revision, Write { history, .. })| position == Position { revision, history })
    }

    /// The last state of each thing that has changed since a revision, the earliest change first.
    pub(crate) fn changes_since(&self, since: Revision, limit: usize) -> Changes {
        let is_last = |(revision, write): &(Revision, Write)| {
            let last = self.last_write_to(write.thing, self.revision());
            last.is_some_and(|(last, _)| last == *revision)
        };
        let recent = self
            .writes()
            .filter(|(revision, write)| *revision > since && self.has_row(write.thing));
        let mut changes = [None; THINGS];
        for (place, (revision, write)) in changes.iter_mut().zip(recent.filter(is_last)).take(limit)
        {
            *place = Some(Change {
                position: Position {
                    revision,
                    history: write.history,
                },
                thing: write.thing,
                condition: write.condition,
            });
        }
        changes
    }
}
