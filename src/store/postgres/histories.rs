//! Where the histories of a database begin.

use super::{
    PostgresStore,
    database::{Database, ON_PRIMARY, Purpose},
    rows,
};
use crate::{
    model::{
        history::{History, HistoryId},
        time::Timestamp,
    },
    store::{HistoryStore, StoreError},
};
use async_trait::async_trait;
use std::time::SystemTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// The migration that makes the table.
pub(super) const SINCE: i32 = 27;

async fn histories(database: &Database) -> Result<Vec<History>, StoreError> {
    let sql = format!(
        "SELECT history_id, after_revision, replayed_until \
         FROM keyservice.check_store($1::pg_catalog.uuid), keyservice.histories \
         WHERE {ON_PRIMARY} ORDER BY number"
    );
    let store_id = database.store_id();
    let rows = database.query(Purpose::Leases, &sql, &[&store_id]).await?;
    let begun = rows.iter().map(|row| {
        let id = HistoryId::from_first_half(rows::column(row, "history_id")?);
        let until: Option<SystemTime> = rows::column(row, "replayed_until")?;
        let after = rows::column(row, "after_revision")?;
        Ok((id, after, until.map(Timestamp::from_system_time)))
    });
    let begun: Vec<_> = begun.collect::<Result<_, StoreError>>()?;
    Ok(History::chain(&begun))
}

async fn begin(database: &Database, replayed_until: Option<Timestamp>) -> Result<(), StoreError> {
    let sql = "SELECT FROM keyservice.check_store($1::pg_catalog.uuid) \
               CROSS JOIN keyservice.begin_history($2::pg_catalog.timestamptz)";
    let until = replayed_until.map(Timestamp::to_system_time);
    let store_id = database.store_id();
    let begun = database
        .query(Purpose::Leases, sql, &[&store_id, &until])
        .await;
    begun.map(drop)
}

/// That of a record. Whoever may insert records may give one a revision from before every history.
pub(super) fn of_record(row: &Row) -> Result<Option<History>, tokio_postgres::Error> {
    let Some(id) = row.try_get::<_, Option<Uuid>>("history_id")? else {
        return Ok(None);
    };
    let parent: Option<Uuid> = row.try_get("history_parent")?;
    Ok(Some(History {
        id: HistoryId::from_first_half(id),
        parent: parent.map(HistoryId::from_first_half),
        after: row.try_get("history_after")?,
        replayed_until: None,
    }))
}

#[async_trait]
impl HistoryStore for PostgresStore {
    async fn histories(&self) -> Result<Vec<History>, StoreError> {
        histories(&self.database).await
    }

    async fn begin_history(&self, replayed_until: Option<Timestamp>) -> Result<(), StoreError> {
        begin(&self.database, replayed_until).await
    }
}
