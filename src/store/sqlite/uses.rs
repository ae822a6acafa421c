//! The statements of the SQLite store on the uses of keys.
//!
//! Must never be called on an async thread (see `worker`).

use super::rows;
use crate::{
    model::{key::KeyId, time::Timestamp},
    store::NotedUse,
};
use rusqlite::{OptionalExtension, Transaction, params};

pub(super) fn record(
    transaction: &Transaction<'_>,
    uses: &[NotedUse],
) -> rusqlite::Result<Vec<(KeyId, Timestamp)>> {
    let mut find = transaction.prepare_cached(
        "SELECT u.last_used_time FROM keys k LEFT JOIN key_uses u USING (key_id) WHERE key_id = ?1",
    )?;
    let mut record = transaction.prepare_cached(
        "INSERT OR REPLACE INTO key_uses (key_id, last_used_time) VALUES (?1, ?2)",
    )?;
    let mut all_stored = Vec::with_capacity(uses.len());
    for noted in uses {
        let key_id = noted.key_id.as_uuid();
        let found = find.query_row([key_id.as_bytes()], |row| rows::time(row, 0));
        let Some(stored) = found.optional()? else {
            continue;
        };
        let stored = stored.and_then(Timestamp::if_past);
        let enough = stored.filter(|stored| *stored >= noted.unless_since);
        if enough.is_none() {
            record.execute(params![key_id.as_bytes(), noted.time.as_micros()])?;
        }
        all_stored.push((noted.key_id, enough.unwrap_or(noted.time)));
    }
    Ok(all_stored)
}
