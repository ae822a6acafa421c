//! The errors of the SQLite store, in words that say what to do.

use super::open_files::Lost;
use crate::store::{Cause, OpenError, ReplicationError, StoreError};
use rusqlite::ErrorCode;
use std::path::Path;

/// A full disk, an I/O error and a locked file may pass. Any other error will not pass by itself.
pub(super) fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly,
        ) => StoreError::Unavailable(error.into()),
        _ => StoreError::Failed(error.into()),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        store_error(error)
    }
}

/// Somebody may bring the files back.
impl From<Lost> for StoreError {
    fn from(lost: Lost) -> Self {
        Self::Unavailable(lost.into())
    }
}

impl From<Lost> for ReplicationError {
    fn from(lost: Lost) -> Self {
        Self::StoreLost(lost.into())
    }
}

pub(super) fn not_ours(path: &Path) -> OpenError {
    OpenError::Address(format!(
        "{} is not a keyservice database; give the path of a keyservice database; `serve` also takes a new file",
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
