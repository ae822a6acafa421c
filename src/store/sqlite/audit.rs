//! The audit records in a database file: appending them, and reading them beside a running service.
//!
//! Promises that reading neither creates nor changes a file, and keeps no service from opening the file
//! or from copying its write-ahead log into it. No transaction is open while records are handed over: a
//! person may read them in a pager for hours. Must never hold more than a page of records in memory.

use super::{
    errors::{not_ours, store_error},
    histories,
    open::store_id,
    reading::Reading,
    rows::time,
    schema::MIGRATIONS,
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AuditQuery, AuditRecord, MethodName, Outcome},
        caller_name::CallerName,
        domain::Domain,
        history::History,
        key::{KeyEnd, KeyId},
        time::Timestamp,
    },
    store::{
        ApplyRecord, OpenError, ReadAuditError, ReadRecord, RecordOrigin, StoreError, Unreadable,
        migrations,
    },
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;
use std::{io, path::Path};
use uuid::Uuid;

/// In the column `key_end`, that a key has no end. No time is so late.
const NEVER: i64 = i64::MAX;

pub(super) fn append(connection: &Connection, record: &AuditRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO audit (time, caller, method, account_id, key_id, outcome, calls, domain, \
                 include_subdomains, revision, key_end) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            record.time.as_micros(),
            record.caller.as_str(),
            record.method.as_str(),
            record.account_id.as_ref().map(AccountId::as_str),
            record.key_id.map(|id| *id.as_uuid().as_bytes()),
            record.outcome.as_str(),
            record.calls,
            record.domain.as_ref().map(Domain::as_str),
            record.include_subdomains,
            record.revision,
            record.key_end.map(|end| match end {
                KeyEnd::Never => NEVER,
                KeyEnd::At(time) => time.as_micros(),
            }),
        ])?;
    Ok(())
}

/// Hands the records to `apply` in order of time, as of one moment. Blocks.
pub fn read(
    path: &Path,
    query: &AuditQuery,
    apply: &mut ApplyRecord<'_>,
) -> Result<(), ReadAuditError> {
    let reading = Reading::begin(path)?;
    let connection = reading.connection();
    migrations::check_current(MIGRATIONS, reading.schema()).map_err(OpenError::Schema)?;
    if !are_plain_tables(connection).map_err(|error| reading.failed(error))? {
        return Err(not_ours(reading.path()).into());
    }
    let store_id = store_id(connection).map_err(|error| reading.failed(error))?;
    let histories = histories::histories(connection).map_err(|error| reading.failed(error))?;
    select(connection, query, &mut |read| {
        let revision = read.as_ref().ok().and_then(|record| record.revision);
        let origin = RecordOrigin {
            store_id: Some(store_id),
            history: revision.and_then(|revision| History::of(&histories, revision)),
        };
        apply(origin, read)
    })?;
    reading.end()?;
    Ok(())
}

/// Whether the records, and what names the store and its histories, are in tables. A virtual one or a view would compute them.
fn are_plain_tables(connection: &Connection) -> rusqlite::Result<bool> {
    let all = "SELECT count(*), \
                   count(*) FILTER (WHERE type = 'table' AND rootpage > 0 AND sql LIKE 'CREATE TABLE %') \
               FROM sqlite_schema WHERE lower(name) IN ('audit', 'histories', 'store_identity')";
    let found: (i64, i64) = connection.query_row(all, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found == (3, 3))
}

/// How many records one transaction reads.
const PAGE: usize = 1000;

