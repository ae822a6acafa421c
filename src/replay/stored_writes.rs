//! Which of the writes the store has, by its own audit records, and which an earlier replay has made again.

use super::{
    action::Action,
    event::{Event, Kind, Original, Subject},
    input::{Identity, Input},
};
use crate::model::{
    audit_record::{AdminMethod, AuditRecord},
    time::Timestamp,
};
use std::collections::{HashMap, HashSet};

/// What a store says about the writes of an input.
#[derive(Debug)]
pub struct StoredWrites<'a> {
    input: &'a Input,
    /// Whether the store has each of them.
    is_stored: Vec<bool>,
    originals: HashSet<(i64, Timestamp)>,
    /// The store's last write from before the input begins.
    last_earlier: Option<Original>,
    /// The revisions of the input in order. Beside each, the last write that the store has before it.
    before: Vec<(i64, Option<Original>)>,
    /// The places of the events of each revision and thing.
    by_revision: HashMap<(i64, &'a Subject), Vec<usize>>,
    /// Which writes of each kind were made again for a thing, by the times of the originals.
    replayed: HashMap<(Subject, AdminMethod), HashSet<Timestamp>>,
}

impl<'a> StoredWrites<'a> {
    /// Before any record was read. The store's last write before [`Input::since`] tells where a gap may begin: without
    /// it, all before the input may be lost.
    #[must_use]
    pub fn new(input: &'a Input, last_earlier: Option<Original>) -> Self {
        let originals = input.events().iter().map(|event| event.original);
        let mut before: Vec<_> = originals.clone().map(|it| (it.revision, None)).collect();
        before.sort_unstable_by_key(|(revision, _)| *revision);
        before.dedup_by_key(|(revision, _)| *revision);
        let mut by_revision = HashMap::<_, Vec<_>>::new();
        for (place, event) in input.events().iter().enumerate() {
            if let Some(subject) = &event.subject {
                let same = by_revision.entry((event.original.revision, subject));
                same.or_default().push(place);
            }
        }
        Self {
            input,
            is_stored: vec![false; input.events().len()],
            originals: originals.map(|it| (it.revision, it.time)).collect(),
            last_earlier,
            before,
            by_revision,
            replayed: HashMap::new(),
        }
    }

    /// Takes note of a record of the store.
    pub fn note(&mut self, record: &AuditRecord) {
        let (Some(revision), Some(method)) =
            (record.revision, AdminMethod::named(record.method.as_str()))
        else {
            return;
        };
        let time = record.time;
        let subject = subject(record, method);
        let identity: Identity = (time, method, subject.clone());
        if let Some(place) = self.input.place(&identity) {
            self.is_stored[place] = true;
        }
        let original = Original::of(&record.caller);
        if let Some(subject) = subject {
            self.note_repeats(revision, &subject, time);
            if let Some(original) = original {
                let times = self.replayed.entry((subject, method)).or_default();
                times.insert(original.time);
            }
        }
        // What repeats a write of this input was not there before it. What repeats another was written before the
        // backup, like any write.
        if original.is_some_and(|it| self.originals.contains(&(it.revision, it.time))) {
            return;
        }
        let next = self.before.partition_point(|(it, _)| *it <= revision);
        if let Some((_, last)) = self.before.get_mut(next)
            && last.is_none_or(|last| last.revision < revision)
        {
            *last = Some(Original { revision, time });
        }
    }

    /// A call that found its work done is listed with the revision of the write that did it before.
    fn note_repeats(&mut self, revision: i64, subject: &Subject, time: Timestamp) {
        let same = self.by_revision.get(&(revision, subject));
        for &place in same.into_iter().flatten() {
            if self.input.events()[place].original.time > time {
                self.is_stored[place] = true;
            }
        }
    }

    /// The writes that the store does not have, in the order of their history.
    #[must_use]
    pub fn lost(&self) -> Vec<&'a Event> {
        let events = self.input.events().iter().zip(&self.is_stored);
        let mut lost: Vec<_> = events
            .filter(|(_, is_stored)| !**is_stored)
            .map(|(event, _)| event)
            .collect();
        lost.sort_by_key(|event| (event.original.revision, event.original.time));
        lost
    }

    /// The time of the last write that is listed: of those that are lost, or else of those that the store has.
    #[must_use]
    pub fn last_listed(&self) -> Option<Timestamp> {
        let time = |event: &Event| event.original.time;
        let last = self.lost().into_iter().map(time).max();
        last.or_else(|| self.listed().iter().map(time).max())
    }

    /// All writes that are listed, whether the store has them or not.
    #[must_use]
    pub fn listed(&self) -> &'a [Event] {
        self.input.events()
    }

    /// The last write before a revision that the store has.
    #[must_use]
    pub fn last_before(&self, revision: i64) -> Option<Original> {
        let until = self.before.partition_point(|(it, _)| *it <= revision);
        let found = self.before[..until].iter().filter_map(|(_, last)| *last);
        let found = found.chain(self.last_earlier);
        found.max_by_key(|last| last.revision)
    }

    /// Whether an earlier replay has done this about the write, or about a later one of its kind.
    #[must_use]
    pub fn has_done(&self, action: Action, event: &Event) -> bool {
        let Some(subject) = &event.subject else {
            return false;
        };
        let time = event.original.time;
        let times = |method| self.replayed.get(&(subject.clone(), method));
        let since = |method| times(method).is_some_and(|it| it.iter().any(|it| *it >= time));
        match action {
            Action::Revoke => since(AdminMethod::Revoke),
            // A suspension stands for a change too, so a later one may be about that.
            Action::Suspend | Action::SuspendUnclear => {
                times(AdminMethod::Suspend).is_some_and(|it| it.contains(&time))
            }
            Action::Narrow => since(AdminMethod::Update),
            Action::SuspendAccount => since(AdminMethod::SuspendAccount),
            Action::RemoveDomain | Action::RemoveSubdomains => {
                since(AdminMethod::RemoveDomain) || since(AdminMethod::AddDomain)
            }
            Action::LostKey | Action::LostRights => false,
        }
    }
}

fn subject(record: &AuditRecord, method: AdminMethod) -> Option<Subject> {
    match Kind::of(method) {
        Kind::Account => record.account_id.clone().map(Subject::Account),
        Kind::Domain => Some(Subject::Domain(
            record.account_id.clone()?,
            record.domain.clone()?,
        )),
        Kind::Key => record.key_id.map(Subject::Key),
    }
}
