//! Where the lost writes have left one key.

use super::{
    action::Action, event::Event, histories::Histories, standing::Standing,
    stored_writes::StoredWrites,
};
use crate::model::{audit_record::AdminMethod, key::KeyEnd};

/// What the lost writes have made of a key. Of each kind, the last counts.
#[derive(Debug, Default)]
pub struct KeyPlan<'a> {
    /// What revoked it.
    pub revoked: Option<&'a Event>,
    /// What suspended it last, or ended that.
    pub suspension: Option<&'a Event>,
    /// What set its scope and its end.
    pub update: Option<&'a Event>,
    /// Whether the key was narrowed again by that.
    pub is_narrowed: bool,
    /// Whether the key was suspended because of that.
    pub is_suspended: bool,
    /// What may have set them since, of which the input does not say how.
    pub unclear: Option<&'a Event>,
    /// Any of them.
    pub last: Option<&'a Event>,
}

/// The lost writes about one key, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct KeyWrites<'a> {
    plan: KeyPlan<'a>,
    suspensions: Standing<'a>,
    /// Those that no later one stands for.
    updates: Vec<&'a Event>,
}

impl<'a> KeyWrites<'a> {
    pub(super) fn add(
        &mut self,
        histories: &Histories,
        stored: &StoredWrites<'_>,
        event: &'a Event,
    ) {
        if !event.is_stored {
            self.plan.last = Some(event);
        }
        let revoked = || Some(event).filter(|_| !stored.has_done(Action::Revoke, event));
        match event.method {
            AdminMethod::Revoke | AdminMethod::BatchRevoke => {
                self.plan.revoked = self.plan.revoked.or_else(revoked);
            }
            AdminMethod::Suspend | AdminMethod::Resume => self.suspensions.add(histories, event),
            // Without an overlap, a rotation has revoked the key.
            AdminMethod::Rotate if ends_at_once(event) => {
                self.plan.revoked = self.plan.revoked.or_else(revoked);
            }
            AdminMethod::Update | AdminMethod::Rotate => self.update(histories, stored, event),
            _ => {}
        }
    }

    fn update(&mut self, histories: &Histories, stored: &StoredWrites<'_>, event: &'a Event) {
        // A successor has no end either. It is not in the store.
        let says_all = event.key_end.is_some();
        let is_last = self
            .updates
            .iter()
            .all(|it| histories.is_surely_after(event, it));
        if says_all && is_last {
            (self.plan.update, self.plan.unclear) = (Some(event), None);
            self.plan.is_narrowed = stored.has_done(Action::Narrow, event);
            self.plan.is_suspended = stored.has_done(Action::SuspendUnclear, event);
        } else {
            let is_done = stored.has_done(Action::SuspendUnclear, event);
            self.plan.unclear = Some(event).filter(|_| !is_done);
        }
        self.updates.retain(|it| {
            let may_stand = says_all || it.key_end.is_none();
            !(may_stand && histories.stands_for(event, it))
        });
        self.updates.push(event);
    }

    pub(super) fn plan(self, stored: &StoredWrites<'_>) -> KeyPlan<'a> {
        let suspension = self.suspensions.last_lost().filter(|event| {
            event.method != AdminMethod::Suspend || !stored.has_done(Action::Suspend, event)
        });
        KeyPlan {
            suspension,
            ..self.plan
        }
    }
}

fn ends_at_once(event: &Event) -> bool {
    matches!(event.key_end, Some(KeyEnd::At(end)) if end <= event.original.time)
}
