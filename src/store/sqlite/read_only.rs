//! A connection that only reads a database file, beside whoever serves it.
//!
//! Must never change or create the file.

use super::untrusted_file;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};
use std::{os::unix::ffi::OsStrExt, path::Path};

/// Connects with a parameter of SQLite's URIs (<https://www.sqlite.org/uri.html>), such as
/// `immutable=1`. SQLite looks at the file only when something is read.
pub(super) fn connect(path: &Path, parameter: &str) -> rusqlite::Result<Connection> {
    let path = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{path}?{parameter}"), flags)?;
    untrusted_file::distrust_and_read(&connection)?;
    Ok(connection)
}
