//! The errors of a store that cannot be opened, for serving or for reading.
//!
//! Promises that each error says what to do. Must never show a password of the store's address.

use super::{Cause, RestoredStore, SchemaError, StoreError};
use std::io;

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address cannot be used.
    #[error("--store: {0}")]
    Address(String),
    /// There is no store to read.
    #[error("there is no store at {0}; check --store (KEYSERVICE_STORE)")]
    Missing(String),
    /// There is no store, and none may be created.
    #[error(
        "there is no store at {0}; check --store (KEYSERVICE_STORE). To create one there, give --create-store true \
         (KEYSERVICE_CREATE_STORE)"
    )]
    NotCreated(String),
    /// It was restored from a backup, or copied, and nobody has accepted that.
    #[error(
        "{0}. Run `keyservice accept-restore` with the same --store (KEYSERVICE_STORE) when it is to be served all \
         the same; the page docs/backup.md says what to do before and after"
    )]
    Restored(RestoredStore),
    /// Another process has the file.
    #[error(
        "{path} is in use by another keyservice process{holder}; an SQLite store serves one process \
         at a time: stop the other one, or give --store another file"
    )]
    InUse {
        /// The database file.
        path: String,
        /// ` (process 123)`, where that is known.
        holder: String,
    },
    /// SQLite would apply this log, which would undo a restore or destroy the database.
    #[error(
        "{0}-wal does not belong to {0}: it has later writes, or those of another database. Put back the database that \
         this log belongs to. If that is lost and {0} is a backup, move it elsewhere and give it to `keyservice \
         restore`, which keeps the log, and has you accept that later writes are missing"
    )]
    ForeignLog(String),
    /// A new database would delete this log.
    #[error(
        "{0} is missing or empty, but {0}-wal has writes of a database: put back that database. If it is lost, give a \
         backup to `keyservice restore`, which keeps the log"
    )]
    LogWithoutDatabase(String),
    /// It is gone when that process ends.
    #[error(
        "{path} was deleted while {holder} has it open, and is lost when that process ends: save it first, as the \
         process says in its log. To go on without it, stop that process"
    )]
    Deleted {
        /// The database file.
        path: String,
        /// `process 123`, where that is known.
        holder: String,
    },
    /// Another user may have put the file there.
    #[error(
        "{0} belongs to user {1}, and its folder lets everybody create files: if it is yours, make the \
         service's user its owner, and keep it in a folder that only this user may write to"
    )]
    Planted(String, u32),
    /// The schema does not fit this binary.
    #[error("{0}")]
    Schema(#[from] SchemaError),
    /// The tokens in it were digested with another secret.
    #[error("the keys in this store were made {0}, or every token would be denied")]
    OtherDigestSecret(&'static str),
    /// The database is not fit for this service.
    #[error("cannot use the store {what}: {problem}; {remedy}")]
    Unfit {
        /// The store's address, without its password.
        what: String,
        /// What is not as it must be.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The driver could not open it.
    #[error("cannot open the store {what}: {cause}; {advice}")]
    Driver {
        /// The store's address, without its password.
        what: String,
        /// What the driver said.
        #[source]
        cause: Cause,
        /// What to do.
        advice: &'static str,
    },
}

/// Audit records could not be read or printed.
#[derive(Debug, thiserror::Error)]
pub enum ReadAuditError {
    /// The store could not be opened for reading.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Some of them are not as this service writes them.
    #[error(
        "{0} of the records cannot be read, and their lines say why; all others were printed. Look at them \
         in the table audit, by their numbers, to find out who has written or damaged them"
    )]
    Unreadable(u64),
    /// The output did not take them.
    #[error("cannot print the records: {0}")]
    Print(#[from] io::Error),
}

/// The error for a store with this fingerprint, which says as much of the mismatch as is known.
#[must_use]
pub(crate) fn other_secret(digest_key_fingerprint: [u8; 16]) -> OpenError {
    let unkeyed = crate::model::token::Digester::new(None).fingerprint();
    OpenError::OtherDigestSecret(if digest_key_fingerprint == unkeyed {
        "without a digest secret; start without --digest-secret-file (KEYSERVICE_DIGEST_SECRET_FILE)"
    } else {
        "with another digest secret; start with the same --digest-secret-file \
         (KEYSERVICE_DIGEST_SECRET_FILE) as when it was first used"
    })
}
