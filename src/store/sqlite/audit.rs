//! The audit records in a database file: appending them, and reading them beside a running service.
//!
//! Promises that reading neither creates nor changes a file, and keeps no service from opening the file
//! or from copying its write-ahead log into it. No transaction is open while records are handed over: a
//! person may read them in a pager for hours. Must never hold more than a page of records in memory.

use super::{
    errors::{cannot_open, not_ours, store_error},
    file, read_only,
    rows::time,
    schema::{APPLICATION_ID, MIGRATIONS},
};
use crate::{
    file_access::NOT_REGULAR,
    model::{
        account::AccountId,
        audit_record::{AuditQuery, AuditRecord, MethodName, Outcome},
        caller_name::CallerName,
        domain::Domain,
        key::KeyId,
        time::Timestamp,
    },
    store::{
        ApplyRecord, Cause, OpenError, ReadAuditError, ReadRecord, StoreError, Unreadable,
        migrations,
    },
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::{io, os::unix::fs::MetadataExt, path::Path, thread, time::Duration};
use uuid::Uuid;

pub(super) fn append(connection: &Connection, record: &AuditRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO audit (time, caller, method, account_id, key_id, outcome, calls, domain, \
                 include_subdomains, revision) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
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
        ])?;
    Ok(())
}

/// How often the opening is tried, and the pause between, so that a service may start or stop while the file is
/// opened. A service that writes is in the middle of it for moments too, and for longer on a busy machine: the log's
/// index cannot be read then.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The advice in the error for a file that cannot be read.
const ADVICE: &str = "check that it is a keyservice database and its permissions, and try again if \
                      a service has just started or stopped";

/// Hands the records to `apply` in order of time, as of one moment. Blocks.
pub fn read(
    path: &Path,
    query: &AuditQuery,
    apply: &mut ApplyRecord<'_>,
) -> Result<(), ReadAuditError> {
    let given = std::path::absolute(path).map_err(|error| cannot_open(path, error, ADVICE))?;
    let own_path = path.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing(format!("sqlite:{}", path.display())),
        _ => cannot_open(path, error, ADVICE),
    })?;
    let path = own_path.as_path();
    let unreadable = |cause: Cause| cannot_open(path, cause, ADVICE);
    // If the file is a pipe, SQLite would wait until another process writes to it.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(unreadable(NOT_REGULAR.into()).into());
    }
    let refuse_planted = || {
        file::refuse_planted(&given, path)?;
        file::refuse_other_owners(path)
    };
    refuse_planted()?;
    let (source, connection) = open(path).map_err(unreadable)?;
    // Somebody may have put a file there after the first look.
    refuse_planted()?;
    let number = |pragma| -> Result<i32, OpenError> {
        let read = connection.pragma_query_value(None, pragma, |row| row.get(0));
        read.map_err(|error| unreadable(error.into()))
    };
    if number("application_id")? != APPLICATION_ID {
        return Err(not_ours(path).into());
    }
    let found = number("user_version")?;
    migrations::check_current(MIGRATIONS, found).map_err(OpenError::Schema)?;
    if !is_plain_table(&connection).map_err(|error| unreadable(error.into()))? {
        return Err(not_ours(path).into());
    }
    select(&connection, query, apply)?;
    if source != Source::Live
        && Source::of(path).map_err(|error| unreadable(error.into()))? != source
    {
        let cause = "a service began to write to it meanwhile";
        return Err(cannot_open(path, cause, "run the command again").into());
    }
    Ok(())
}

/// Whether the records are in a table. A virtual one or a view would compute them.
fn is_plain_table(connection: &Connection) -> rusqlite::Result<bool> {
    let all = "SELECT count(*), \
                   count(*) FILTER (WHERE type = 'table' AND rootpage > 0 AND sql LIKE 'CREATE TABLE %') \
               FROM sqlite_schema WHERE lower(name) = 'audit'";
    let found: (i64, i64) = connection.query_row(all, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found == (1, 1))
}

/// How a file is read without writing anything, and without the lock of a service, which would keep
/// one from starting.
#[derive(PartialEq)]
enum Source {
    /// The file has a write-ahead log, from a service that runs or has crashed. SQLite's own locks
    /// order this reading and the service's writing.
    Live,
    /// The file has no log, as after a service that was stopped. SQLite would create a log in order
    /// to read. Told that the file does not change, it creates none, so whoever reads must check
    /// afterwards that the file did not change.
    AtRest { modify_nanos: i128, len: u64 },
}

impl Source {
    fn of(path: &Path) -> io::Result<Self> {
        if file::beside(path, "-wal").try_exists()? {
            return Ok(Self::Live);
        }
        let metadata = path.metadata()?;
        let nanos = i128::from(metadata.mtime()) * 1_000_000_000;
        Ok(Self::AtRest {
            modify_nanos: nanos + i128::from(metadata.mtime_nsec()),
            len: metadata.len(),
        })
    }

    fn connect(&self, path: &Path) -> rusqlite::Result<Connection> {
        let parameter = match self {
            Self::Live => "readonly_shm=1",
            Self::AtRest { .. } => "immutable=1",
        };
        let connection = read_only::connect(path, parameter)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch("SELECT count(*) FROM sqlite_schema")?;
        Ok(connection)
    }
}

fn open(path: &Path) -> Result<(Source, Connection), Cause> {
    let attempt = || {
        let source = Source::of(path)?;
        let connection = source.connect(path)?;
        Ok((source, connection))
    };
    let mut opened = attempt();
    for _ in 1..ATTEMPTS {
        if opened.is_ok() {
            break;
        }
        thread::sleep(PAUSE);
        opened = attempt();
    }
    opened
}

/// How many records one transaction reads.
const PAGE: usize = 1000;

/// Reads page by page. Records are never changed, so those that are there at first are as of one
/// moment, except that old ones may be deleted meanwhile.
fn select(
    connection: &Connection,
    query: &AuditQuery,
    apply: &mut ApplyRecord<'_>,
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
     AND (?6 IS NULL OR domain = ?6) AND number <= ?7";

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
             include_subdomains, revision \
         FROM audit \
         WHERE {CONDITION} AND (time > ?8 OR number >= ?9) ORDER BY time, number LIMIT {PAGE}"
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
         ORDER BY time DESC, number DESC LIMIT 1 OFFSET ?8"
    );
    let parameters = params![
        query.since.as_micros(),
        until(query),
        query.account_id.as_ref().map(AccountId::as_str),
        query.key_id.map(|id| *id.as_uuid().as_bytes()),
        query.caller.as_ref().map(CallerName::as_str),
        query.domain.as_ref().map(Domain::as_str),
        newest,
        before,
    ];
    let place = connection.query_row(&sql, parameters, |row| Ok((row.get(0)?, row.get(1)?)));
    // There are fewer records than that.
    Ok(Some(
        place.optional().map_err(store_error)?.unwrap_or(START),
    ))
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
        revision: row.get(10)?,
        outcome: Outcome::from_stored(row.get(5)?),
        calls: row.get(6)?,
    })
}
