//! The revocation of many keys at once: its arguments and its answers.

use super::{KeyTarget, StillAllowed};
use crate::model::{
    account::Accounts,
    caller_name::CallerName,
    key::{KeyId, Reason, filter::KeyFilter},
    time::Timestamp,
};
use std::collections::HashSet;

/// The most keys that one call revokes. They are revoked in one transaction. Other writes wait for all of it,
/// and renewals of leases for its commit. Then every replica must apply the revocations within its lease.
pub const MAX_BATCH: usize = 10_000;

/// Keys that a call names.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The keys, up to [`MAX_BATCH`].
    pub targets: Vec<KeyTarget>,
    /// Each key must belong to one of these accounts. Any other key is not found.
    pub accounts: Accounts,
}

/// What a selection comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// The keys to be revoked. None of them is revoked yet, and each is there once.
    pub key_ids: Vec<KeyId>,
    /// How many of the given keys are revoked already.
    pub already_revoked: usize,
    /// The places of the given keys that are not found.
    pub not_found: Vec<usize>,
    /// Whether the filter selects more keys than one call revokes.
    pub there_are_more: bool,
}

/// The keys to be revoked at once, and who does it why.
#[derive(Debug, Clone)]
pub struct BatchRevocation {
    /// The keys. Those that are revoked by now stay as they are.
    pub key_ids: Vec<KeyId>,
    /// The account and domain to which the selection was limited, for the record.
    pub filter: KeyFilter,
    /// Why.
    pub reason: Reason,
    /// The `revoke_time` of the keys.
    pub now: Timestamp,
    /// Who revokes them.
    pub caller: CallerName,
    /// Asked when its turn has come. If it says no, the write is not made.
    pub still_allowed: StillAllowed,
}

impl Selected {
    /// For given keys, each with its id if it is found, and whether it is revoked.
    pub(super) fn of_given(found: Vec<(Option<KeyId>, bool)>) -> Self {
        let mut selected = Self::default();
        let mut seen = HashSet::new();
        for (place, (id, is_revoked)) in found.into_iter().enumerate() {
            match id {
                None => selected.not_found.push(place),
                Some(id) if !seen.insert(id) => (),
                Some(_) if is_revoked => selected.already_revoked += 1,
                Some(id) => selected.key_ids.push(id),
            }
        }
        selected
    }
}
