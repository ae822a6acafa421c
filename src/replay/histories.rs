//! The histories that the store and the lines tell of, and how each goes on from another.

use super::{
    event::Event,
    input::{Input, identity},
};
use crate::model::{
    audit_record::AdminMethod,
    history::{History, HistoryId},
    time::Timestamp,
};
use std::collections::{HashMap, HashSet};

/// A history. Lines of an earlier release name none: they are of the store's first, or else of one without a name.
pub(super) type HistoryKey = Option<HistoryId>;

/// Where a history begins, and what has begun it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Beginning {
    pub(super) parent: Option<HistoryId>,
    /// The last revision from that. None: no line tells it.
    pub(super) after: Option<i64>,
    pub(super) replayed_until: Option<Timestamp>,
}

/// What the store has of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// All that was written before this loss, and perhaps more since: it is the last history of the store.
    ToTheEnd,
    /// All up to this revision.
    UpTo(i64),
    /// Nothing of its own.
    Nothing,
}

/// All that are known.
#[derive(Debug)]
pub struct Histories {
    beginnings: HashMap<HistoryKey, Beginning>,
    /// Those of the store, in order.
    chain: Vec<History>,
    /// Those in which one revision is listed of two writes. In them, a higher revision is not always the later.
    pub(super) doubted: HashSet<HistoryKey>,
    /// The first such revision.
    listed_twice: Option<(HistoryKey, i64)>,
}

impl Histories {
    /// Those of the store, in order, and those of which the lines tell.
    #[must_use]
    pub fn new(chain: Vec<History>, input: &Input) -> Self {
        let mut beginnings = HashMap::<HistoryKey, Beginning>::new();
        for history in input.histories().chain(&chain) {
            let known = beginnings.entry(Some(history.id)).or_default();
            *known = Beginning {
                parent: history.parent,
                after: Some(history.after),
                replayed_until: history.replayed_until.or(known.replayed_until),
            };
        }
        let parents: Vec<_> = beginnings.values().filter_map(|it| it.parent).collect();
        for parent in parents {
            beginnings.entry(Some(parent)).or_default();
        }
        let mut histories = Self {
            beginnings,
            chain,
            doubted: HashSet::new(),
            listed_twice: None,
        };
        histories.add_events(input.events());
        histories
    }

    fn add_events(&mut self, events: &[Event]) {
        let mut writes = HashMap::<(HistoryKey, i64), &Event>::new();
        for event in events {
            let history = self.of_event(event);
            self.beginnings.entry(history).or_default();
            // The keys of a batch may have its revision, so they do not count.
            if event.writes == 0 || event.method == AdminMethod::BatchRevoke {
                continue;
            }
            let revision = event.original.revision;
            let first = *writes.entry((history, revision)).or_insert(event);
            // In an earlier release, a call that found its work done was listed with the revision of the write before.
            let is_named = first.history_id.is_some() && event.history_id.is_some();
            let is_same = if is_named {
                identity(first) == identity(event)
            } else {
                first.subject == event.subject
            };
            if !is_same {
                self.doubted.insert(history);
                self.listed_twice.get_or_insert((history, revision));
            }
        }
    }

    /// The history to which a write belongs.
    pub(super) fn of_event(&self, event: &Event) -> HistoryKey {
        event
            .history_id
            .or_else(|| self.chain.first().map(|it| it.id))
    }

    /// Where one begins.
    pub(super) fn beginning(&self, history: HistoryKey) -> Beginning {
        self.beginnings.get(&history).copied().unwrap_or_default()
    }

    /// Whether more than one is known.
    #[must_use]
    pub fn are_many(&self) -> bool {
        self.beginnings.len() > 1
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (HistoryKey, Beginning)> {
        self.beginnings
            .iter()
            .map(|(key, beginning)| (*key, *beginning))
    }

    /// What the store has of one.
    pub(super) fn kept(&self, history: HistoryKey) -> Kept {
        let place = self.chain.iter().position(|it| Some(it.id) == history);
        match place {
            Some(place) => match self.chain.get(place + 1) {
                Some(next) => Kept::UpTo(next.after),
                None => Kept::ToTheEnd,
            },
            // Of a store whose histories are not known, the one without a name is all there is.
            None if history.is_none() => Kept::ToTheEnd,
            None => Kept::Nothing,
        }
    }

    /// A revision that is listed of two writes of one history. Gaps in it may be hidden by that.
    pub(super) fn listed_twice(&self) -> Option<(HistoryKey, i64)> {
        self.listed_twice
    }

    /// The last revision of `ancestor` that `history` has, or is about to have if they are the same.
    pub(super) fn shared(&self, history: HistoryKey, ancestor: HistoryKey) -> Option<i64> {
        let (mut at, mut last) = (history, i64::MAX);
        // Lines may be made up so that they lead in a circle.
        for _ in 0..=self.beginnings.len() {
            if at == ancestor {
                return Some(last);
            }
            let beginning = self.beginnings.get(&at)?;
            last = last.min(beginning.after?);
            at = Some(beginning.parent?);
        }
        None
    }

    /// Whether a history is known not to go on from another.
    pub(super) fn is_apart(&self, history: HistoryKey, other: HistoryKey) -> bool {
        let mut at = history;
        for _ in 0..=self.beginnings.len() {
            let beginning = self.beginning(at);
            if at == other {
                return false;
            }
            match beginning.parent {
                Some(parent) => at = Some(parent),
                None => return at.is_none() || beginning.after.is_some(),
            }
        }
        false
    }

    /// How many histories came before one.
    pub(super) fn depth(&self, history: HistoryKey) -> usize {
        let mut at = history;
        let parents = (0..self.beginnings.len()).map_while(|_| {
            at = Some(self.beginnings.get(&at)?.parent?);
            Some(())
        });
        parents.count()
    }
}
