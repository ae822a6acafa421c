//! Owns what keeps a store from being opened, to serve from it or to read it.
//! Promises that each error says what to do.
//! Must never show a password of the store's address.

use super::{Cause, SchemaError, StoreError};
use std::io;

/// A store could not be opened. Each variant says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address makes no sense.
    #[error("--store: {0}")]
    Address(String),
    /// There is none to read.
    #[error("there is no store at {0}; check --store (KEYSERVICE_STORE)")]
    Missing(String),
    /// Another process has it.
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
    /// The schema does not fit this binary.
    #[error("{0}")]
    Schema(#[from] SchemaError),
    /// The tokens in it were digested with another secret.
    #[error(
        "the keys in this store were made with {0}; start with the same --digest-secret-file \
         (KEYSERVICE_DIGEST_SECRET_FILE) as when it was first used, or every token would be denied"
    )]
    OtherDigestSecret(&'static str),
    /// The driver could not open it.
    #[error("cannot open the store {what}: {cause}; {advice}")]
    Driver {
        /// Which, without its password.
        what: String,
        /// What the driver said.
        #[source]
        cause: Cause,
        /// What to do.
        advice: &'static str,
    },
}

/// Audit records could not be read, or not handed over.
#[derive(Debug, thiserror::Error)]
pub enum ReadAuditError {
    /// The store could not be opened for reading.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever takes them.
    #[error("cannot print the records: {0}")]
    Print(#[from] io::Error),
}

/// What [`OpenError::OtherDigestSecret`] says of a mismatch, as far as it can be told.
#[must_use]
pub(crate) fn other_secret(digest_key_fingerprint: [u8; 16]) -> OpenError {
    let unkeyed = crate::model::token::Digester::new(None).fingerprint();
    OpenError::OtherDigestSecret(if digest_key_fingerprint == unkeyed {
        "another digest secret than none"
    } else {
        "another digest secret, or with none"
    })
}
