//! Owns the opening of an SQLite store: its connections, its schema, its digest secret.
//! Promises that one process has the file, at this binary's schema and digest secret.
//! Must never wait for another process to let go: it is refused at once.

use super::{SqliteStore, file, worker::Worker};
use crate::{
    model::token::Digester,
    store::{
        Cause, OpenError,
        migrations::{self, Migration, migration},
        other_secret,
    },
};
use rusqlite::{Connection, TransactionBehavior};
use std::{path::Path, time::Duration};

/// "TXKS", by which a file says that it is this program's, in the place that SQLite's format has
/// for that. Never changes.
pub(super) const APPLICATION_ID: i32 = 0x5458_4b53;

pub(super) const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_keys.sql"),
    migration!(2, "0002_audit.sql"),
];

pub(super) fn open(path: &Path, digester: &Digester) -> Result<SqliteStore, OpenError> {
    let path = std::path::absolute(path)
        .map_err(|error| cannot_open(path, error, "give the path of a file"))?;
    let path = file::make(&path)?;
    let lock = file::lock(&path)?;
    let advice =
        "check that it is a keyservice database, and the permissions and free space of its disk";
    if !is_ours_or_empty(&path).map_err(|error| cannot_open(&path, error, advice))? {
        return Err(not_ours(&path));
    }
    let mut writer = connect(&path).map_err(|error| cannot_open(&path, error, advice))?;
    migrate(&mut writer).map_err(|error| match error {
        MigrateError::Schema(error) => error.into(),
        MigrateError::Sqlite(error) => cannot_open(&path, error, advice),
    })?;
    let kept = keep_fingerprint(&writer, digester.fingerprint())
        .map_err(|error| cannot_open(&path, error, advice))?;
    if kept != digester.fingerprint() {
        return Err(other_secret(kept));
    }
    let reader = connect(&path).map_err(|error| cannot_open(&path, error, advice))?;
    let start = |name, connection| {
        Worker::start(name, connection)
            .map_err(|error| cannot_open(&path, error, "check the limit on threads"))
    };
    Ok(SqliteStore {
        writer: start("sqlite-writer", writer)?,
        reader: start("sqlite-reader", reader)?,
        _lock: lock,
    })
}

/// Looked at by a connection of its own, which changes nothing in another program's file. One of
/// ours that was never migrated has no tables.
fn is_ours_or_empty(path: &Path) -> rusqlite::Result<bool> {
    let connection = Connection::open(path)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
    let application_id: i32 = number("application_id")?;
    let user_version: i32 = number("user_version")?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_empty = (application_id, user_version, tables) == (0, 0, 0);
    Ok(application_id == APPLICATION_ID || is_empty)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

enum MigrateError {
    Schema(migrations::SchemaError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn migrate(connection: &mut Connection) -> Result<(), MigrateError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    let pending = migrations::pending(MIGRATIONS, found).map_err(MigrateError::Schema)?;
    for migration in pending {
        tracing::info!(migration = migration.name, "migrating the store's schema");
        transaction.execute_batch(migration.sql)?;
        transaction.pragma_update(None, "user_version", migration.number)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Keeps the fingerprint if the store has none, and gives the one it keeps.
fn keep_fingerprint(connection: &Connection, fingerprint: [u8; 16]) -> rusqlite::Result<[u8; 16]> {
    connection.execute(
        "INSERT INTO digest_key (only_row, fingerprint) VALUES (1, ?1) ON CONFLICT DO NOTHING",
        [fingerprint],
    )?;
    connection.query_row("SELECT fingerprint FROM digest_key", [], |row| row.get(0))
}

pub(super) fn not_ours(path: &Path) -> OpenError {
    OpenError::Address(format!(
        "{} is not a keyservice database; give the path of one, or to serve of a new file",
        path.display()
    ))
}

pub(super) fn cannot_open(path: &Path, cause: impl Into<Cause>, advice: &'static str) -> OpenError {
    OpenError::Driver {
        what: format!("sqlite:{}", path.display()),
        cause: cause.into(),
        advice,
    }
}
