//! The errors of the SQLite store, in words that say what to do.

use super::open_files::Lost;
use crate::store::{Cause, OpenError, ReplicationError, StoreError};
use rusqlite::ErrorCode;
use std::path::Path;

/// What to do about a database that SQLite finds damaged, or takes for no database.
const DAMAGED: &str = "check that it is a keyservice database; if it is one and was damaged, give a backup to \
                       `keyservice restore`, which keeps what is left of it";

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
        _ if is_damage(&error) => StoreError::Failed(format!("{error}; {DAMAGED}").into()),
        _ => StoreError::Failed(error.into()),
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
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
    let cause = cause.into();
    let is_damaged = cause.downcast_ref().is_some_and(is_damage);
    OpenError::Driver {
        what: format!("sqlite:{}", path.display()),
        cause,
        advice: if is_damaged { DAMAGED } else { advice },
    }
}
