//! The opening of a database for serving: its connections, its schema, its digest secret.
//!
//! Promises that each error says what to do, and that it never shows a password.

use super::{
    address::Address,
    database::{Database, Purpose},
    errors::{KEEP_STATEMENTS, LOSES_STATEMENTS, answered_within, store_error},
    migrate::{self, MigrateError},
    origin,
    pool::PoolSettings,
    pooler,
    requirements::Unfit,
    trust,
};
use crate::{
    model::token::Digester,
    store::{Cause, OpenError, StoreError, WhenRestored, other_secret, with_causes},
};
use tokio_postgres::{Client, error::SqlState};
use uuid::Uuid;

/// Connects, migrates the database as needed, and checks the digest secret.
pub(super) async fn open(
    address: &Address,
    settings: PoolSettings,
    digester: &Digester,
    when_restored: WhenRestored,
) -> Result<Database, OpenError> {
    let cannot_open = |cause: Cause, advice| OpenError::Driver {
        what: address.to_string(),
        cause,
        advice,
    };
    address.warn_of_other_sockets();
    let database = Database::new(address, settings, digester)
        .map_err(|error| cannot_open(error.into(), "check --pool-size"))?;
    let mut client = database.acquire(Purpose::Calls).await.map_err(|error| {
        cannot_open(
            error.into(),
            "check that the server runs and that the address, user, password and TLS parameters \
             are right",
        )
    })?;
    let unanswered = |error: StoreError| {
        cannot_open(
            error.into(),
            "check the server and the way to it, and try again",
        )
    };
    if when_restored == WhenRestored::Refuse {
        let looked = origin::refuse_restored_first(&client, address);
        let looked = answered_within(database.answer_limit(), looked).await;
        looked.map_err(unanswered)??;
    }
    let limit = database.statement_timeout();
    migrate::migrate(&mut client, database.max_connections(), limit)
        .await
        .map_err(|error| match error {
            MigrateError::NoAnswer(error) => unanswered(error),
            MigrateError::Schema(error) => error.into(),
            MigrateError::Unfit(Unfit { problem, remedy }) => OpenError::Unfit {
                what: address.to_string(),
                problem,
                remedy,
            },
            MigrateError::Untrusted(found) => cannot_open(found.to_string().into(), trust::ADVICE),
            MigrateError::Postgres(error)
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) =>
            {
                cannot_open(
                    with_causes(&error).into(),
                    "a migration had to wait for another session's lock on a table in schema \
                     keyservice, or for the advisory lock (1415071059, 2) of the release before: \
                     pg_locks names the session; try again once it has ended",
                )
            }
            MigrateError::Postgres(error) => cannot_open(
                with_causes(&error).into(),
                "the first start needs a role that may create a schema in this database, and a \
                 later one a role that may use the tables in schema keyservice",
            ),
        })?;
    if when_restored == WhenRestored::Refuse {
        let looked = origin::refuse_restored(&client, address);
        let looked = answered_within(database.answer_limit(), looked).await;
        looked.map_err(unanswered)??;
    }
    let stored = store_fingerprint(&client, database.digest_fingerprint());
    let stored = answered_within(database.answer_limit(), stored).await;
    let stored = stored.map_err(unanswered)?.map_err(|error| {
        cannot_open(
            with_causes(&error).into(),
            "check that the role may use the tables in schema keyservice, and that the server takes \
             writes",
        )
    })?;
    if stored != digester.fingerprint() {
        return Err(other_secret(stored));
    }
    let store_id = answered_within(database.answer_limit(), store_id(&client)).await;
    let store_id = store_id.map_err(unanswered)?.map_err(|error| {
        cannot_open(
            with_causes(&error).into(),
            "check that the role may use the tables in schema keyservice, and if the row of the table \
             store_identity is gone, restore the database from a backup",
        )
    })?;
    database.set_store(store_id);
    client.give_back();
    let established = database.establish_lease_connections().await;
    established.map_err(|error| {
        cannot_open(
            error.into(),
            "a replica needs two connections to follow the others' writes, and more to serve calls: \
             check max_connections, and the CONNECTION LIMIT of the role and of the database",
        )
    })?;
    if !keeps_statements(&database).await.map_err(unanswered)? {
        return Err(OpenError::Unfit {
            what: address.to_string(),
            problem: LOSES_STATEMENTS.into(),
            remedy: KEEP_STATEMENTS.into(),
        });
    }
    Ok(database)
}

/// Whether two connections do not disturb each other, as they would behind some poolers.
async fn keeps_statements(database: &Database) -> Result<bool, StoreError> {
    let one = database.acquire(Purpose::Leases).await?;
    let other = database.acquire(Purpose::Leases).await?;
    let keeps = pooler::keeps_statements(&one, &other);
    let keeps = answered_within(database.answer_limit(), keeps).await?;
    let keeps = keeps.map_err(|error| store_error(&error))?;
    one.give_back();
    other.give_back();
    Ok(keeps)
}

/// Stores the fingerprint if the database has none, and gives the one that is stored.
async fn store_fingerprint(
    client: &Client,
    fingerprint: [u8; 16],
) -> Result<[u8; 16], tokio_postgres::Error> {
    if let Some(stored) = stored_fingerprint(client).await? {
        return Ok(stored);
    }
    let insert = "INSERT INTO keyservice.digest_key (only_row, fingerprint) VALUES (true, $1) \
                  ON CONFLICT DO NOTHING";
    client.execute(insert, &[&fingerprint.as_slice()]).await?;
    let stored = stored_fingerprint(client).await?;
    Ok(stored.expect("the role that inserts a row may read it"))
}

/// What tells this store from every other one.
async fn store_id(client: &Client) -> Result<Uuid, tokio_postgres::Error> {
    let read = "SELECT store_id FROM keyservice.store_identity";
    client.query_one(read, &[]).await?.try_get(0)
}

/// The fingerprint of the digest secret with which the database was first used.
pub(super) async fn stored_fingerprint(
    client: &Client,
) -> Result<Option<[u8; 16]>, tokio_postgres::Error> {
    let read = "SELECT fingerprint FROM keyservice.digest_key";
    let stored = client.query_opt(read, &[]).await?;
    let bytes: Option<Vec<u8>> = stored.map(|row| row.try_get(0)).transpose()?;
    Ok(bytes.map(|bytes| {
        bytes
            .try_into()
            .expect("the column is checked to hold 16 bytes")
    }))
}
