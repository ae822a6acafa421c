//! Which of the writes the store has, by its own audit records, and which an earlier replay has made again.

use super::{
    event::{Event, Original, Subject},
    input::{Identity, Input},
};
use crate::model::{
    audit_record::{AdminMethod, AuditRecord},
    time::Timestamp,
};
use std::collections::HashMap;

/// What the records of a store say about the writes of an input.
#[derive(Debug)]
pub struct Had<'a> {
    input: &'a Input,
    /// Whether the store has each of them.
    is_stored: Vec<bool>,
    /// The revisions of the input in order. Beside each, the last write that the store has before it.
    before: Vec<(i64, Option<Original>)>,
    /// The last write of each kind that was made again for a thing, by the time of the original.
    replayed: HashMap<(Subject, AdminMethod), Timestamp>,
}

impl<'a> Had<'a> {
    /// Before any record was read.
    #[must_use]
    pub fn new(input: &'a Input) -> Self {
        let revisions = input.events().iter().map(|event| event.original.revision);
        let mut before: Vec<_> = revisions.map(|revision| (revision, None)).collect();
        before.sort_unstable_by_key(|(revision, _)| *revision);
        before.dedup_by_key(|(revision, _)| *revision);
        Self {
            input,
            is_stored: vec![false; input.events().len()],
            before,
            replayed: HashMap::new(),
        }
    }

    /// The first time of which the records must be read.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        let times = self.input.events().iter().map(|event| event.original.time);
        times.min().unwrap_or(Timestamp::MAX)
    }

    /// Takes note of a record of the store.
    pub fn note(&mut self, record: &AuditRecord) {
        let (Some(revision), Some(method)) =
            (record.revision, AdminMethod::named(record.method.as_str()))
        else {
            return;
        };
        let subject = subject(record, method);
        if let Some(original) = Original::of(&record.caller) {
            let Some(subject) = subject else { return };
            let last = self.replayed.entry((subject, method));
            let last = last.or_insert(original.time);
            *last = original.time.max(*last);
            return;
        }
        let time = record.time;
        let identity: Identity = (time, method, subject);
        if let Some(place) = self.input.place(&identity) {
            self.is_stored[place] = true;
        }
        let next = self.before.partition_point(|(it, _)| *it <= revision);
        if let Some((_, last)) = self.before.get_mut(next)
            && last.is_none_or(|last| last.revision < revision)
        {
            *last = Some(Original { revision, time });
        }
    }

    /// The writes that the store does not have, in the order of their history.
    #[must_use]
    pub fn lost(&self) -> Vec<&'a Event> {
        let events = self.input.events().iter().zip(&self.is_stored);
        let mut lost: Vec<_> = events
            .filter(|(_, had)| !**had)
            .map(|(event, _)| event)
            .collect();
        lost.sort_by_key(|event| (event.original.revision, event.original.time));
        lost
    }

    /// The last write before a revision that the store has.
    #[must_use]
    pub fn last_before(&self, revision: i64) -> Option<Original> {
        let until = self.before.partition_point(|(it, _)| *it <= revision);
        let found = self.before[..until].iter().filter_map(|(_, last)| *last);
        found.max_by_key(|last| last.revision)
    }

    /// Whether an earlier replay has made this write again, or a later one of its kind.
    #[must_use]
    pub fn is_replayed(&self, event: &Event) -> bool {
        let Some(subject) = &event.subject else {
            return false;
        };
        let last = |method| self.replayed.get(&(subject.clone(), method)).copied();
        let at_least = |method| last(method).is_some_and(|last| last >= event.original.time);
        match event.method {
            AdminMethod::Revoke | AdminMethod::BatchRevoke => at_least(AdminMethod::Revoke),
            AdminMethod::Suspend => at_least(AdminMethod::Suspend),
            // What a change has taken is taken again by a change, a revocation or a suspension.
            AdminMethod::Update | AdminMethod::Rotate => {
                at_least(AdminMethod::Update)
                    || at_least(AdminMethod::Revoke)
                    || last(AdminMethod::Suspend) == Some(event.original.time)
            }
            AdminMethod::SuspendAccount => at_least(AdminMethod::SuspendAccount),
            AdminMethod::RemoveDomain | AdminMethod::AddDomain => {
                at_least(AdminMethod::RemoveDomain) || at_least(AdminMethod::AddDomain)
            }
            _ => false,
        }
    }
}

fn subject(record: &AuditRecord, method: AdminMethod) -> Option<Subject> {
    match method {
        AdminMethod::SuspendAccount | AdminMethod::ResumeAccount => {
            record.account_id.clone().map(Subject::Account)
        }
        AdminMethod::AddDomain | AdminMethod::RemoveDomain => Some(Subject::Domain(
            record.account_id.clone()?,
            record.domain.clone()?,
        )),
        _ => record.key_id.map(Subject::Key),
    }
}
