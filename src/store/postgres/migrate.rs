//! The migration of a database to this binary's schema.
//!
//! Promises that any number of replicas may start at once: one migrates, and the others wait for
//! it. Must never leave a migration half done: all that are pending are one transaction.

use super::errors::{GRACE, answered_within};
use crate::store::{
    StoreError,
    migrations::{self, Migration, SchemaError, migration},
};
use std::time::Duration;
use tokio_postgres::{Client, GenericClient, Transaction};

pub(super) const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_keys.sql"),
    migration!(2, "0002_replicas.sql"),
    migration!(3, "0003_audit.sql"),
];

/// How long one migration may take, or the wait for another replica that migrates. It may be long,
/// but must have a bound.
const MIGRATION_LIMIT: Duration = Duration::from_secs(300);

pub(super) enum MigrateError {
    Schema(SchemaError),
    Postgres(tokio_postgres::Error),
    NoAnswer(StoreError),
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Applies the migrations that the database needs. `statement_limit` bounds each statement except
/// the migrations themselves.
pub(super) async fn migrate(
    client: &mut Client,
    statement_limit: Duration,
) -> Result<(), MigrateError> {
    let first_look = async {
        warn_of_lost_writes(client).await?;
        pending(client).await
    };
    // Most starts find nothing to do. They must not wait for a lock, and not as long as for one.
    if within(statement_limit, first_look).await?.is_empty() {
        return Ok(());
    }
    let begin = async { Ok(client.transaction().await?) };
    let transaction = within(statement_limit, begin).await?;
    // 1415071059 is "TXKS", which marks this service's locks. 1 is the lock for migrations.
    let lock = format!(
        "SET LOCAL statement_timeout = {}; SELECT pg_advisory_xact_lock(1415071059, 1)",
        MIGRATION_LIMIT.as_millis()
    );
    within(MIGRATION_LIMIT, async {
        Ok(transaction.batch_execute(&lock).await?)
    })
    .await?;
    for migration in within(statement_limit, pending(&transaction)).await? {
        within(MIGRATION_LIMIT, apply(&transaction, migration)).await?;
    }
    let commit = async { Ok(transaction.commit().await?) };
    within(statement_limit, commit).await
}

/// Waits for an answer somewhat longer than the server's own limit, in case the server is gone.
async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, MigrateError>>,
) -> Result<T, MigrateError> {
    let answer = answered_within(limit + GRACE, answer).await;
    answer.unwrap_or_else(|no_answer| Err(MigrateError::NoAnswer(no_answer)))
}

async fn pending(client: &impl GenericClient) -> Result<&'static [Migration], MigrateError> {
    let found = version(client).await?.unwrap_or(0);
    migrations::pending(MIGRATIONS, found).map_err(MigrateError::Schema)
}

async fn apply(transaction: &Transaction<'_>, migration: &Migration) -> Result<(), MigrateError> {
    tracing::info!(migration = migration.name, "migrating the store's schema");
    if migration.number == 1 {
        transaction.batch_execute(CREATE_MIGRATIONS_TABLE).await?;
    }
    transaction.batch_execute(migration.sql).await?;
    transaction
        .execute(
            "INSERT INTO keyservice.migrations (number, name) VALUES ($1, $2)",
            &[&migration.number, &migration.name],
        )
        .await?;
    Ok(())
}

/// The table that records which migrations were applied.
const CREATE_MIGRATIONS_TABLE: &str = "CREATE SCHEMA IF NOT EXISTS keyservice; \
     CREATE TABLE IF NOT EXISTS keyservice.migrations ( \
         number integer PRIMARY KEY, \
         name text NOT NULL, \
         apply_time timestamptz NOT NULL DEFAULT now())";

/// The schema's version, or `None` if there is no schema.
pub(super) async fn version(
    client: &impl GenericClient,
) -> Result<Option<i32>, tokio_postgres::Error> {
    // `to_regclass` would answer from what the session cached at its first query. A migration that
    // another replica has made since would be missing there.
    let exists = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables \
                  WHERE schemaname = 'keyservice' AND tablename = 'migrations')";
    if !client.query_one(exists, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let version = "SELECT max(number) FROM keyservice.migrations";
    client.query_one(version, &[]).await?.try_get(0)
}

/// Only the server can keep the promise that nothing acknowledged is lost.
async fn warn_of_lost_writes(client: &Client) -> Result<(), tokio_postgres::Error> {
    let fsync: String = client
        .query_one("SELECT current_setting('fsync')", &[])
        .await?
        .try_get(0)?;
    if fsync != "on" {
        tracing::warn!(
            "PostgreSQL runs with fsync={fsync}: acknowledged writes may be lost in a crash"
        );
    }
    Ok(())
}
