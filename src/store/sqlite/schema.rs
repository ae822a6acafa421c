//! The schema of a database file: by what a file is recognised, and its migrations.
//!
//! Promises that the migrations that a file needs are one transaction, so that none is left half
//! done.

use super::origin;
use crate::store::migrations::{self, Migration, SchemaError, migration};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// "TXKS", by which a file says that it is this program's, in the field that SQLite's format has
/// for that. Never changes.
pub(super) const APPLICATION_ID: i32 = 0x5458_4b53;

pub(super) const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_keys.sql"),
    migration!(2, "0002_audit.sql"),
    migration!(3, "0003_opening.sql"),
    migration!(4, "0004_domains.sql"),
    migration!(5, "0005_audit_subdomains.sql"),
    migration!(6, "0006_key_life.sql"),
    migration!(7, "0007_audit_revision.sql"),
    migration!(8, "0008_last_used.sql"),
    migration!(9, "0009_labels.sql"),
    migration!(10, "0010_key_filters.sql"),
    migration!(11, "0011_batch_revoke.sql"),
    migration!(12, "0012_key_limit.sql"),
    migration!(13, "0013_clock_look.sql"),
    migration!(14, "0014_unrevoked_by_domain.sql"),
    migration!(15, "0015_origin.sql"),
    migration!(16, "0016_audit_key_end.sql"),
    migration!(17, "0017_histories.sql"),
];

pub(super) enum MigrateError {
    Schema(SchemaError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Brings the file to this binary's schema.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), MigrateError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    let pending = migrations::pending(MIGRATIONS, found).map_err(MigrateError::Schema)?;
    for migration in pending {
        tracing::info!(migration = migration.name, "migrating the store's schema");
        transaction.execute_batch(migration.sql)?;
        transaction.pragma_update(None, "user_version", migration.number)?;
    }
    if found < origin::SINCE {
        origin::mark(&transaction, path)?;
    }
    transaction.commit()?;
    Ok(())
}
