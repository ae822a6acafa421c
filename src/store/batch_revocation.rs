//! The revocation of many keys at once: its arguments and its answers.

use super::{KeyTarget, StillAllowed};
use crate::model::{
    account::Accounts,
    caller_name::CallerName,
    key::{KeyId, Reason, filter::KeyFilter},
    time::Timestamp,
};
use std::collections::{HashMap, HashSet};

/// The most keys that one call revokes. They are revoked in one transaction. Other writes wait for all of it,
/// and renewals of leases for its commit. Then every replica must apply the revocations within its lease.
pub const MAX_BATCH: usize = 10_000;

/// Keys that a call names, each of which is looked up once. Otherwise a caller could have one looked up so many
/// times in one call that the time tells whether it exists, though it is another account's.
#[derive(Debug, Clone)]
pub struct Selection {
    targets: Vec<KeyTarget>,
    /// For each key as given, its place in `targets`.
    places: Vec<usize>,
    accounts: Accounts,
}

impl Selection {
    /// Of up to [`MAX_BATCH`] keys. Each must belong to one of these accounts. Any other key is not found.
    #[must_use]
    pub fn new(given: Vec<KeyTarget>, accounts: Accounts) -> Self {
        let (mut targets, mut seen) = (Vec::new(), HashMap::new());
        let places = given.into_iter().map(|target| {
            *seen.entry(target).or_insert_with_key(|target| {
                targets.push(target.clone());
                targets.len() - 1
            })
        });
        let places = places.collect();
        Self {
            targets,
            places,
            accounts,
        }
    }

    /// What is looked up.
    #[must_use]
    pub fn targets(&self) -> &[KeyTarget] {
        &self.targets
    }

    /// The accounts whose keys are found.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }
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
    /// For given keys. Each that was looked up has its id if it is found, and whether it is revoked.
    pub(super) fn of_given(selection: &Selection, found: &[(Option<KeyId>, bool)]) -> Self {
        let mut selected = Self::default();
        let mut seen = HashSet::new();
        for (place, target) in selection.places.iter().enumerate() {
            match found.get(*target) {
                None | Some((None, _)) => selected.not_found.push(place),
                Some((Some(id), _)) if !seen.insert(*id) => (),
                Some((Some(_), true)) => selected.already_revoked += 1,
                Some((Some(id), false)) => selected.key_ids.push(*id),
            }
        }
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_given_many_times_is_looked_up_once_and_found_or_not_at_each_place() {
        let id = |random| KeyId::new(Timestamp::MAX, &[random; 10]);
        let [active, revoked, unknown] = [id(1), id(2), id(3)];
        let given = [unknown, active, unknown, revoked, active, revoked, unknown];
        let given = given.map(KeyTarget::Id).to_vec();
        let selection = Selection::new(given, Accounts::All);
        assert_eq!(
            selection.targets(),
            [unknown, active, revoked].map(KeyTarget::Id)
        );
        let found = [(None, false), (Some(active), false), (Some(revoked), true)];
        let selected = Selected::of_given(&selection, &found);
        assert_eq!(selected.key_ids, [active]);
        assert_eq!(selected.already_revoked, 1);
        assert_eq!(selected.not_found, [0, 2, 6]);
    }
}
