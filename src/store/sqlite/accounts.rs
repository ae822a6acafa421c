//! The statements of the SQLite store on accounts.
//!
//! Must never be called on an async thread (see `worker`).

use super::{
    audit,
    rows::{position, suspension},
    statements::{Subject, next_revision, record_write},
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, AuditRecord, Outcome},
        key::{Reason, Suspension},
        time::Timestamp,
    },
    store::{
        AccountSummary, Committed, CountedKeys, KEY_COUNT_LEN, KeyCounts, Revision,
        SuspensionChange,
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

pub(super) fn set_suspension(
    transaction: &Transaction<'_>,
    change: &SuspensionChange,
) -> rusqlite::Result<Committed<Option<Suspension>>> {
    let (account_id, now) = (&change.account_id, change.now);
    let revision = next_revision(transaction)?;
    transaction
        .prepare_cached(
            "INSERT INTO accounts (account_id, suspend_reason, suspend_time, revision) \
             VALUES (?1, ?2, iif(?2 IS NULL, NULL, ?3), ?4) \
             ON CONFLICT (account_id) DO UPDATE SET suspend_reason = ?2, \
                 suspend_time = iif(?2 IS NULL, NULL, coalesce(suspend_time, ?3)), revision = ?4",
        )?
        .execute(params![
            account_id.as_str(),
            change.reason.as_ref().map(Reason::as_str),
            now.as_micros(),
            revision.number(),
        ])?;
    record_write(transaction, revision, now, &Subject::Account(account_id))?;
    let record = AuditRecord {
        time: now,
        caller: change.caller.clone(),
        method: match change.reason {
            Some(_) => AdminMethod::SuspendAccount.into(),
            None => AdminMethod::ResumeAccount.into(),
        },
        account_id: Some(account_id.clone()),
        key_id: None,
        domain: None,
        include_subdomains: None,
        key_end: None,
        revision: Some(revision.number()),
        outcome: Outcome::OK,
        calls: 1,
    };
    audit::append(transaction, &record)?;
    let suspension = find_suspension(transaction, account_id)?;
    Ok(Committed::new(suspension, position(revision)))
}

fn find_suspension(
    connection: &Connection,
    account_id: &AccountId,
) -> rusqlite::Result<Option<Suspension>> {
    let found = connection
        .prepare_cached("SELECT suspend_reason, suspend_time FROM accounts WHERE account_id = ?1")?
        .query_row([account_id.as_str()], |row| suspension(row, 0, 1))
        .optional()?;
    Ok(found.flatten())
}

/// As of one moment.
pub(super) fn get(
    connection: &mut Connection,
    account_id: &AccountId,
) -> rusqlite::Result<AccountSummary> {
    let transaction = connection.transaction()?;
    let suspension = find_suspension(&transaction, account_id)?;
    let domains = transaction
        .prepare_cached(
            "SELECT count(*) FROM domains WHERE account_id = ?1 AND remove_time IS NULL",
        )?
        .query_row([account_id.as_str()], |row| row.get::<_, i64>(0))?
        .unsigned_abs();
    Ok(AccountSummary {
        suspension,
        domains,
    })
}

pub(super) fn count_keys(
    connection: &Connection,
    account_id: &AccountId,
    now: Timestamp,
    before: Revision,
) -> rusqlite::Result<CountedKeys> {
    connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE revoke_time IS NOT NULL), \
                 count(*) FILTER (WHERE revoke_time IS NULL AND is_expired), \
                 count(*) FILTER (WHERE revoke_time IS NULL AND NOT is_expired \
                     AND suspend_time IS NOT NULL), \
                 count(*) FILTER (WHERE revoke_time IS NULL AND NOT is_expired \
                     AND suspend_time IS NULL), \
                 min(create_revision) \
             FROM (SELECT revoke_time, suspend_time, create_revision, \
                       coalesce(expire_time <= ?2, 0) AS is_expired \
                   FROM keys INDEXED BY keys_by_account WHERE account_id = ?1 AND create_revision < ?3 \
                   ORDER BY create_revision DESC LIMIT ?4)",
        )?
        .query_row(
            params![account_id.as_str(), now.as_micros(), before.number(), KEY_COUNT_LEN],
            |row| {
                let count = |column| row.get(column).map(i64::unsigned_abs);
                let counts = KeyCounts {
                    revoked: count(0)?,
                    expired: count(1)?,
                    suspended: count(2)?,
                    active: count(3)?,
                };
                let oldest: Option<i64> = row.get(4)?;
                Ok(CountedKeys::new(counts, oldest.map(Revision::from_number)))
            },
        )
}
