//! Owns the opening of an SQLite store: its lock, its connections, its schema.
//! Promises that one process has the file, at this binary's schema and digest secret.
//! Must never wait for another process to let go: it is refused at once.

use super::{SqliteStore, worker::Worker};
use crate::{
    store::{
        Cause, OpenError,
        migrations::{self, Migration, migration},
        other_secret,
    },
    token::Digester,
};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

const MIGRATIONS: &[Migration] = &[migration!(1, "0001_keys.sql")];

pub(super) fn open(path: &Path, digester: &Digester) -> Result<SqliteStore, OpenError> {
    let path = std::path::absolute(path)
        .map_err(|error| cannot_open(path, error, "give the path of a file"))?;
    let path = canonical(&path)?;
    let lock = lock(&path)?;
    let advice =
        "check that it is a keyservice database, and the permissions and free space of its disk";
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

/// The file's own path, so that a link to it is the same store.
fn canonical(path: &Path) -> Result<PathBuf, OpenError> {
    let advice = "make its directory first, and check its permissions";
    if path.exists() {
        return path
            .canonicalize()
            .map_err(|error| cannot_open(path, error, advice));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(OpenError::Address(format!("{} is no file", path.display())));
    };
    let directory = directory
        .canonicalize()
        .map_err(|error| cannot_open(path, error, advice))?;
    Ok(directory.join(name))
}

/// Takes the lock that makes this process the file's only one. The system gives it up when the
/// process ends, however it ends. A file beside the database, since SQLite's own locks on the
/// database file would fall if this process opened and closed it for another purpose.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let advice = "check the permissions of its directory";
    let cannot_lock = |error| cannot_open(path, error, advice);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(cannot_lock)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).map_err(cannot_lock)?;
            file.rewind().map_err(cannot_lock)?;
            write!(file, "{}", std::process::id()).map_err(cannot_lock)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && pid.parse::<u32>().is_ok();
            let holder = if known {
                format!(" (process {pid})")
            } else {
                String::new()
            };
            Err(OpenError::InUse {
                path: path.display().to_string(),
                holder,
            })
        }
        Err(TryLockError::Error(error)) => Err(cannot_lock(error)),
    }
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

fn cannot_open(path: &Path, cause: impl Into<Cause>, advice: &'static str) -> OpenError {
    OpenError::Driver {
        what: format!("sqlite:{}", path.display()),
        cause: cause.into(),
        advice,
    }
}
