//! A look at a database before it is opened for serving: whose it is, and whether it is complete.
//!
//! Promises that a database of another program, or one with a log that does not belong to it, is
//! refused and not changed.

use super::{
    errors::{cannot_open, not_ours},
    file,
    opening::Opening,
    read_only,
    schema::APPLICATION_ID,
    wal_index::LOG_HEADER_LEN,
};
use crate::store::OpenError;
use rusqlite::{Connection, ErrorCode};
use std::{io, path::Path};

/// What was found in the database's place.
pub(super) enum Found {
    /// Nothing, or an empty file.
    Nothing,
    /// A database with everything that was stored in it, as far as can be known.
    Complete,
    /// The log has the last commits: the last process was killed, or somebody read the log when it was
    /// stopped.
    WithLog,
    /// A complete copy that SQLite has made, as by `.backup`.
    Copy,
    /// A file that a process had open, without the log that it had then.
    WithoutItsLog,
}

/// Looks at the database, and refuses it if it is not to be served.
pub(super) fn find(path: &Path) -> Result<Found, OpenError> {
    let unreadable = |error: io::Error| cannot_open(path, error, "check its permissions");
    let is_empty = path.metadata().map_err(unreadable)?.len() == 0;
    let has_log = has_log(path).map_err(unreadable)?;
    if is_empty {
        return if has_log {
            Err(OpenError::LogWithoutDatabase(path.display().to_string()))
        } else {
            Ok(Found::Nothing)
        };
    }
    let advice = "check that it is a keyservice database, and the permissions of its directory";
    let unreadable = |error: rusqlite::Error| cannot_open(path, error, advice);
    // The file without its log has no schema if a process was killed soon after it created the file.
    let alone = Look::at(path, "immutable=1");
    if !has_log {
        let alone = alone.map_err(unreadable)?;
        return alone.whose(path);
    }
    let with_log = match (&alone, Look::at(path, "mode=ro")) {
        (Ok(alone), Err(error)) if alone.opening.is_some() && is_corrupt(&error) => {
            return Err(OpenError::ForeignLog(path.display().to_string()));
        }
        (_, with_log) => with_log.map_err(unreadable)?,
    };
    let alone = alone.ok().and_then(|look| look.opening);
    let fits = match (&alone, &with_log.opening) {
        (Some(alone), Some(with_log)) => alone.fits(with_log),
        (Some(_), None) => false,
        // A file from before there was such a row.
        (None, _) => true,
    };
    if !fits {
        return Err(OpenError::ForeignLog(path.display().to_string()));
    }
    with_log.whose(path)?;
    Ok(Found::WithLog)
}

/// Whether there is a log with a frame in it.
pub(super) fn has_log(path: &Path) -> io::Result<bool> {
    match file::beside(path, "-wal").metadata() {
        Ok(log) => Ok(log.len() > LOG_HEADER_LEN),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What to do if a database cannot be read.
pub(super) const ADVICE: &str =
    "check that it is a keyservice database, its permissions and those of its folder";

/// A connection that changes nothing, unless the database is empty. Nobody may have it open for writing.
pub(super) fn reader(path: &Path) -> Result<Option<Connection>, OpenError> {
    let unreadable = |error: io::Error| cannot_open(path, error, ADVICE);
    let has_log = has_log(path).map_err(unreadable)?;
    if path.metadata().map_err(unreadable)?.len() == 0 && !has_log {
        return Ok(None);
    }
    // Without a log, SQLite would make files beside the database even for a look.
    let parameter = if has_log { "mode=ro" } else { "immutable=1" };
    let connection = read_only::connect(path, parameter);
    connection
        .map(Some)
        .map_err(|error| cannot_open(path, error, ADVICE))
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        // A page that is read as a row of another table.
        || !matches!(error, rusqlite::Error::SqliteFailure(..))
}

struct Look {
    is_ours: bool,
    is_empty: bool,
    opening: Option<Opening>,
}

impl Look {
    fn at(path: &Path, parameter: &str) -> rusqlite::Result<Self> {
        let connection = read_only::connect(path, parameter)?;
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
        let (application_id, version): (i32, i32) =
            (number("application_id")?, number("user_version")?);
        let tables = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = connection.query_row(tables, [], |row| row.get(0))?;
        let is_ours = application_id == APPLICATION_ID;
        Ok(Self {
            is_ours,
            is_empty: (application_id, version, tables) == (0, 0, 0),
            opening: if is_ours {
                Opening::read(&connection)?
            } else {
                None
            },
        })
    }

    fn whose(&self, path: &Path) -> Result<Found, OpenError> {
        match &self.opening {
            _ if self.is_empty => Ok(Found::Nothing),
            _ if !self.is_ours => Err(not_ours(path)),
            Some(opening) if opening.is_copy_by_sqlite() => Ok(Found::Copy),
            Some(opening) if opening.may_lack_its_log() => Ok(Found::WithoutItsLog),
            _ => Ok(Found::Complete),
        }
    }
}

impl Found {
    /// Tells the operator. How many keys there are is logged when they are loaded.
    pub(super) fn log(&self, path: &Path) {
        let path = path.display();
        match self {
            // Whoever opens the store says so, of any store.
            Self::Nothing => {}
            Self::Complete => tracing::info!(%path, "found the database"),
            Self::WithLog => tracing::info!(
                %path,
                "found the database and its write-ahead log: the last process was killed, or was \
                 stopped while somebody read the log"
            ),
            Self::Copy => tracing::info!(%path, "found a copy of a database, made by SQLite"),
            Self::WithoutItsLog => tracing::warn!(
                %path,
                "the database was open when it was copied, or its write-ahead log was deleted: the \
                 last writes may be missing, revocations too. Only if SQLite's own tools have opened \
                 it since is nothing missing. To copy a database in use, use `.backup` of sqlite3"
            ),
        }
    }
}
