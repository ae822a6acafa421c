//! The opening of a database file for serving: its connections, its schema, its digest secret.
//!
//! Promises that one process has the file, at this binary's schema and with this digest secret.
//! Must never wait for another process to release the file: opening it fails at once.

use super::{
    errors::cannot_open,
    file, histories, inspect,
    open_files::OpenFiles,
    opening, origin,
    schema::{self, MigrateError},
    untrusted_file,
    worker::Worker,
};
use crate::{
    model::token::Digester,
    store::{OpenError, StoreIdentity, WhenRestored, other_secret},
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, config::DbConfig};
use std::{path::Path, sync::Arc, time::Duration};
use uuid::Uuid;

/// How long another process's lock is waited for.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// To how many bytes the log shrinks once it is in the file. Usually it has some 4 MB when SQLite moves
/// it there. It grows beyond that only while somebody reads it for long.
const LOG_LIMIT: i64 = 16 << 20;

/// How long a start and an end wait for those who read the log.
const CHECKPOINT_LIMIT: Duration = Duration::from_millis(500);

/// A file that is open for serving.
pub(super) struct Opened {
    pub(super) writer: Worker,
    pub(super) looker: Worker,
    pub(super) searcher: Worker,
    pub(super) follower: Worker,
    pub(super) files: Arc<OpenFiles>,
    pub(super) identity: StoreIdentity,
}

pub(super) fn open(
    path: &Path,
    digester: &Digester,
    when_restored: WhenRestored,
) -> Result<Opened, OpenError> {
    let given = std::path::absolute(path)
        .map_err(|error| cannot_open(path, error, "give the path of a file"))?;
    let path = file::create(&given)?;
    let lock = file::lock(&path)?;
    file::refuse_planted(&given, &path)?;
    let found = inspect::find(&path)?;
    let restored = origin::look(&path)?;
    let is_restored = restored.is_some();
    if let Some(restored) = restored
        && when_restored == WhenRestored::Refuse
    {
        return Err(OpenError::Restored(restored));
    }
    // Before anything is written: a start that is refused must leave no log, which the next would take for another's.
    if let Some(stored) = stored_fingerprint(&path)?
        && stored != digester.fingerprint()
    {
        return Err(other_secret(stored));
    }
    found.log(&path);
    let advice =
        "check that it is a keyservice database, and the permissions and free space of its disk";
    let failed = |error: rusqlite::Error| cannot_open(&path, error, advice);
    let mut writer = connect(&path).map_err(failed)?;
    schema::migrate(&mut writer, &path).map_err(|error| match error {
        MigrateError::Schema(error) => error.into(),
        MigrateError::Sqlite(error) => failed(error),
    })?;
    let stored = store_fingerprint(&writer, digester.fingerprint()).map_err(failed)?;
    if stored != digester.fingerprint() {
        return Err(other_secret(stored));
    }
    let store_id = store_id(&writer).map_err(failed)?;
    let histories = histories::histories(&writer).map_err(failed)?;
    if is_restored {
        // From here on, SQLite's own copies look like any other file.
        origin::unmark(&writer).map_err(failed)?;
    }
    let checkpointed = begin(&mut writer).map_err(failed)?;
    let looker = connect(&path).map_err(failed)?;
    let searcher = connect(&path).map_err(failed)?;
    let follower = connect(&path).map_err(failed)?;
    let files = OpenFiles::new(&path, lock, checkpointed)
        .map_err(|lost| cannot_open(&path, lost, "start again when that is done"))?;
    let files = Arc::new(files);
    // Somebody may have put the log or its index there after the first look, before SQLite made its own.
    // From here on, `files` notices another one.
    file::refuse_planted(&given, &path)?;
    file::warn_of_others(&given, &path);
    let start = |name, connection, end: fn(&Connection, &OpenFiles) -> rusqlite::Result<()>| {
        let files = files.clone();
        let end = move |connection: &mut Connection| {
            if let Err(error) = end(connection, &files) {
                tracing::warn!("the database was left as by a process that was killed: {error}");
            }
        };
        Worker::start(name, connection, end)
            .map_err(|error| cannot_open(&path, error, "check the limit on threads"))
    };
    Ok(Opened {
        writer: start("sqlite-writer", writer, close_in_order)?,
        looker: start("sqlite-looker", looker, forbid_checkpoint_if_lost)?,
        searcher: start("sqlite-searcher", searcher, forbid_checkpoint_if_lost)?,
        follower: start("sqlite-follower", follower, forbid_checkpoint_if_lost)?,
        files,
        identity: StoreIdentity {
            store_id,
            own_history: histories.last().map(|last| last.id),
        },
    })
}

