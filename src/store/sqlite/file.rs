//! The database file as a file: its one name, its creation, and the lock file beside it.
//!
//! Promises that two processes never have the file at the same time, by whatever names they know
//! it. Must never open a database file that exists: if a process closes any handle to a file, it
//! loses all the locks that SQLite holds on that file in the same process (POSIX).

use super::errors::cannot_open;
use crate::store::OpenError;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Only the service's own user may read the keys.
const MODE: u32 = 0o600;

/// Creates the file if there is none, and gives its real path, so that a link to it is the same
/// store. The file is created first, because the path of a missing file could come to mean another
/// file.
pub(super) fn create(path: &Path) -> Result<PathBuf, OpenError> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    match created {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            let advice = "make its directory first, and check its permissions";
            return Err(cannot_open(path, error, advice));
        }
        // The file existed, or was created and is closed again.
        _ => {}
    }
    let cannot_find = |error| {
        let advice = "if it is a link, make the file that it leads to first";
        cannot_open(path, error, advice)
    };
    let path = path.canonicalize().map_err(cannot_find)?;
    let metadata = std::fs::metadata(&path).map_err(cannot_find)?;
    let shown = path.display();
    if !metadata.is_file() {
        return Err(OpenError::Address(format!(
            "{shown} is no regular file; give the path of a file"
        )));
    }
    if metadata.nlink() > 1 {
        return Err(OpenError::Address(format!(
            "the file {shown} has a second name (a hard link), and each name would get a \
             write-ahead log of its own; remove one of them"
        )));
    }
    Ok(path)
}

/// Takes the lock that makes this process the only one to have the file. The system releases it
/// when the process ends, however it ends. It is a file beside the database, since SQLite would
/// lose its own locks if this process opened and closed the database file for another purpose.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let advice = "check the permissions of its directory";
    let cannot_lock = |error| cannot_open(path, error, advice);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
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
