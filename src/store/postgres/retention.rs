//! The statements of the PostgreSQL store that let keys and writes go.

use super::{
    database::{Database, ON_PRIMARY, Purpose},
    errors::unexpected,
    rows,
};
use crate::{
    model::{key::KeyId, time::Timestamp},
    store::{Agreed, Forgotten, Old, Revision, StoreError},
};
use std::time::SystemTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

/// At how many keys or writes one statement looks, which takes some milliseconds.
const LOOK_LEN: i64 = 1000;

/// The earlier time of this clock and the database's: neither alone lets a key go.
pub(super) async fn agreed_time(database: &Database, now: Timestamp) -> Result<Agreed, StoreError> {
    let sql = "SELECT LEAST($1, pg_catalog.clock_timestamp()) AS time";
    let row = one(database, sql, &[&now.to_system_time()]).await?;
    let time: SystemTime = rows::column(&row, "time")?;
    Ok(Agreed::Time(Timestamp::from_system_time(time)))
}

pub(super) async fn raise_history_start(
    database: &Database,
    old: &Old,
) -> Result<bool, StoreError> {
    let sql = "SELECT more FROM keyservice.check_store($3::pg_catalog.uuid) \
        CROSS JOIN keyservice.raise_history_start($1::pg_catalog.timestamptz, $2::pg_catalog.int8) more";
    let params: [&(dyn ToSql + Sync); 3] = [
        &old.before.to_system_time(),
        &LOOK_LEN,
        &database.store_id(),
    ];
    rows::column(&one(database, sql, &params).await?, "more")
}

pub(super) async fn history_start(database: &Database) -> Result<Revision, StoreError> {
    let sql = format!("SELECT revision FROM keyservice.history_start WHERE {ON_PRIMARY}");
    let row = one(database, &sql, &[]).await?;
    rows::column(&row, "revision").map(Revision::from_number)
}

pub(super) async fn forget_keys(
    database: &Database,
    old: &Old,
    after: KeyId,
) -> Result<Forgotten<KeyId>, StoreError> {
    let sql = "SELECT last_key_id, forgotten FROM keyservice.check_store($4::pg_catalog.uuid) \
               CROSS JOIN keyservice.forget_keys($1::pg_catalog.timestamptz, $2::pg_catalog.uuid, \
                   $3::pg_catalog.int8)";
    let params: [&(dyn ToSql + Sync); 4] = [
        &old.before.to_system_time(),
        &after.as_uuid(),
        &LOOK_LEN,
        &database.store_id(),
    ];
    let row = one(database, sql, &params).await?;
    let last: Option<Uuid> = rows::column(&row, "last_key_id")?;
    Ok(Forgotten {
        count: rows::count(&row, "forgotten")?,
        last: last.map(KeyId::from_uuid),
    })
}

pub(super) async fn forget_writes(
    database: &Database,
    after: Revision,
) -> Result<Forgotten<Revision>, StoreError> {
    let sql = "SELECT last_revision, forgotten FROM keyservice.check_store($3::pg_catalog.uuid) \
               CROSS JOIN keyservice.forget_writes($1::pg_catalog.int8, $2::pg_catalog.int8)";
    let params: [&(dyn ToSql + Sync); 3] = [&after.number(), &LOOK_LEN, &database.store_id()];
    let row = one(database, sql, &params).await?;
    let last: Option<i64> = rows::column(&row, "last_revision")?;
    Ok(Forgotten {
        count: rows::count(&row, "forgotten")?,
        last: last.map(Revision::from_number),
    })
}

pub(super) async fn missing_keys(
    database: &Database,
    keys: &[KeyId],
) -> Result<Vec<KeyId>, StoreError> {
    let ids: Vec<Uuid> = keys.iter().map(|id| id.as_uuid()).collect();
    let sql = format!(
        "SELECT n.key_id FROM pg_catalog.unnest($1::pg_catalog.uuid[]) n (key_id) \
         WHERE (SELECT k.key_id FROM keyservice.keys k \
                WHERE k.key_id OPERATOR(pg_catalog.=) n.key_id) IS NULL AND {ON_PRIMARY}"
    );
    let rows = database.query(Purpose::Calls, &sql, &[&ids]).await?;
    let missing = rows
        .iter()
        .map(|row| rows::column(row, "key_id").map(KeyId::from_uuid));
    missing.collect()
}

async fn one(
    database: &Database,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Row, StoreError> {
    let mut rows = database.query(Purpose::Calls, sql, params).await?;
    rows.pop().ok_or_else(|| unexpected("no row came back"))
}
