//! The migration of a database to this binary's schema.
//!
//! Promises that any number of replicas may start at once: one migrates, and the others wait for
//! it. Must never leave a migration half done: all that are pending are one transaction.

use super::{
    database::PIN_SEARCH_PATH,
    errors::{GRACE, answered_within, store_error},
    open::stored_fingerprint,
    requirements::{Unfit, owner, parts, schema, server},
    rights::quoted,
    trust::{self, Untrusted},
};
use crate::store::{
    StoreError,
    migrations::{self, Migration, SchemaError, migration},
};
use std::{ops::Range, time::Duration};
use tokio_postgres::{Client, GenericClient, Transaction, error::SqlState};

pub(super) const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_keys.sql"),
    migration!(2, "0002_replicas.sql"),
    migration!(3, "0003_audit.sql"),
    migration!(4, "0004_shared_database.sql"),
    migration!(5, "0005_hardening.sql"),
    migration!(6, "0006_audit_checks.sql"),
    migration!(7, "0007_domains.sql"),
    migration!(8, "0008_domain_reports.sql"),
    migration!(9, "0009_key_life.sql"),
    migration!(10, "0010_strict_revisions.sql"),
    migration!(11, "0011_audit_schema.sql"),
    migration!(12, "0012_last_used.sql"),
    migration!(13, "0013_labels.sql"),
    migration!(14, "0014_key_filters.sql"),
    migration!(15, "0015_batch_revoke.sql"),
    migration!(16, "0016_retention.sql"),
    migration!(17, "0017_key_limit.sql"),
    migration!(18, "0018_write_groups.sql"),
    migration!(19, "0019_label_length.sql"),
    migration!(20, "0020_store_identity.sql"),
    migration!(21, "0021_batches_in_turn.sql"),
    migration!(22, "0022_ranges_and_walks.sql"),
    migration!(23, "0023_write_times.sql"),
    migration!(24, "0024_repeated_revokes.sql"),
    migration!(25, "0025_origin.sql"),
    migration!(26, "0026_audit_key_end.sql"),
    migration!(27, "0027_histories.sql"),
];

/// How long one migration may take, or the wait for another replica that migrates. It may be long,
/// but must have a bound.
const MIGRATION_LIMIT: Duration = Duration::from_secs(300);

/// How long a migration may wait for each lock on a table that is in use. Whoever came after it would
/// wait for it, renewals too, so this must be shorter than what is left of most leases. If a dump or a
/// report reads for longer, the start fails, and can be tried again.
const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// Waits for the writes and renewals under way, and keeps out further ones. A write locks these tables in
/// this order, and then the writers' lock. A renewal takes the writers' lock, and reads tables in an order
/// that PostgreSQL plans. A migration that took them in another order would meet one of them half way, and
/// PostgreSQL would end either as a deadlock.
///
/// With each, the versions of the schema for which it is taken.
///
/// From version 21 on, a migration takes the last one in the mode that keeps out renewals too, once it must: what takes
/// long, such as an index, comes before that.
const DRAIN: [(Range<i32>, &str); 5] = [
    (
        21..i32::MAX,
        "LOCK TABLE keyservice.replicas IN SHARE UPDATE EXCLUSIVE MODE",
    ),
    (
        3..i32::MAX,
        "LOCK TABLE keyservice.audit IN SHARE ROW EXCLUSIVE MODE",
    ),
    (
        1..i32::MAX,
        "LOCK TABLE keyservice.keys, keyservice.writes IN SHARE ROW EXCLUSIVE MODE",
    ),
    (
        4..21,
        "LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE",
    ),
    (
        21..i32::MAX,
        "LOCK TABLE keyservice.writers_lock IN SHARE ROW EXCLUSIVE MODE",
    ),
];

/// A migration takes it from replicas of the release before. Everybody may hold an advisory lock, and
/// where there is no schema yet there is no such replica, so a first start goes without.
const LOCK_OF_OLD_RELEASES: &str = "SELECT pg_advisory_xact_lock(1415071059, 2);";

/// How often a start looks at the schema again, when other replicas have just created it.
const ATTEMPTS: usize = 3;

pub(super) enum MigrateError {
    Schema(SchemaError),
    Unfit(Unfit),
    Untrusted(Untrusted),
    Postgres(tokio_postgres::Error),
    NoAnswer(StoreError),
}

impl From<Unfit> for MigrateError {
    fn from(found: Unfit) -> Self {
        Self::Unfit(found)
    }
}