/// Begins an opening, and copies the log into the file before and after that: a plain copy of the file
/// then has at least what was stored before, and fits no log of an earlier opening. Gives the last
/// commit of which it is known that the file has it.
///
/// The log is never empty from here on, nor was it before if the last process was killed. So a file that
/// was not closed and has no log has lost it, and not merely never been written to.
fn begin(connection: &mut Connection) -> rusqlite::Result<i64> {
    if !checkpoint(connection, "FULL")? {
        opening::resume(connection)?;
        return Ok(0);
    }
    let commit = opening::begin(connection)?;
    let checkpointed = if checkpoint(connection, "FULL")? {
        commit
    } else {
        0
    };
    // Without this commit, a backup of the file as it was before this opening would fit the log.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    opening::count_commit(&transaction, checkpointed)?;
    transaction.commit()?;
    Ok(checkpointed)
}

/// Copies the log into the file, and tells whether that was done completely. Somebody who reads the log
/// may prevent it. `TRUNCATE` empties the log too.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    connection.busy_timeout(CHECKPOINT_LIMIT)?;
    let pragma = format!("PRAGMA wal_checkpoint({mode})");
    let copied = connection.query_row(&pragma, [], |row| Ok((row.get(1)?, row.get(2)?)));
    connection.busy_timeout(BUSY_LIMIT)?;
    let (frames, checkpointed): (i64, i64) = copied?;
    Ok(frames == checkpointed)
}

/// Moves the log into the file, and says in the file that it is complete.
fn close_in_order(connection: &Connection, files: &OpenFiles) -> rusqlite::Result<()> {
    forbid_checkpoint_if_lost(connection, files)?;
    if may_checkpoint(files) {
        opening::end(connection)?;
        checkpoint(connection, "TRUNCATE")?;
    }
    Ok(())
}

/// What is in the place of a lost database must not get this log. SQLite would move it there when
/// its last connection closes.
fn forbid_checkpoint_if_lost(connection: &Connection, files: &OpenFiles) -> rusqlite::Result<()> {
    forbid_checkpoint(connection, !may_checkpoint(files))
}

fn forbid_checkpoint(connection: &Connection, forbidden: bool) -> rusqlite::Result<()> {
    let setting = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(setting, forbidden).map(drop)
}

fn may_checkpoint(files: &OpenFiles) -> bool {
    match files.check() {
        Ok(()) => true,
        Err(lost) => !lost.forbids_checkpoint(),
    }
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    untrusted_file::distrust(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    // What is forgotten may still be named by a write, a predecessor or a successor.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.busy_timeout(BUSY_LIMIT)?;
    // A start that is refused leaves the log of a process that was killed. Without it, the next start would
    // take the log for lost.
    forbid_checkpoint(&connection, true)?;
    Ok(connection)
}

/// The fingerprint of the digest secret with which the database was first used, if it has one. Changes nothing.
fn stored_fingerprint(path: &Path) -> Result<Option<[u8; 16]>, OpenError> {
    let Some(connection) = inspect::reader(path)? else {
        return Ok(None);
    };
    let read = || {
        let is_there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'digest_key')";
        if !connection.query_row(is_there, [], |row| row.get(0))? {
            return Ok(None);
        }
        let stored = "SELECT fingerprint FROM digest_key";
        connection
            .query_row(stored, [], |row| row.get(0))
            .optional()
    };
    read().map_err(|error: rusqlite::Error| cannot_open(path, error, inspect::ADVICE))
}

/// Stores the fingerprint if the file has none, and gives the one that is stored.
fn store_fingerprint(connection: &Connection, fingerprint: [u8; 16]) -> rusqlite::Result<[u8; 16]> {
    connection.execute(
        "INSERT INTO digest_key (only_row, fingerprint) VALUES (1, ?1) ON CONFLICT DO NOTHING",
        [fingerprint],
    )?;
    connection.query_row("SELECT fingerprint FROM digest_key", [], |row| row.get(0))
}

/// The id of the store, which every copy of it has too.
pub(super) fn store_id(connection: &Connection) -> rusqlite::Result<Uuid> {
    let stored = "SELECT store_id FROM store_identity";
    connection.query_row(stored, [], |row| row.get(0).map(Uuid::from_bytes))
}
