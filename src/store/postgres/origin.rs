//! Whether a database is the one that its rows were written in, or was restored from a dump of that.
//!
//! Owns the table `origin`. A copy of the server's files, as point-in-time recovery begins with, is not told from a
//! failover.

use super::{
    address::Address,
    database::{Database, Purpose},
    errors::{answered_within, said, unexpected},
    histories, migrate,
    requirements::{Unfit, owner},
    rows,
    trust::{self, ADVICE},
};
use crate::{
    model::{caller_name::CallerName, time::Timestamp},
    store::{OpenError, Position, RestoredStore, StoreError, migrations},
};
use std::time::{Duration, SystemTime};
use tokio_postgres::{Client, types::ToSql};

/// The migration that makes the table. It takes a store of before for its own.
const SINCE: i32 = 25;

/// As `keyservice.is_own`, with what is to be said of a store that is not.
const LOOK: &str = "
    SELECT coalesce(pg_catalog.count(*) OPERATOR(pg_catalog.=) 2::pg_catalog.int8
            AND pg_catalog.bool_and(o.written_by OPERATOR(pg_catalog.=) o.xmin), false),
        keyservice.last_original_write(),
        (SELECT s.store_id FROM keyservice.store_identity s)
    FROM keyservice.origin o";

const REPLAYED: &str =
    "SELECT h.replayed_until FROM keyservice.histories h ORDER BY h.number DESC LIMIT 1";

const COUNT: &str = "SELECT pg_catalog.count(*) FROM keyservice.keys";

const IS_OWN: &str = "SELECT keyservice.is_own() FROM keyservice.check_store($1::pg_catalog.uuid)";

const VOUCH: &str = "
    SELECT keyservice.accept_restore($2::pg_catalog.timestamptz, $3::pg_catalog.text, $4::pg_catalog.int8,
        $5::pg_catalog.uuid)
    FROM keyservice.check_store($1::pg_catalog.uuid)";

const ACCEPT: &str =
    "SELECT keyservice.accept_restore($1::pg_catalog.timestamptz, $2::pg_catalog.text)";

/// How long a command waits for a connection, and for each answer.
const LIMIT: Duration = Duration::from_secs(10);

/// What a command is told that cannot look or accept.
const RIGHTS: &str = "check that the server runs and takes writes, that the address is right, and that its role is \
                      the owner of the tables or the role of the service";

/// Refuses a database that was restored and not accepted.
pub(super) async fn refuse_restored(client: &Client, address: &Address) -> Result<(), OpenError> {
    let advice = "check that the role may use the tables in schema keyservice";
    let looked = look(client, address).await;
    match looked.map_err(|error| driver(address, &error, advice))? {
        Some(restored) => Err(OpenError::Restored(restored)),
        None => Ok(()),
    }
}

/// The same, before it is known whether the database is fit for use. What is wrong otherwise is left to the checks of
/// a start, which say more.
pub(super) async fn refuse_restored_first(
    client: &Client,
    address: &Address,
) -> Result<(), OpenError> {
    let is_trusted = trust::check_owners(client).await;
    if !matches!(is_trusted, Ok(None)) {
        return Ok(());
    }
    // Nobody is to accept for nothing what a newer release has migrated.
    let Ok(version) = migrate::version(client).await else {
        return Ok(());
    };
    if migrations::pending(migrate::MIGRATIONS, version.unwrap_or(0)).is_err() {
        return Ok(());
    }
    match look(client, address).await {
        Ok(Some(restored)) => Err(OpenError::Restored(restored)),
        _ => Ok(()),
    }
}

async fn look(
    client: &Client,
    address: &Address,
) -> Result<Option<RestoredStore>, tokio_postgres::Error> {
    if migrate::version(client).await? < Some(SINCE) {
        return Ok(None);
    }
    let row = client.query_one(LOOK, &[]).await?;
    if row.try_get(0)? {
        return Ok(None);
    }
    let last_write: Option<SystemTime> = row.try_get(1)?;
    let replayed_until = replayed_until(client).await?;
    Ok(Some(RestoredStore {
        store: address.to_string(),
        store_id: row.try_get(2)?,
        keys: None,
        last_write: last_write.map(Timestamp::from_system_time),
        replayed_until,
    }))
}

async fn replayed_until(client: &Client) -> Result<Option<Timestamp>, tokio_postgres::Error> {
    if migrate::version(client).await? < Some(histories::SINCE) {
        return Ok(None);
    }
    let row = client.query_opt(REPLAYED, &[]).await?;
    let until: Option<Option<SystemTime>> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(until.flatten().map(Timestamp::from_system_time))
}

