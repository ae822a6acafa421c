//! The statements of the PostgreSQL store on accounts.
//!
//! Promises that a write and its audit record are one statement, and so one transaction.

use super::{
    database::{Database, ON_PRIMARY, Purpose, Turn},
    errors::unexpected,
    rows,
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, Outcome},
        key::{Reason, Suspension},
        time::Timestamp,
    },
    store::{
        AccountSummary, Committed, CountedKeys, KEY_COUNT_LEN, KeyCounts, Revision, StoreError,
        SuspensionChange,
    },
};

pub(super) async fn set_suspension(
    database: &Database,
    change: &SuspensionChange,
) -> Result<Committed<Option<Suspension>>, StoreError> {
    let method = match change.reason {
        Some(_) => AdminMethod::SuspendAccount,
        None => AdminMethod::ResumeAccount,
    };
    let reason = change.reason.as_ref().map(Reason::as_str);
    let rows = database
        .write(
            Turn::of(method),
            &change.still_allowed,
            "WITH changed AS MATERIALIZED ( \
                 SELECT suspend_time, revision, write_id \
                 FROM keyservice.check_store($7::pg_catalog.uuid) \
                     CROSS JOIN keyservice.set_suspension($1::pg_catalog.text, $2::pg_catalog.text, \
                     $3::pg_catalog.timestamptz)), \
             recorded AS ( \
                 INSERT INTO keyservice.audit \
                     (time, caller, method, account_id, outcome, calls, revision) \
                 SELECT $3, $4, $5, $1, $6, 1, revision FROM changed) \
             SELECT suspend_time, revision, write_id FROM changed",
            &[
                &change.account_id.as_str(),
                &reason,
                &change.now.to_system_time(),
                &change.caller.as_str(),
                &method.as_str(),
                &Outcome::OK.as_str(),
                &database.store_id(),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| unexpected("set_suspension gave no row"))?;
    let suspension = rows::suspension(
        reason.map(str::to_owned),
        rows::column(row, "suspend_time")?,
    );
    Ok(Committed::new(suspension, rows::position(row)?))
}

pub(super) async fn get(
    database: &Database,
    account_id: &AccountId,
) -> Result<AccountSummary, StoreError> {
    let rows = database
        .query(
            Purpose::Calls,
            &format!(
                "SELECT a.suspend_reason, a.suspend_time, \
                     (SELECT pg_catalog.count(*) FROM keyservice.domains d \
                      WHERE d.account_id OPERATOR(pg_catalog.=) $1 AND d.remove_time IS NULL) AS domains \
                 FROM (SELECT) one_row \
                 LEFT JOIN keyservice.accounts a ON a.account_id OPERATOR(pg_catalog.=) $1 \
                 WHERE {ON_PRIMARY}"
            ),
            &[&account_id.as_str()],
        )
        .await?;
    let row = rows.first().ok_or_else(|| unexpected("no row came back"))?;
    Ok(AccountSummary {
        suspension: rows::suspension(
            rows::column(row, "suspend_reason")?,
            rows::column(row, "suspend_time")?,
        ),
        domains: rows::count(row, "domains")?,
    })
}

pub(super) async fn count_keys(
    database: &Database,
    account_id: &AccountId,
    now: Timestamp,
    before: Revision,
) -> Result<CountedKeys, StoreError> {
    let rows = database
        .query(
            Purpose::Calls,
            &format!("SELECT pg_catalog.count(*) FILTER (WHERE revoke_time IS NOT NULL) AS revoked, \
                 pg_catalog.count(*) FILTER (WHERE revoke_time IS NULL AND is_expired) AS expired, \
                 pg_catalog.count(*) FILTER (WHERE revoke_time IS NULL AND NOT is_expired \
                     AND suspend_time IS NOT NULL) AS suspended, \
                 pg_catalog.count(*) FILTER (WHERE revoke_time IS NULL AND NOT is_expired \
                     AND suspend_time IS NULL) AS active, \
                 pg_catalog.min(create_revision) AS oldest \
             FROM ( \
                 SELECT revoke_time, suspend_time, create_revision, \
                     expire_time IS NOT NULL AND expire_time OPERATOR(pg_catalog.<=) $2 AS is_expired \
                 FROM keyservice.walk_keys('ACCOUNT'::pg_catalog.text, $1::pg_catalog.text, \
                     NULL::pg_catalog.text, $3::pg_catalog.int8, \
                     $4::pg_catalog.int8)) k \
             WHERE {ON_PRIMARY}"),
            &[
                &account_id.as_str(),
                &now.to_system_time(),
                &before.number(),
                &KEY_COUNT_LEN,
            ],
        )
        .await?;
    let row = rows.first().ok_or_else(|| unexpected("no row came back"))?;
    let counts = KeyCounts {
        active: rows::count(row, "active")?,
        suspended: rows::count(row, "suspended")?,
        expired: rows::count(row, "expired")?,
        revoked: rows::count(row, "revoked")?,
    };
    let oldest: Option<i64> = rows::column(row, "oldest")?;
    Ok(CountedKeys::new(counts, oldest.map(Revision::from_number)))
}