/// Reads page by page. Records are never changed, so those that are there at first are as of one
/// moment, except that old ones may be deleted meanwhile.
fn select(
    connection: &Connection,
    query: &AuditQuery,
    apply: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> Result<(), ReadAuditError> {
    let newest = "SELECT coalesce(max(number), 0) FROM audit";
    let newest: i64 = connection
        .query_row(newest, [], |row| row.get(0))
        .map_err(store_error)?;
    let mut next = match query.limit {
        None => START,
        Some(limit) => match first_of_newest(connection, query, newest, limit)? {
            Some(first) => first,
            None => return Ok(()),
        },
    };
    loop {
        let page = page(connection, query, newest, next)?;
        let is_last = page.len() < PAGE;
        for ((time, number), record) in page {
            next = (time, number.saturating_add(1));
            apply(record)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// A time and a number, by which the records are ordered.
type Place = (i64, i64);

/// Before every record, also one with a number below 0.
const START: Place = (i64::MIN, i64::MIN);

const CONDITION: &str = "time >= ?1 AND time < ?2 AND (?3 IS NULL OR account_id = ?3) \
     AND (?4 IS NULL OR key_id = ?4) AND (?5 IS NULL OR caller = ?5) \
     AND (?6 IS NULL OR domain = ?6) AND number <= ?7 AND (?8 IS NULL OR method IN (SELECT value FROM json_each(?8)))";

/// The records from this place on, at most a page of them, each with its place.
fn page(
    connection: &Connection,
    query: &AuditQuery,
    newest: i64,
    (time, number): Place,
) -> Result<Vec<(Place, ReadRecord)>, StoreError> {
    let sql = format!(
        "SELECT time, substr(caller, 1, 400), substr(method, 1, 400), substr(account_id, 1, 400), key_id, \
             substr(outcome, 1, 400), calls, substr(domain, 1, 400), number, \
             include_subdomains, revision, key_end \
         FROM audit \
         WHERE {CONDITION} AND (time > ?9 OR number >= ?10) ORDER BY time, number LIMIT {PAGE}"
    );
    // The time stands in two conditions, of which the index serves the first.
    let since = query.since.as_micros().max(time);
    let mut statement = connection.prepare_cached(&sql).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            since,
            until(query),
            query.account_id.as_ref().map(AccountId::as_str),
            query.key_id.map(|id| *id.as_uuid().as_bytes()),
            query.caller.as_ref().map(CallerName::as_str),
            query.domain.as_ref().map(Domain::as_str),
            newest,
            methods(query),
            time,
            number,
        ])
        .map_err(store_error)?;
    let mut page = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let place @ (_, number) = (row.get(0)?, row.get(8)?);
        let record = record(row).map_err(|error| Unreadable {
            number,
            why: error.to_string(),
        });
        page.push((place, record));
    }
    Ok(page)
}

/// The place of the first record of the newest `limit`, or `None` if no record is asked for.
fn first_of_newest(
    connection: &Connection,
    query: &AuditQuery,
    newest: i64,
    limit: u32,
) -> Result<Option<Place>, StoreError> {
    let Some(before) = limit.checked_sub(1) else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT time, number FROM audit WHERE {CONDITION} \
         ORDER BY time DESC, number DESC LIMIT 1 OFFSET ?9"
    );
    let parameters = params![
        query.since.as_micros(),
        until(query),
        query.account_id.as_ref().map(AccountId::as_str),
        query.key_id.map(|id| *id.as_uuid().as_bytes()),
        query.caller.as_ref().map(CallerName::as_str),
        query.domain.as_ref().map(Domain::as_str),
        newest,
        methods(query),
        before,
    ];
    let place = connection.query_row(&sql, parameters, |row| Ok((row.get(0)?, row.get(1)?)));
    // There are fewer records than that.
    Ok(Some(
        place.optional().map_err(store_error)?.unwrap_or(START),
    ))
}

/// The methods to include, as a JSON array. `None` includes all.
fn methods(query: &AuditQuery) -> Option<String> {
    let names: Vec<_> = query.methods.iter().map(MethodName::as_str).collect();
    (!names.is_empty()).then(|| json!(names).to_string())
}

fn until(query: &AuditQuery) -> i64 {
    query.until.map_or(i64::MAX, Timestamp::as_micros)
}

fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    let account_id: Option<String> = row.get(3)?;
    let key_id: Option<[u8; 16]> = row.get(4)?;
    let domain: Option<String> = row.get(7)?;
    Ok(AuditRecord {
        time: time(row, 0)?.ok_or(rusqlite::Error::InvalidQuery)?,
        caller: CallerName::from_stored(row.get(1)?),
        method: MethodName::from_stored(row.get(2)?),
        account_id: account_id.map(AccountId::from_stored),
        key_id: key_id.map(|bytes| KeyId::from_uuid(Uuid::from_bytes(bytes))),
        domain: domain.map(Domain::from_stored),
        include_subdomains: row.get(9)?,
        key_end: match row.get(11)? {
            Some(NEVER) => Some(KeyEnd::Never),
            _ => time(row, 11)?.map(KeyEnd::At),
        },
        revision: row.get(10)?,
        outcome: Outcome::from_stored(row.get(5)?),
        calls: row.get(6)?,
    })
}
