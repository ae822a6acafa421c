//! The statements of the SQLite store that read one key, and give it its next state.
//!
//! Must never be called on an async thread (see `worker`).

use super::{
    audit, domains,
    rows::{KEY_COLUMNS, key, position, stored_labels},
    statements::{
        Subject, find_request, has_room, insert_key, json_array, next_revision, record_write,
    },
};
use crate::{
    model::{
        account::Accounts,
        audit_record::{AuditRecord, Outcome},
        key::{Key, KeyEnd, KeyId, Scope},
        time::Timestamp,
    },
    store::{
        Committed, KeyLookup, KeyReplacement, KeySuspension, KeyTarget, Replaced, Revision,
        StillAllowed, Suspended,
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

pub(super) fn get(connection: &Connection, lookup: &KeyLookup) -> rusqlite::Result<Option<Key>> {
    let (key_id, digest) = by_id_or_digest(&lookup.target);
    let accounts = lookup.accounts.listed();
    let accounts = accounts.as_deref().map(json_array);
    connection
        .prepare_cached(&format!(
            "SELECT {KEY_COLUMNS} FROM keys \
             WHERE (key_id = ?1 OR digest = ?2) \
             AND (?3 IS NULL OR account_id IN (SELECT value FROM json_each(?3)))"
        ))?
        .query_row(params![key_id, digest, accounts], key)
        .optional()
}

/// The parameters that find a key, of which one is null.
pub(super) fn by_id_or_digest(target: &KeyTarget) -> (Option<[u8; 16]>, Option<[u8; 32]>) {
    match target {
        KeyTarget::Id(id) => (Some(*id.as_uuid().as_bytes()), None),
        KeyTarget::Digest(digest) => (None, Some(*digest.as_bytes())),
    }
}

pub(super) fn replace(
    transaction: &Transaction<'_>,
    replacement: &KeyReplacement,
) -> rusqlite::Result<Replaced> {
    let KeyReplacement { key, successor, .. } = replacement;
    if let Some(new) = successor
        && let Some((first, revision)) = find_request(transaction, new)?
    {
        let outcome = Outcome::ALREADY_EXISTS;
        append_record(transaction, replacement, first, None, outcome, revision)?;
        let first = Committed::new(first, position(revision)).by_earlier_write(true);
        return Ok(Replaced::RequestIdUsed(first));
    }
    let lookup = KeyLookup {
        target: KeyTarget::Id(key.id),
        accounts: Accounts::All,
    };
    let before = get(transaction, &lookup)?;
    let Some(before) = before.filter(|before| before.version.next() == key.version) else {
        return Ok(Replaced::Conflict);
    };
    if let (true, Scope::Domain(domain)) = (replacement.must_be_verified, &key.scope)
        && !domains::is_verified(transaction, &key.account_id, domain)?
    {
        return Ok(Replaced::DomainNotVerified);
    }
    let now = replacement.now;
    // The call may have come when the key was still in force, and another key may have its place since.
    let time = now.max(Timestamp::now());
    let is_one_more = replacement.is_one_more_than(&before, time);
    let max_keys = replacement.max_keys.filter(|_| is_one_more);
    if !has_room(transaction, &key.account_id, max_keys, time)? {
        return Ok(Replaced::TooManyKeys);
    }
    if let Some(new) = successor {
        let revision = next_revision(transaction)?;
        insert_key(transaction, new, revision)?;
        record_write(transaction, revision, now, &Subject::Key(new.key.id))?;
        let (new, outcome) = (new.key.id, Outcome::OK);
        append_record(transaction, replacement, new, None, outcome, revision)?;
    }
    let revision = next_revision(transaction)?;
    let suspension = key.suspension.as_ref();
    transaction
        .prepare_cached(
            "UPDATE keys SET name = ?2, domain = ?3, expire_time = ?4, revoke_time = ?5, \
             suspend_reason = ?6, suspend_time = ?7, successor = ?8, version = ?9, revision = ?10, \
             labels = ?11 \
             WHERE key_id = ?1",
        )?
        .execute(params![
            key.id.as_uuid().as_bytes(),
            key.name.as_str(),
            key.scope.domain(),
            key.expire_time.map(Timestamp::as_micros),
            key.revoke_time.map(Timestamp::as_micros),
            suspension.map(|suspension| suspension.reason.as_str()),
            suspension.map(|suspension| suspension.time.as_micros()),
            key.successor.map(|id| *id.as_uuid().as_bytes()),
            key.version.number(),
            revision.number(),
            stored_labels(&key.labels),
        ])?;
    record_write(transaction, revision, now, &Subject::Key(key.id))?;
    let (end, outcome) = (replacement.recorded_end(), Outcome::OK);
    append_record(transaction, replacement, key.id, end, outcome, revision)?;
    Ok(Replaced::Replaced(Committed::new((), position(revision))))
}

pub(super) fn set_suspension(
    transaction: &Transaction<'_>,
    suspension: &KeySuspension,
) -> rusqlite::Result<Suspended> {
    let KeySuspension { now, reason, .. } = suspension;
    let lookup = KeyLookup {
        target: suspension.target.clone(),
        accounts: suspension.accounts.clone(),
    };
    let Some(key) = get(transaction, &lookup)? else {
        return Ok(Suspended::NotFound);
    };
    let next = match reason {
        Some(reason) => key.suspended(reason, *now),
        None => key.resumed(),
    };
    let Ok(next) = next else {
        return Ok(Suspended::Revoked(key));
    };
    let replacement = KeyReplacement {
        key: next.clone(),
        must_be_verified: false,
        max_keys: None,
        successor: None,
        method: suspension.method(),
        now: *now,
        caller: suspension.caller.clone(),
        still_allowed: StillAllowed::always(),
    };
    match replace(transaction, &replacement)? {
        Replaced::Replaced(committed) => Ok(Suspended::Stored(committed.map(|()| next))),
        other => unreachable!("nothing else can come of it in this transaction: {other:?}"),
    }
}

fn append_record(
    transaction: &Transaction<'_>,
    replacement: &KeyReplacement,
    key_id: KeyId,
    key_end: Option<KeyEnd>,
    outcome: Outcome,
    revision: Revision,
) -> rusqlite::Result<()> {
    let record = AuditRecord {
        time: replacement.now,
        caller: replacement.caller.clone(),
        method: replacement.method.into(),
        account_id: Some(replacement.key.account_id.clone()),
        key_id: Some(key_id),
        domain: replacement.key.scope.as_domain().cloned(),
        include_subdomains: None,
        key_end,
        revision: Some(revision.number()),
        outcome,
        calls: 1,
    };
    audit::append(transaction, &record)
}
