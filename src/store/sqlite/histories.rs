//! Where the histories of a database file begin.

use super::{
    SqliteStore,
    rows::{time, uuid},
};
use crate::{
    model::{
        history::{History, HistoryId},
        time::Timestamp,
    },
    store::{HistoryStore, StillAllowed, StoreError},
};
use async_trait::async_trait;
use rusqlite::{Connection, params};

/// The migration that makes the table.
pub(super) const SINCE: i32 = 17;

pub(super) fn histories(connection: &Connection) -> rusqlite::Result<Vec<History>> {
    let all = "SELECT history_id, after_revision, replayed_until FROM histories ORDER BY number";
    let mut statement = connection.prepare(all)?;
    let begun = statement.query_map([], |row| {
        let id = HistoryId::from_first_half(uuid(row, 0)?);
        Ok((id, row.get(1)?, time(row, 2)?))
    })?;
    let begun: Vec<_> = begun.collect::<rusqlite::Result<_>>()?;
    Ok(History::chain(&begun))
}

/// Whatever is written from now on belongs to a new history.
pub(super) fn begin(
    connection: &Connection,
    replayed_until: Option<Timestamp>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO histories (number, history_id, after_revision, replayed_until) \
               SELECT coalesce(max(number), 0) + 1, randomblob(16), \
                   (SELECT coalesce(max(revision), 0) FROM writes), ?1 FROM histories";
    let until = replayed_until.map(Timestamp::as_micros);
    connection.execute(sql, params![until]).map(drop)
}

#[async_trait]
impl HistoryStore for SqliteStore {
    async fn histories(&self) -> Result<Vec<History>, StoreError> {
        self.looker
            .read(|connection| Ok(histories(connection)?))
            .await
    }

    async fn begin_history(&self, replayed_until: Option<Timestamp>) -> Result<(), StoreError> {
        self.write_alone(StillAllowed::always(), move |transaction| {
            begin(transaction, replayed_until)
        })
        .await
    }
}