/// Whether the database is the one that its rows were written in, or was accepted.
pub(super) async fn is_own(database: &Database) -> Result<bool, StoreError> {
    let store_id = database.store_id();
    let rows = database
        .query(Purpose::Leases, IS_OWN, &[&store_id])
        .await?;
    let row = rows.first().ok_or_else(|| unexpected("no row came back"))?;
    rows::column(row, 0)
}

/// Accepts the database, if it has this write. Tells whether it had to.
pub(super) async fn vouch(database: &Database, held: Position) -> Result<bool, StoreError> {
    let rows = database
        .query(
            Purpose::Leases,
            VOUCH,
            &[
                &database.store_id(),
                &SystemTime::now(),
                &CallerName::service().as_str(),
                &held.revision.number(),
                &held.write_id.as_uuid(),
            ],
        )
        .await?;
    let row = rows.first().ok_or_else(|| unexpected("no row came back"))?;
    rows::column(row, 0)
}

/// What is known of the database at an address, if it was restored and not accepted.
pub async fn find_restored(address: &str) -> Result<Option<RestoredStore>, OpenError> {
    let (client, address) = connect(address).await?;
    find(&client, &address).await
}

/// The same, with how many keys it has, unless counting them takes too long.
pub async fn describe_restored(address: &str) -> Result<Option<RestoredStore>, OpenError> {
    let (client, address) = connect(address).await?;
    let Some(found) = find(&client, &address).await? else {
        return Ok(None);
    };
    let counted = answered_within(LIMIT, client.query_one(COUNT, &[])).await;
    let counted = counted.ok().and_then(Result::ok);
    let counted: Option<i64> = counted.and_then(|row| row.try_get(0).ok());
    let keys = counted.map(i64::unsigned_abs);
    Ok(Some(RestoredStore { keys, ..found }))
}

async fn find(client: &Client, address: &Address) -> Result<Option<RestoredStore>, OpenError> {
    let looked = answered_within(LIMIT, look(client, address)).await;
    looked
        .map_err(|silent| silence(address, &silent))?
        .map_err(|error| driver(address, &error, RIGHTS))
}

/// Accepts it. Does nothing if it is accepted already.
pub async fn accept_restore(address: &str) -> Result<(), OpenError> {
    let (client, address) = connect(address).await?;
    let (now, caller) = (SystemTime::now(), CallerName::service());
    let parameters: [&(dyn ToSql + Sync); 2] = [&now, &caller.as_str()];
    let accepted = answered_within(LIMIT, client.query_one(ACCEPT, &parameters)).await;
    accepted
        .map_err(|silent| silence(&address, &silent))?
        .map(drop)
        .map_err(|error| driver(&address, &error, RIGHTS))
}

async fn connect(address: &str) -> Result<(Client, Address), OpenError> {
    let address = Address::parse(address, LIMIT)?.of_primary();
    let connected = answered_within(address.connect_timeout(), address.connect()).await;
    let connected = connected.map_err(|silent| silence(&address, &silent))?;
    let (client, connection) = connected.map_err(|error| driver(&address, &error, RIGHTS))?;
    tokio::spawn(connection);
    let checked = async {
        let untrusted = trust::check_owners(&client).await?;
        let lacking = owner::look(&client).await?;
        Ok((untrusted, lacking, migrate::version(&client).await))
    };
    let checked = answered_within(LIMIT, checked).await;
    let checked = checked.map_err(|silent| silence(&address, &silent))?;
    let failed = |error: tokio_postgres::Error| driver(&address, &error, RIGHTS);
    let (untrusted, lacking, found) = checked.map_err(failed)?;
    if let Some(untrusted) = untrusted {
        return Err(cannot_open(&address, untrusted.to_string(), ADVICE));
    }
    if let Some(Unfit { problem, remedy }) = lacking {
        return Err(OpenError::Unfit {
            what: address.to_string(),
            problem,
            remedy,
        });
    }
    // Without the owner's rights, this may fail.
    let found = found.map_err(failed)?;
    let found = found.ok_or_else(|| OpenError::Missing(address.to_string()))?;
    migrations::pending(migrate::MIGRATIONS, found).map_err(OpenError::Schema)?;
    Ok((client, address))
}

fn driver(address: &Address, error: &tokio_postgres::Error, advice: &'static str) -> OpenError {
    cannot_open(address, said(error), advice)
}

fn silence(address: &Address, silent: &StoreError) -> OpenError {
    cannot_open(address, silent.to_string(), RIGHTS)
}

fn cannot_open(address: &Address, cause: String, advice: &'static str) -> OpenError {
    OpenError::Driver {
        what: address.to_string(),
        cause: cause.into(),
        advice,
    }
}
