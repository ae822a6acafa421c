//! The opening of a database file for serving: its connections, its schema, its digest secret.
//!
//! Promises that one process has the file, at this binary's schema and with this digest secret.
//! Must never wait for another process to release the file: opening it fails at once.

use super::{
    errors::{cannot_open, not_ours},
    file,
    schema::{self, APPLICATION_ID, MigrateError},
    worker::Worker,
};
use crate::{
    model::token::Digester,
    store::{OpenError, other_secret},
};
use rusqlite::Connection;
use std::{fs::File, path::Path, time::Duration};

/// A file that is open for serving.
pub(super) struct Opened {
    pub(super) writer: Worker,
    pub(super) reader: Worker,
    pub(super) follower: Worker,
    /// Held for as long as the file is open.
    pub(super) lock: File,
}

pub(super) fn open(path: &Path, digester: &Digester) -> Result<Opened, OpenError> {
    let path = std::path::absolute(path)
        .map_err(|error| cannot_open(path, error, "give the path of a file"))?;
    let path = file::create(&path)?;
    let lock = file::lock(&path)?;
    let advice =
        "check that it is a keyservice database, and the permissions and free space of its disk";
    if !is_ours_or_empty(&path).map_err(|error| cannot_open(&path, error, advice))? {
        return Err(not_ours(&path));
    }
    let mut writer = connect(&path).map_err(|error| cannot_open(&path, error, advice))?;
    schema::migrate(&mut writer).map_err(|error| match error {
        MigrateError::Schema(error) => error.into(),
        MigrateError::Sqlite(error) => cannot_open(&path, error, advice),
    })?;
    let stored = store_fingerprint(&writer, digester.fingerprint())
        .map_err(|error| cannot_open(&path, error, advice))?;
    if stored != digester.fingerprint() {
        return Err(other_secret(stored));
    }
    let connect = || connect(&path).map_err(|error| cannot_open(&path, error, advice));
    let (reader, follower) = (connect()?, connect()?);
    let start = |name, connection| {
        Worker::start(name, connection)
            .map_err(|error| cannot_open(&path, error, "check the limit on threads"))
    };
    Ok(Opened {
        writer: start("sqlite-writer", writer)?,
        reader: start("sqlite-reader", reader)?,
        follower: start("sqlite-follower", follower)?,
        lock,
    })
}

/// Reads the file by a connection of its own, which changes nothing in another program's file. A
/// file of ours that was never migrated has no tables.
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

/// Stores the fingerprint if the file has none, and gives the one that is stored.
fn store_fingerprint(connection: &Connection, fingerprint: [u8; 16]) -> rusqlite::Result<[u8; 16]> {
    connection.execute(
        "INSERT INTO digest_key (only_row, fingerprint) VALUES (1, ?1) ON CONFLICT DO NOTHING",
        [fingerprint],
    )?;
    connection.query_row("SELECT fingerprint FROM digest_key", [], |row| row.get(0))
}
