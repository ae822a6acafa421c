//! The statements of the SQLite store on keys, and those that keys and domains share.
//!
//! Promises that revisions are given in commit order: there is only one connection that writes.
//! Must never be called on an async thread (see `worker`).

use super::{
    audit, domains,
    key_changes::by_id_or_digest,
    rows::{
        ACCOUNT_STATE_COLUMNS, DOMAIN_STATE_COLUMNS, KEY_COLUMNS, KEY_STATE_COLUMNS, account_state,
        domain_state, key, key_state, position, stored_labels, uuid,
    },
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, AuditRecord, Outcome},
        domain::Domain,
        key::{Key, KeyId, RequestId, Scope},
        time::Timestamp,
    },
    store::{
        Change, ChangePage, Committed, CreateOutcome, NewKey, NotCreated, Revision, Revocation,
        State,
    },
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

pub(super) fn create(
    transaction: &Transaction<'_>,
    new: &NewKey,
) -> rusqlite::Result<Result<Committed<CreateOutcome>, NotCreated>> {
    let key = &new.key;
    let record = |outcome, key_id, revision: Revision| AuditRecord {
        time: key.create_time,
        caller: new.caller.clone(),
        method: AdminMethod::Create.into(),
        account_id: Some(key.account_id.clone()),
        key_id: Some(key_id),
        domain: key.scope.as_domain().cloned(),
        include_subdomains: None,
        key_end: None,
        revision: Some(revision.number()),
        outcome,
        calls: 1,
    };
    if let Some((first, revision)) = find_request(transaction, new)? {
        audit::append(
            transaction,
            &record(Outcome::ALREADY_EXISTS, first, revision),
        )?;
        let used = CreateOutcome::RequestIdUsed { first };
        return Ok(Ok(
            Committed::new(used, position(revision)).by_earlier_write(true)
        ));
    }
    if let (true, Scope::Domain(domain)) = (new.must_be_verified, &key.scope)
        && !domains::is_verified(transaction, &key.account_id, domain)?
    {
        return Ok(Err(NotCreated::DomainNotVerified));
    }
    if !has_room(transaction, &key.account_id, new.max_keys, key.create_time)? {
        return Ok(Err(NotCreated::TooManyKeys));
    }
    let revision = next_revision(transaction)?;
    insert_key(transaction, new, revision)?;
    record_write(
        transaction,
        revision,
        key.create_time,
        &Subject::Key(key.id),
    )?;
    audit::append(transaction, &record(Outcome::OK, key.id, revision))?;
    let created = CreateOutcome::Created;
    Ok(Ok(Committed::new(created, position(revision))))
}

/// Whether an account may have one more key that is neither revoked nor expired. Stops counting at the
/// limit.
pub(super) fn has_room(
    connection: &Connection,
    account_id: &AccountId,
    max_keys: Option<u32>,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let Some(max_keys) = max_keys else {
        return Ok(true);
    };
    let in_force = "SELECT 1 FROM keys INDEXED BY keys_in_force \
                    WHERE account_id = ?1 AND revoke_time IS NULL AND expire_time";
    connection
        .prepare_cached(&format!(
            "SELECT count(*) < ?3 FROM (SELECT * FROM ({in_force} > ?2 LIMIT ?3) \
             UNION ALL SELECT * FROM ({in_force} IS NULL LIMIT ?3))"
        ))?
        .query_row(
            params![account_id.as_str(), now.as_micros(), max_keys],
            |row| row.get(0),
        )
}

/// Finds the key that was created with the same request id for the same account, and the revision of the
/// write that created it.
pub(super) fn find_request(
    connection: &Connection,
    new: &NewKey,
) -> rusqlite::Result<Option<(KeyId, Revision)>> {
    let request_id = new.request_id.as_ref().map(RequestId::as_str);
    connection
        .prepare_cached(
            "SELECT key_id, create_revision FROM keys WHERE account_id = ?1 AND request_id = ?2",
        )?
        .query_row(params![new.key.account_id.as_str(), request_id], |row| {
            let first = KeyId::from_uuid(uuid(row, 0)?);
            Ok((first, Revision::from_number(row.get(1)?)))
        })
        .optional()
}

pub(super) fn insert_key(
    transaction: &Transaction<'_>,
    new: &NewKey,
    revision: Revision,
) -> rusqlite::Result<()> {
    let key = &new.key;
    transaction
        .prepare_cached(
            "INSERT INTO keys (key_id, digest, account_id, name, preview, domain, request_id, \
             create_time, expire_time, predecessor, create_revision, revision, labels) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12)",
        )?
        .execute(params![
            key.id.as_uuid().as_bytes(),
            new.digest.as_bytes(),
            key.account_id.as_str(),
            key.name.as_str(),
            key.preview.as_str(),
            key.scope.domain(),
            new.request_id.as_ref().map(RequestId::as_str),
            key.create_time.as_micros(),
            key.expire_time.map(Timestamp::as_micros),
            key.predecessor.map(|id| *id.as_uuid().as_bytes()),
            revision.number(),
            stored_labels(&key.labels),
        ])
        .map(drop)
}

