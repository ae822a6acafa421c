//! Owns bringing a database to this binary's schema.
//! Promises that any number of replicas may start at once: one migrates, the others wait for it.
//! Must never leave a migration half done: all that are pending are one transaction.

use crate::store::migrations::{self, Migration, SchemaError, migration};
use deadpool_postgres::{Client, GenericClient, Transaction};

pub(super) const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_keys.sql"),
    migration!(2, "0002_replicas.sql"),
    migration!(3, "0003_audit.sql"),
];

pub(super) enum MigrateError {
    Schema(SchemaError),
    Postgres(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

pub(super) async fn migrate(client: &mut Client) -> Result<(), MigrateError> {
    warn_of_lost_writes(client).await?;
    let transaction = client.transaction().await?;
    // 1415071059 is "TXKS", for this service's locks; 1 is the migrations'. The wait for another
    // replica's migration may be long, but shall end.
    transaction
        .batch_execute(
            "SET LOCAL statement_timeout = '5min'; \
             SELECT pg_advisory_xact_lock(1415071059, 1)",
        )
        .await?;
    let found = version(&transaction).await?;
    for migration in migrations::pending(MIGRATIONS, found).map_err(MigrateError::Schema)? {
        tracing::info!(migration = migration.name, "migrating the store's schema");
        transaction.batch_execute(migration.sql).await?;
        transaction
            .execute(
                "INSERT INTO keyservice.migrations (number, name) VALUES ($1, $2)",
                &[&migration.number, &migration.name],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The schema's version; 0, with a place to record later ones, if there is none.
async fn version(transaction: &Transaction<'_>) -> Result<i32, tokio_postgres::Error> {
    // Asked first, since CREATE SCHEMA IF NOT EXISTS needs the right to create even where it does
    // not, and a role for every day's work should lack it.
    let exists = "SELECT to_regclass('keyservice.migrations') IS NOT NULL";
    if !transaction
        .query_one(exists, &[])
        .await?
        .try_get::<_, bool>(0)?
    {
        transaction
            .batch_execute(
                "CREATE SCHEMA IF NOT EXISTS keyservice; \
                 CREATE TABLE keyservice.migrations ( \
                     number integer PRIMARY KEY, \
                     name text NOT NULL, \
                     apply_time timestamptz NOT NULL DEFAULT now())",
            )
            .await?;
    }
    transaction
        .query_one(
            "SELECT coalesce(max(number), 0) FROM keyservice.migrations",
            &[],
        )
        .await?
        .try_get(0)
}

/// The promise that nothing acknowledged is lost is the server's to keep.
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
