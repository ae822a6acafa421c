//! Whether the lines that a replay has read have anything to do with a store.

use crate::{
    model::time::Timestamp,
    replay::{Subject, input::Input, stored_writes::StoredWrites},
    store::{KeyCounts, KeyLookup, Revision, Store, StoreError},
};
use std::collections::HashSet;

/// How many of the keys that the lines name are looked up, and how many of the accounts.
const LOOKED_UP: usize = 1000;

/// Whether the store has anything to do with the lines.
pub(super) async fn knows_any(
    store: &Store,
    input: &Input,
    stored: &StoredWrites<'_>,
) -> Result<bool, StoreError> {
    if input.is_of_store(store.identity.store_id) || stored.has_any() {
        return Ok(true);
    }
    let (mut keys, mut accounts) = (HashSet::new(), HashSet::new());
    for event in input.events() {
        if let Some(Subject::Key(key)) = &event.subject {
            keys.insert(*key);
        }
        accounts.extend(&event.account_id);
    }
    for key in keys.into_iter().take(LOOKED_UP) {
        if store.keys.get(&KeyLookup::by_id(key)).await?.is_some() {
            return Ok(true);
        }
    }
    let (now, all) = (Timestamp::now(), Revision::from_number(i64::MAX));
    for account_id in accounts.into_iter().take(LOOKED_UP) {
        let account = store.accounts.get_account(account_id).await?;
        let keys = store.accounts.count_keys(account_id, now, all).await?;
        let has_keys = keys.counts != KeyCounts::default();
        if account.suspension.is_some() || account.domains > 0 || has_keys {
            return Ok(true);
        }
    }
    Ok(false)
}
