//! What is left of the writes about one thing of which the last counts.

use super::{event::Event, histories::Histories};
use crate::model::audit_record::AdminMethod;

/// The writes that no later one has taken back.
#[derive(Debug, Default)]
pub(super) struct Standing<'a>(Vec<&'a Event>);

impl<'a> Standing<'a> {
    /// Adds a write. What gives a right takes back the denials that it is later than, and no other.
    pub(super) fn add(&mut self, histories: &Histories, event: &'a Event) {
        let takes_back = |event: &Event, other: &Event| {
            leaves(other) < leaves(event) && histories.is_after(event, other)
        };
        if self.0.iter().any(|other| takes_back(other, event)) {
            return;
        }
        self.0.retain(|other| {
            let stands_for = leaves(event) <= leaves(other) && histories.stands_for(event, other);
            !stands_for && !takes_back(event, other)
        });
        self.0.push(event);
    }

    /// The last of those that deny most, unless the store has it.
    pub(super) fn last_lost(&self) -> Option<&'a Event> {
        self.0
            .iter()
            .rev()
            .min_by_key(|event| leaves(event))
            .filter(|event| !event.is_stored)
            .copied()
    }
}

/// How much of its thing a write leaves granted, beside others of its kind.
fn leaves(event: &Event) -> u8 {
    match event.method {
        AdminMethod::Suspend | AdminMethod::SuspendAccount | AdminMethod::RemoveDomain => 0,
        AdminMethod::AddDomain if event.include_subdomains != Some(true) => 1,
        _ => 2,
    }
}
