//! Which of the writes the store has, by its own audit records, and which an earlier replay has made again.

use super::{
    action::Action,
    event::{Event, Kind, Original, Subject},
    input::{Identity, Input},
};
use crate::model::{
    audit_record::{AdminMethod, AuditRecord},
    caller_name::{CallerName, REPLAY},
    history::HistoryId,
    time::Timestamp,
};
use std::collections::{HashMap, HashSet};

/// What a store says about the writes of an input.
#[derive(Debug)]
pub struct StoredWrites<'a> {
    input: &'a Input,
    /// Whether the store has each of them.
    is_stored: Vec<bool>,
    /// The places of the events of each revision and thing.
    by_revision: HashMap<(i64, &'a Subject), Vec<usize>>,
    /// Which writes of each kind were made again for a thing, by the times of the originals.
    replayed: HashMap<(Subject, AdminMethod), HashSet<Timestamp>>,
    /// What the store has that may have taken back a denial of something that is listed.
    given_back: Vec<Event>,
    subjects: HashSet<&'a Subject>,
}

impl<'a> StoredWrites<'a> {
    /// Before any record was read.
    #[must_use]
    pub fn new(input: &'a Input) -> Self {
        let mut by_revision = HashMap::<_, Vec<_>>::new();
        for (place, event) in input.events().iter().enumerate() {
            if let Some(subject) = &event.subject {
                let same = by_revision.entry((event.original.revision, subject));
                same.or_default().push(place);
            }
        }
        let events = input.events().iter();
        Self {
            input,
            is_stored: vec![false; input.events().len()],
            by_revision,
            replayed: HashMap::new(),
            given_back: Vec::new(),
            subjects: events.filter_map(|event| event.subject.as_ref()).collect(),
        }
    }

    /// Takes note of a record of the store, which is of this history.
    pub fn note(&mut self, record: &AuditRecord, history: Option<HistoryId>) {
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
        let Some(subject) = subject else { return };
        self.note_repeats((history, revision), &subject, method, time);
        if self.subjects.contains(&subject) && may_give_back(record, method) {
            let of = Some(subject.clone());
            self.given_back
                .push(event(record, history, revision, method, of));
        }
        if let Some(original) = Original::of(&record.caller) {
            let times = self.replayed.entry((subject, method)).or_default();
            times.insert(original.time);
        }
    }

    /// A call that found its work done is on record with the revision of the write that did it before, and an earlier
    /// release listed it so too. In another history, another write may have that revision: so it must be one that does
    /// the same.
    fn note_repeats(
        &mut self,
        (history, revision): (Option<HistoryId>, i64),
        subject: &Subject,
        method: AdminMethod,
        time: Timestamp,
    ) {
        let same = self.by_revision.get(&(revision, subject));
        for &place in same.into_iter().flatten() {
            let event = &self.input.events()[place];
            let may_be = event.history_id.is_none() || event.history_id == history;
            if may_be && event.original.time > time && repeats(event.method, method) {
                self.is_stored[place] = true;
            }
        }
    }

    /// The writes that the store does not have, in the order of their lines.
    #[must_use]
    pub fn lost(&self) -> Vec<&'a Event> {
        let events = self.input.events().iter().zip(&self.is_stored);
        events
            .filter(|(_, is_stored)| !**is_stored)
            .map(|(event, _)| event)
            .collect()
    }

    /// What the store has that may have taken back a denial of something that is listed.
    #[must_use]
    pub fn given_back(&self) -> &[Event] {
        &self.given_back
    }

    /// All writes that are listed, whether the store has them or not.
    #[must_use]
    pub fn listed(&self) -> &'a [Event] {
        self.input.events()
    }

    /// Whether the store has any of them.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.is_stored.contains(&true)
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

/// Whether a call of the first method may have found that a write of the second had done its work.
fn repeats(call: AdminMethod, write: AdminMethod) -> bool {
    use AdminMethod::{BatchRevoke, Revoke, Rotate};
    match call {
        Revoke | BatchRevoke => matches!(write, Revoke | BatchRevoke | Rotate),
        _ => call == write,
    }
}

/// Not by a change of a key: that may only have given it another name. Nor by what the service and a replay write, who
/// only take away.
fn may_give_back(record: &AuditRecord, method: AdminMethod) -> bool {
    use AdminMethod::{AddDomain, Resume, ResumeAccount};
    let caller = &record.caller;
    let is_made_again = *caller == CallerName::service() || caller.as_str().starts_with(REPLAY);
    matches!(method, AddDomain | Resume | ResumeAccount) && !is_made_again
}

fn event(
    record: &AuditRecord,
    history_id: Option<HistoryId>,
    revision: i64,
    method: AdminMethod,
    subject: Option<Subject>,
) -> Event {
    Event {
        original: Original {
            revision,
            time: record.time,
        },
        history_id,
        writes: 1,
        caller: record.caller.clone(),
        method,
        subject,
        account_id: record.account_id.clone(),
        domain: record.domain.clone(),
        include_subdomains: record.include_subdomains,
        key_end: record.key_end,
        is_stored: true,
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
