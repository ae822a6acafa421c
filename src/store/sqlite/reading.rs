//! The reading of a database file beside whoever serves it.
//!
//! Promises that it neither creates nor changes a file, and keeps no service from opening the file or from copying
//! its write-ahead log into it, except while a transaction is open.

use super::{
    errors::{cannot_open, not_ours},
    file, read_only,
    schema::APPLICATION_ID,
};
use crate::{
    file_access::NOT_REGULAR,
    store::{Cause, OpenError},
};
use rusqlite::Connection;
use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How often the opening is tried, and the pause between, so that a service may start or stop while the file is
/// opened. A service that writes is in the middle of it for moments too, and for longer on a busy machine: the log's
/// index cannot be read then.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The advice in the error for a file that cannot be read.
const ADVICE: &str = "check that it is a keyservice database and its permissions, and try again if \
                      a service has just started or stopped";

/// A database of this program that is open for reading.
pub(super) struct Reading {
    path: PathBuf,
    source: Source,
    connection: Connection,
    schema: i32,
}

impl Reading {
    /// Opens a file, or refuses it. Blocks.
    pub(super) fn begin(path: &Path) -> Result<Self, OpenError> {
        let given = std::path::absolute(path).map_err(|error| cannot_open(path, error, ADVICE))?;
        file::refuse_deleted(&given)?;
        let own_path = path.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Missing(format!("sqlite:{}", path.display())),
            _ => cannot_open(path, error, ADVICE),
        })?;
        let path = own_path.as_path();
        let unreadable = |cause: Cause| cannot_open(path, cause, ADVICE);
        // If the file is a pipe, SQLite would wait until another process writes to it.
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            return Err(unreadable(NOT_REGULAR.into()));
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
            return Err(not_ours(path));
        }
        let schema = number("user_version")?;
        Ok(Self {
            path: own_path,
            source,
            connection,
            schema,
        })
    }

    /// The real path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The version of its schema.
    pub(super) fn schema(&self) -> i32 {
        self.schema
    }

    /// The error for a file that cannot be read after all.
    pub(super) fn failed(&self, cause: impl Into<Cause>) -> OpenError {
        cannot_open(&self.path, cause, ADVICE)
    }

    /// Fails if the file may have changed while it was read.
    pub(super) fn end(self) -> Result<(), OpenError> {
        let is_same = self.source == Source::Live
            || Source::of(&self.path).map_err(|error| self.failed(error))? == self.source;
        if is_same {
            return Ok(());
        }
        let cause = "a service began to write to it meanwhile";
        Err(cannot_open(&self.path, cause, "run the command again"))
    }
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
