//! The load of every key, domain and account at once.
//!
//! Promises them all as of one moment. Must never be called on an async thread (see `worker`).

use super::{
    rows::{
        ACCOUNT_STATE_COLUMNS, DOMAIN_STATE_COLUMNS, KEY_STATE_COLUMNS, USE_COLUMNS, account_state,
        domain_state, key_state, key_use, position,
    },
    statements::current_revision,
};
use crate::{
    model::time::Timestamp,
    store::{Batch, BatchSender, KeyBatch, Position, StoreError, load::BATCH_LEN},
};
use rusqlite::{Connection, Row, Transaction};
use std::mem::take;

/// Reads everything in one transaction, and so as of one moment.
pub(super) fn load(
    connection: &mut Connection,
    batches: &BatchSender,
) -> Result<Position, StoreError> {
    let transaction = connection.transaction()?;
    let position = position(current_revision(&transaction)?);
    // It takes little beside the keys themselves: SQLite reads only the pages of the smallest index.
    let keys: i64 = transaction.query_row("SELECT count(*) FROM keys", [], |row| row.get(0))?;
    batches.blocking_send(Batch::KeyEstimate(keys.unsigned_abs()))?;
    let tables = Tables {
        transaction: &transaction,
        batches,
    };
    let key = |row: &Row<'_>, keys: &mut KeyBatch| {
        keys.push(&key_state(row)?);
        Ok(())
    };
    tables.read("keys", KEY_STATE_COLUMNS, key, Batch::Keys)?;
    let now = Timestamp::now();
    let used = |row: &Row<'_>, uses: &mut Vec<_>| {
        uses.extend(key_use(row, now)?);
        Ok(())
    };
    tables.read("key_uses", USE_COLUMNS, used, Batch::Uses)?;
    let domain = |row: &Row<'_>, domains: &mut Vec<_>| {
        domains.push(domain_state(row)?);
        Ok(())
    };
    tables.read("domains", DOMAIN_STATE_COLUMNS, domain, Batch::Domains)?;
    let account = |row: &Row<'_>, accounts: &mut Vec<_>| {
        accounts.push(account_state(row)?);
        Ok(())
    };
    tables.read("accounts", ACCOUNT_STATE_COLUMNS, account, Batch::Accounts)?;
    Ok(position)
}

struct Tables<'a> {
    transaction: &'a Transaction<'a>,
    batches: &'a BatchSender,
}

impl Tables<'_> {
    /// Sends what is in the rows of a table, in batches.
    fn read<States: Default>(
        &self,
        table: &str,
        columns: &str,
        read: impl Fn(&Row<'_>, &mut States) -> rusqlite::Result<()>,
        batch: fn(States) -> Batch,
    ) -> Result<(), StoreError> {
        let sql = format!("SELECT {columns} FROM {table}");
        let mut statement = self.transaction.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let (mut states, mut len) = (States::default(), 0);
        while let Some(row) = rows.next()? {
            read(row, &mut states)?;
            len += 1;
            if len == BATCH_LEN {
                self.batches.blocking_send(batch(take(&mut states)))?;
                len = 0;
            }
        }
        if len > 0 {
            self.batches.blocking_send(batch(states))?;
        }
        Ok(())
    }
}