impl From<Untrusted> for MigrateError {
    fn from(found: Untrusted) -> Self {
        Self::Untrusted(found)
    }
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Checks that the database is fit for this service, and applies the migrations that it needs.
/// `connections` is how many this replica may open. `statement_limit` bounds each statement except the
/// migrations themselves.
pub(super) async fn migrate(
    client: &mut Client,
    connections: i64,
    statement_limit: Duration,
) -> Result<(), MigrateError> {
    within(statement_limit, server::check(client, connections)).await?;
    for _ in 1..ATTEMPTS {
        match try_to_migrate(client, statement_limit).await {
            Err(MigrateError::Postgres(error)) if was_created_meanwhile(&error) => {}
            ended => return ended,
        }
    }
    try_to_migrate(client, statement_limit).await
}

/// Refuses what this role, or the tables' owner, may not do. What is to be done about the owner's rights differs, so those
/// come first.
async fn check_rights(client: &Client) -> Result<(), MigrateError> {
    if let Some(lacking) = owner::look(client).await? {
        return Err(lacking.into());
    }
    Ok(schema::look(client).await?.check()?)
}

async fn try_to_migrate(
    client: &mut Client,
    statement_limit: Duration,
) -> Result<(), MigrateError> {
    let first_look = async {
        trust::check(client).await?;
        parts::look(client).await?.check_kinds()?;
        check_rights(client).await?;
        let (found, pending) = (version(client).await?, pending(client).await?);
        let owner = if pending.is_empty() {
            // Another replica may have migrated since the first look.
            parts::look(client).await?.check_complete()?;
            None
        } else {
            schema::check_may_migrate(client).await?
        };
        Ok((found, pending, owner))
    };
    // Most starts find nothing to do. They must not wait for a lock, and not as long as for one.
    let (found, pending_ones, owner) = within(statement_limit, first_look).await?;
    if pending_ones.is_empty() {
        return Ok(());
    }
    let begin = async { Ok(client.transaction().await?) };
    let transaction = within(statement_limit, begin).await?;
    let prepare = async {
        let (statement_limit, lock_limit) = (MIGRATION_LIMIT.as_millis(), LOCK_LIMIT.as_millis());
        let settings = format!(
            "SET LOCAL statement_timeout = {statement_limit}; SET LOCAL lock_timeout = {lock_limit}; \
             SET LOCAL standard_conforming_strings = on"
        );
        transaction.batch_execute(&settings).await?;
        transaction.batch_execute(PIN_SEARCH_PATH).await?;
        // What a member of the owner creates must belong to the owner, as the rest does.
        if let Some(owner) = owner {
            let become_owner = format!("SET LOCAL ROLE {}", quoted(&owner));
            transaction.batch_execute(&become_owner).await?;
        }
        Ok(())
    };
    within(statement_limit, prepare).await?;
    // Either of them waits for a replica that migrates.
    let lock = match found {
        None => CREATE_MIGRATIONS_TABLE,
        Some(_) => "LOCK TABLE keyservice.migrations IN EXCLUSIVE MODE",
    };
    within(MIGRATION_LIMIT, wait_for_others(&transaction, lock)).await?;
    if let Some(found) = found {
        for (_, lock) in DRAIN
            .iter()
            .filter(|(versions, _)| versions.contains(&found))
        {
            let drain = async { Ok(transaction.batch_execute(lock).await?) };
            within(statement_limit, drain).await?;
        }
    }
    for migration in within(statement_limit, pending(&transaction)).await? {
        let sql = match found {
            None => migration.sql.replace(LOCK_OF_OLD_RELEASES, ""),
            Some(_) => migration.sql.to_owned(),
        };
        within(MIGRATION_LIMIT, apply(&transaction, migration, &sql)).await?;
    }
    if found.is_none() {
        // The database's default privileges may give them. Nobody relies on that yet.
        let revoke = async { Ok(transaction.batch_execute(REVOKE_DEFAULTS).await?) };
        within(statement_limit, revoke).await?;
    }
    let commit = async { Ok(transaction.commit().await?) };
    within(statement_limit, commit).await
}

/// Takes a lock for which a replica that migrates may make this one wait. So may every role that may connect to the
/// database, which the log must tell. While this waits, nobody waits behind it.
async fn wait_for_others(transaction: &Transaction<'_>, lock: &str) -> Result<(), MigrateError> {
    let mut is_logged = false;
    transaction.batch_execute("SAVEPOINT waiting").await?;
    loop {
        match transaction.batch_execute(lock).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
            ended => {
                ended?;
                let release = transaction.batch_execute("RELEASE SAVEPOINT waiting");
                return Ok(release.await?);
            }
        }
        if !is_logged {
            tracing::warn!(
                "waiting up to {} for another replica that migrates, or for another session with a lock on \
                 keyservice.migrations: pg_locks names it",
                humantime::format_duration(MIGRATION_LIMIT)
            );
            is_logged = true;
        }
        transaction
            .batch_execute("ROLLBACK TO SAVEPOINT waiting")
            .await?;
    }
}

