//! What is to be done about a loss.
//!
//! Must never name an action that gives a right.

use super::{event::Event, key_plan::KeyPlan};
use crate::model::{
    audit_record::AdminMethod,
    domain::Domain,
    key::{Key, KeyEnd, Scope, change::KeyUpdate},
    loss::{KeyLoss, KeyRights},
};
use strum::IntoStaticStr;

/// What was found, or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// A key is revoked.
    Revoke,
    /// A key is suspended, as it was.
    Suspend,
    /// A key is suspended, because a change was lost that may have taken rights from it, and cannot be made again.
    SuspendUnclear,
    /// A key gets the scope or the expiry that it stored.
    Narrow,
    /// An account is suspended.
    SuspendAccount,
    /// A domain is removed.
    RemoveDomain,
    /// The names below a domain are no longer verified.
    RemoveSubdomains,
    /// Nothing: the store does not have the key.
    LostKey,
    /// Nothing: what was lost gave rights.
    LostRights,
}

impl Action {
    /// Whether it is a write.
    #[must_use]
    pub fn writes(self) -> bool {
        !matches!(self, Self::LostKey | Self::LostRights)
    }
}

fn rights(key: &Key) -> KeyRights<'_> {
    KeyRights {
        revoked: key.revoke_time.is_some(),
        suspended: key.suspension.is_some(),
        domain: key.scope.domain(),
        expire_time: key.expire_time,
    }
}

/// The scope and the expiry that a change has set.
fn set_by<'a>(event: &'a Event, loaded: &KeyRights<'a>) -> KeyRights<'a> {
    KeyRights {
        domain: event.domain.as_ref().map(Domain::as_str),
        expire_time: match event.key_end {
            Some(KeyEnd::At(time)) => Some(time),
            Some(KeyEnd::Never) | None => None,
        },
        ..*loaded
    }
}

/// What is to be done with a key, each for the write that did it before.
pub(super) fn actions<'a>(key: &Key, plan: &KeyPlan<'a>) -> Vec<(Action, &'a Event)> {
    let loaded = rights(key);
    let mut held = plan.update.map_or(loaded, |event| set_by(event, &loaded));
    held.revoked |= plan.revoked.is_some();
    if let Some(event) = plan.suspension {
        held.suspended = event.method == AdminMethod::Suspend;
    }
    let loss = KeyLoss::between(&held, Some(&loaded));
    let mut actions = Vec::new();
    match loss {
        Some(KeyLoss::Revocation) => {
            actions.extend(plan.revoked.map(|event| (Action::Revoke, event)));
            return actions;
        }
        Some(KeyLoss::Denials | KeyLoss::DenialsOnceResumed) => {
            if let Some(event) = plan
                .suspension
                .filter(|_| held.suspended && !loaded.suspended)
            {
                actions.push((Action::Suspend, event));
            }
            if let Some(event) = plan.update {
                // To move a key to another domain would give it that one. One that is suspended already gets the
                // reason, so that nobody resumes it before its scope is put right.
                let moves = loaded.domain.is_some() && loaded.has_wider_scope_than(&held);
                if moves && !plan.is_suspended {
                    actions.push((Action::SuspendUnclear, event));
                }
                // One that is resumed since was put right.
                let is_settled = plan.is_narrowed || (plan.is_suspended && !loaded.suspended);
                if !is_settled && narrowing(key, event) != KeyUpdate::default() {
                    actions.push((Action::Narrow, event));
                }
            }
        }
        Some(KeyLoss::Grants) => {
            let update = plan.update.filter(|_| !plan.is_narrowed);
            let event = plan.suspension.or(update);
            actions.extend(event.map(|event| (Action::LostRights, event)));
        }
        Some(KeyLoss::Key) | None => {}
    }
    let unclear = plan.unclear.filter(|_| !loaded.revoked);
    actions.extend(unclear.map(|event| (Action::SuspendUnclear, event)));
    actions
}

/// The part of a change that takes rights from the key as it is.
pub(super) fn narrowing(key: &Key, event: &Event) -> KeyUpdate {
    let loaded = rights(key);
    let set = set_by(event, &loaded);
    let scope = event.domain.clone().map(Scope::Domain);
    KeyUpdate {
        scope: scope.filter(|_| loaded.domain.is_none()),
        expire_time: loaded.lasts_longer_than(&set).then_some(set.expire_time),
        ..KeyUpdate::default()
    }
}
