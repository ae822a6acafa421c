//! The statement of the PostgreSQL store on the uses of keys.
//!
//! Must never lock a row that it does not change, which would cost as much as to change it.

use super::{
    database::{Database, Purpose},
    rows,
};
use crate::{
    model::{key::KeyId, time::Timestamp},
    store::{NotedUse, StoreError},
};
use std::time::SystemTime;
use uuid::Uuid;

/// A replica whose clock is ahead stores no time to come, by the database's clock.
///
/// Each row is looked up by its key, whatever PostgreSQL believes of the tables' sizes. They are written in
/// the order of the ids, so that replicas which write the same rows do not wait for each other in a circle.
const RECORD: &str = "
    WITH noted AS MATERIALIZED (
        SELECT n.key_id, LEAST(n.time, pg_catalog.now()) AS time, n.unless_since, (
            SELECT u.last_used_time FROM keyservice.key_uses u
            WHERE u.key_id OPERATOR(pg_catalog.=) n.key_id) AS stored
        FROM keyservice.check_store($4::pg_catalog.uuid) CROSS JOIN ROWS FROM (
            pg_catalog.unnest($1::pg_catalog.uuid[]), pg_catalog.unnest($2::pg_catalog.timestamptz[]),
            pg_catalog.unnest($3::pg_catalog.timestamptz[])) n (key_id, time, unless_since)
        WHERE (
            SELECT k.key_id FROM keyservice.keys k
            WHERE k.key_id OPERATOR(pg_catalog.=) n.key_id) IS NOT NULL),
    recorded AS (
        INSERT INTO keyservice.key_uses AS u (key_id, last_used_time)
        SELECT key_id, time FROM noted
        WHERE stored IS NULL OR stored OPERATOR(pg_catalog.<) unless_since
        ORDER BY key_id
        ON CONFLICT (key_id) DO UPDATE SET last_used_time = excluded.last_used_time
        WHERE u.last_used_time OPERATOR(pg_catalog.<) excluded.last_used_time)
    SELECT key_id,
        CASE WHEN stored OPERATOR(pg_catalog.>=) unless_since THEN stored ELSE time END AS stored
    FROM noted";

pub(super) async fn record(
    database: &Database,
    uses: &[NotedUse],
) -> Result<Vec<(KeyId, Timestamp)>, StoreError> {
    let ids: Vec<Uuid> = uses.iter().map(|noted| noted.key_id.as_uuid()).collect();
    let times = |time: fn(&NotedUse) -> Timestamp| -> Vec<SystemTime> {
        let times = uses.iter().map(time);
        times.map(Timestamp::to_system_time).collect()
    };
    let (times, unless_since) = (times(|noted| noted.time), times(|noted| noted.unless_since));
    let rows = database
        .query(
            Purpose::Calls,
            RECORD,
            &[&ids, &times, &unless_since, &database.store_id()],
        )
        .await?;
    let stored = rows.iter().map(|row| {
        let stored: SystemTime = rows::column(row, "stored")?;
        let key_id = KeyId::from_uuid(rows::column(row, "key_id")?);
        Ok((key_id, Timestamp::from_system_time(stored)))
    });
    stored.collect()
}