/// The checks of a start, for a database that may be another one than it was at the start: restored, or on
/// another server.
pub(super) async fn check_again(
    client: &Client,
    connections: i64,
    digest_fingerprint: [u8; 16],
) -> Result<(), StoreError> {
    let check = async {
        server::check(client, connections).await?;
        trust::check(client).await?;
        let parts = parts::look(client).await?;
        parts.check_kinds()?;
        check_rights(client).await?;
        let found = version(client).await?.unwrap_or(0);
        migrations::check_current(MIGRATIONS, found).map_err(MigrateError::Schema)?;
        parts.check_complete()?;
        Ok(stored_fingerprint(client).await?)
    };
    let stored = check.await.map_err(|error| match error {
        MigrateError::Postgres(error) => store_error(&error),
        MigrateError::NoAnswer(error) => error,
        MigrateError::Schema(error) => StoreError::Failed(error.to_string().into()),
        MigrateError::Untrusted(error) => StoreError::Failed(error.to_string().into()),
        MigrateError::Unfit(Unfit { problem, remedy }) => {
            StoreError::Failed(format!("{problem}; {remedy}").into())
        }
    })?;
    if stored == Some(digest_fingerprint) {
        Ok(())
    } else {
        Err(StoreError::Failed(
            "the address leads to another database than before, whose keys were made with another digest \
             secret: check the address and the server behind it"
                .into(),
        ))
    }
}

/// Whether another replica has created what this one was about to.
fn was_created_meanwhile(error: &tokio_postgres::Error) -> bool {
    const CODES: [SqlState; 3] = [
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
        // Of a catalog of PostgreSQL's, when both create at the same moment.
        SqlState::UNIQUE_VIOLATION,
    ];
    error.code().is_some_and(|code| CODES.contains(code))
}

/// Takes what default privileges have given to every role.
const REVOKE_DEFAULTS: &str = "
    REVOKE ALL ON SCHEMA keyservice, keyservice_audit FROM PUBLIC;
    REVOKE ALL ON ALL TABLES IN SCHEMA keyservice, keyservice_audit FROM PUBLIC;
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA keyservice, keyservice_audit FROM PUBLIC";

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

async fn apply(
    transaction: &Transaction<'_>,
    migration: &Migration,
    sql: &str,
) -> Result<(), MigrateError> {
    tracing::info!(migration = migration.name, "migrating the store's schema");
    transaction.batch_execute(sql).await?;
    transaction
        .execute(
            "INSERT INTO keyservice.migrations (number, name) VALUES ($1, $2)",
            &[&migration.number, &migration.name],
        )
        .await?;
    Ok(())
}

/// Creates the table that records which migrations were applied. An administrator may have created
/// the schema for this role.
const CREATE_MIGRATIONS_TABLE: &str = "CREATE SCHEMA IF NOT EXISTS keyservice; \
     CREATE TABLE keyservice.migrations ( \
         number integer PRIMARY KEY, \
         name text NOT NULL, \
         apply_time timestamptz NOT NULL DEFAULT now())";

/// The schema's version, or `None` if there is no schema.
pub(super) async fn version(
    client: &impl GenericClient,
) -> Result<Option<i32>, tokio_postgres::Error> {
    version_in(client, "keyservice.migrations").await
}

/// The same, read from the table of migrations or from a view of it.
pub(super) async fn version_in(
    client: &impl GenericClient,
    migrations: &str,
) -> Result<Option<i32>, tokio_postgres::Error> {
    // `to_regclass` would answer from what the session cached at its first query. A migration that
    // another replica has made since would be missing there.
    let exists = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables \
                  WHERE schemaname OPERATOR(pg_catalog.=) 'keyservice' \
                    AND tablename OPERATOR(pg_catalog.=) 'migrations')";
    if !client.query_one(exists, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let version = format!("SELECT pg_catalog.max(number) FROM {migrations}");
    client.query_one(&version, &[]).await?.try_get(0)
}
