//! What the log says of the writes that a replica makes by itself, and of the history that they belong to.
//!
//! Promises that a replay of the log can make these writes once more, as it can those of callers.

use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, Outcome},
        caller_name::CallerName,
        domain::Domain,
        history::History,
        key::KeyId,
        time::Timestamp,
    },
    store::{Committed, Store, StoreError},
};

/// How many histories a start names. A backup from before so many restores is of no use.
const NAMED: usize = 20;

/// What a write was about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OwnWrite<'a> {
    pub(super) account_id: Option<&'a AccountId>,
    pub(super) key_id: Option<KeyId>,
    pub(super) domain: Option<&'a Domain>,
    pub(super) include_subdomains: Option<bool>,
}

/// The line of a write, as that of the call by which an admin would make it. `time` is what the write's record has.
pub(super) fn log_write<T>(
    store: &Store,
    committed: &Committed<T>,
    time: Timestamp,
    method: AdminMethod,
    about: OwnWrite<'_>,
) {
    if committed.is_by_earlier_write() {
        return;
    }
    let position = committed.position();
    tracing::info!(
        store_id = %store.identity.store_id,
        history_id = %store.identity.history_of(position),
        time = %time,
        revision = position.revision.number(),
        caller = CallerName::service().as_str(),
        method = method.as_str(),
        account_id = about.account_id.map(AccountId::as_str),
        key_id = about.key_id.map(tracing::field::display),
        domain = about.domain.map(Domain::as_str),
        include_subdomains = about.include_subdomains,
        outcome = Outcome::OK.as_str(),
        "admin call"
    );
}

/// Says where the histories of the store begin, the last of them if they are many.
pub(super) async fn log_histories(store: &Store) -> Result<(), StoreError> {
    let histories = store.histories.histories().await?;
    let first_named = histories.len().saturating_sub(NAMED);
    log_all(store, &histories[first_named..]);
    Ok(())
}

/// Begins a history, because the store has lost writes of the one before, and says so.
pub(super) async fn begin_history(store: &Store) -> Result<(), StoreError> {
    store.histories.begin_history(None).await?;
    log_last_history(store).await
}

/// Says where the last history begins.
pub(super) async fn log_last_history(store: &Store) -> Result<(), StoreError> {
    let histories = store.histories.histories().await?;
    let last = histories.last().copied();
    log_all(store, last.as_slice());
    Ok(())
}

fn log_all(store: &Store, histories: &[History]) {
    for history in histories {
        tracing::info!(
            store_id = %store.identity.store_id,
            history_id = %history.id,
            parent = history.parent.map(tracing::field::display),
            after = history.after,
            replayed_until = history.replayed_until.map(tracing::field::display),
            "history of the store"
        );
    }
}