pub(super) fn revoke(
    transaction: &Transaction<'_>,
    revocation: &Revocation,
) -> rusqlite::Result<Option<Committed<Key>>> {
    let (key_id, digest) = by_id_or_digest(&revocation.target);
    let accounts = revocation.accounts.listed();
    let accounts = accounts.as_deref().map(json_array);
    let found = transaction
        .prepare_cached(&format!(
            "SELECT {KEY_COLUMNS}, revision FROM keys \
             WHERE (key_id = ?1 OR digest = ?2) \
             AND (?3 IS NULL OR account_id IN (SELECT value FROM json_each(?3)))"
        ))?
        .query_row(params![key_id, digest, accounts], |row| {
            Ok((key(row)?, Revision::from_number(row.get("revision")?)))
        })
        .optional()?;
    let Some((mut key, mut revision)) = found else {
        return Ok(None);
    };
    let is_first = key.revoke_time.is_none();
    if is_first {
        key.revoke_time = Some(revocation.now);
        key.version = key.version.next();
        revision = next_revision(transaction)?;
        transaction
            .prepare_cached(
                "UPDATE keys SET revoke_time = ?1, revision = ?2, version = ?3 WHERE key_id = ?4",
            )?
            .execute(params![
                revocation.now.as_micros(),
                revision.number(),
                key.version.number(),
                key.id.as_uuid().as_bytes()
            ])?;
        record_write(transaction, revision, revocation.now, &Subject::Key(key.id))?;
    }
    let record = AuditRecord {
        time: revocation.now,
        caller: revocation.caller.clone(),
        method: AdminMethod::Revoke.into(),
        account_id: Some(key.account_id.clone()),
        key_id: Some(key.id),
        domain: key.scope.as_domain().cloned(),
        include_subdomains: None,
        key_end: None,
        revision: is_first.then_some(revision.number()),
        outcome: Outcome::OK,
        calls: 1,
    };
    audit::append(transaction, &record)?;
    let committed = Committed::new(key, position(revision));
    Ok(Some(committed.by_earlier_write(!is_first)))
}

/// SQLite takes no list as a parameter, but reads one from JSON. No account id holds a character
/// that JSON would escape.
pub(super) fn json_array(accounts: &[&str]) -> String {
    let quoted: Vec<String> = accounts.iter().map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", quoted.join(","))
}

pub(super) fn next_revision(transaction: &Transaction<'_>) -> rusqlite::Result<Revision> {
    Ok(Revision::from_number(
        current_revision(transaction)?.number() + 1,
    ))
}

pub(super) fn current_revision(connection: &Connection) -> rusqlite::Result<Revision> {
    connection
        .prepare_cached("SELECT coalesce(max(revision), 0) FROM writes")?
        .query_row([], |row| row.get(0))
        .map(Revision::from_number)
}

/// The last write before a revision that was made up to a time.
pub(super) fn last_write_before(
    connection: &Connection,
    revision: Revision,
    until: Timestamp,
) -> rusqlite::Result<Option<(Revision, Timestamp)>> {
    let last = "SELECT revision, write_time FROM writes WHERE revision < ?1 AND write_time <= ?2 \
                ORDER BY revision DESC LIMIT 1";
    connection
        .query_row(last, [revision.number(), until.as_micros()], |row| {
            let time = Timestamp::nearest_to_micros(row.get(1)?);
            Ok((Revision::from_number(row.get(0)?), time))
        })
        .optional()
}

/// What a write changes.
pub(super) enum Subject<'a> {
    Key(KeyId),
    Domain(&'a AccountId, &'a Domain),
    Account(&'a AccountId),
}

pub(super) fn record_write(
    transaction: &Transaction<'_>,
    revision: Revision,
    time: Timestamp,
    subject: &Subject<'_>,
) -> rusqlite::Result<()> {
    let (key_id, account_id, domain) = match subject {
        Subject::Key(id) => (Some(*id.as_uuid().as_bytes()), None, None),
        Subject::Domain(account_id, domain) => {
            (None, Some(account_id.as_str()), Some(domain.as_str()))
        }
        Subject::Account(account_id) => (None, Some(account_id.as_str()), None),
    };
    transaction
        .prepare_cached(
            "INSERT INTO writes (revision, write_time, key_id, account_id, domain) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            revision.number(),
            time.as_micros(),
            key_id,
            account_id,
            domain
        ])
        .map(drop)
}

/// All are read in one transaction, and so as of one moment: otherwise a write that comes
/// in between could be skipped.
pub(super) fn changes(
    connection: &mut Connection,
    since: Revision,
    limit: usize,
) -> rusqlite::Result<ChangePage> {
    let transaction = connection.transaction()?;
    let head = position(current_revision(&transaction)?);
    let mut changes = changes_in(
        "keys",
        KEY_STATE_COLUMNS,
        &transaction,
        since,
        limit,
        |row| Ok(State::Key(key_state(row)?.into())),
    )?;
    changes.extend(changes_in(
        "domains",
        DOMAIN_STATE_COLUMNS,
        &transaction,
        since,
        limit,
        |row| domain_state(row).map(State::Domain),
    )?);
    changes.extend(changes_in(
        "accounts",
        ACCOUNT_STATE_COLUMNS,
        &transaction,
        since,
        limit,
        |row| account_state(row).map(State::Account),
    )?);
    changes.sort_unstable_by_key(|change| change.position.revision);
    Ok(ChangePage::new(changes, since, limit, head))
}

fn changes_in(
    table: &str,
    columns: &str,
    transaction: &Transaction<'_>,
    since: Revision,
    limit: usize,
    state: fn(&Row<'_>) -> rusqlite::Result<State>,
) -> rusqlite::Result<Vec<Change>> {
    transaction
        .prepare_cached(&format!(
            "SELECT {columns}, revision FROM {table} \
             WHERE revision > ?1 AND revision <= ?1 + ?2"
        ))?
        .query_map(
            params![since.number(), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| {
                Ok(Change {
                    position: position(Revision::from_number(row.get("revision")?)),
                    state: state(row)?,
                })
            },
        )?
        .collect()
}
