//! The load of every key, domain and account at once.
//!
//! Promises them all as of one moment, and that moment's position, of a database that is fit for this service. Must never hold a lock that a
//! writer waits for.

use super::{
    copied_row::{CopiedRow, CopyReader},
    database::{Database, PIN_SEARCH_PATH, Purpose},
    errors::{answered_within, store_error, unexpected},
    migrate, rows,
};
use crate::{
    model::time::Timestamp,
    store::{Batch, BatchSender, KeyBatch, Position, StoreError, load::BATCH_LEN},
};
use bytes::Bytes;
use futures::{FutureExt, TryStreamExt};
use std::{
    mem::take,
    pin::{Pin, pin},
    time::Duration,
};
use tokio_postgres::{CopyOutStream, IsolationLevel, Row, Transaction};

/// About how many keys there are, as the last VACUUM or ANALYZE of the table has found. It costs nothing.
/// It is negative, or 0 in PostgreSQL 13, if there was none.
const KEY_ESTIMATE: &str = "SELECT c.reltuples FROM pg_catalog.pg_class c \
    WHERE c.oid OPERATOR(pg_catalog.=) 'keyservice.keys'::pg_catalog.regclass";

/// Reads everything in one snapshot. Commit order is revision order, so a snapshot that holds
/// revision C holds every revision before it. The whole may take long, but the next row must come
/// within the limit on one statement.
///
/// The uses are read by themselves. Joined to the keys, they would cost PostgreSQL more, and where they
/// do not fit into `work_mem`, many times as much.
pub(super) async fn load(
    database: &Database,
    batches: BatchSender,
) -> Result<Position, StoreError> {
    let mut client = database.acquire(Purpose::Leases).await?;
    let limit = database.answer_limit();
    // After a loss of writes, the database may be a restored one.
    answered_within(
        limit,
        migrate::check_again(
            &client,
            database.max_connections(),
            database.digest_fingerprint(),
        ),
    )
    .await??;
    let begin = async {
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        transaction
            .batch_execute("SET LOCAL statement_timeout = 0")
            .await?;
        transaction.batch_execute(PIN_SEARCH_PATH).await?;
        let check = "SELECT keyservice.check_store($1::pg_catalog.uuid)";
        transaction.query(check, &[&database.store_id()]).await?;
        let last_write = transaction
            .query_opt(
                "SELECT revision, write_id FROM keyservice.writes ORDER BY revision DESC LIMIT 1",
                &[],
            )
            .await?;
        let estimate = transaction.query_opt(KEY_ESTIMATE, &[]).await?;
        Ok((transaction, last_write, estimate))
    };
    let (transaction, last_write, estimate) = answered_within(limit, begin)
        .await?
        .map_err(|error| store_error(&error))?;
    if let Some(keys) = estimate.as_ref().and_then(key_estimate) {
        batches.send(Batch::KeyEstimate(keys)).await?;
    }
    let copy = Copy {
        transaction: &transaction,
        limit,
        batches: &batches,
    };
    copy.everything().await?;
    answered_within(limit, transaction.rollback())
        .await?
        .map_err(|error| store_error(&error))?;
    client.give_back();
    last_write.map_or(Ok(Position::START), |write| rows::position(&write))
}

/// Whoever owns the table may have made it up, so it may decide nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is an estimate, and positive"
)]
fn key_estimate(row: &Row) -> Option<u64> {
    let keys: f32 = row.try_get(0).ok()?;
    (keys >= 1.0).then_some(keys as u64)
}

/// The copying of tables within one transaction.
struct Copy<'a> {
    transaction: &'a Transaction<'a>,
    limit: Duration,
    batches: &'a BatchSender,
}

impl Copy<'_> {
    async fn everything(&self) -> Result<(), StoreError> {
        let key = |row: CopiedRow<'_>, keys: &mut KeyBatch| {
            keys.push(&rows::copied_key_state(row)?);
            Ok(())
        };
        let (from, columns) = ("keyservice.keys k", &rows::COPIED_KEY_COLUMNS);
        self.read(from, columns, key, Batch::Keys).await?;
        let now = Timestamp::now();
        let used = |row: CopiedRow<'_>, uses: &mut Vec<_>| {
            uses.extend(rows::copied_use(row, now)?);
            Ok(())
        };
        let (from, columns) = ("keyservice.key_uses", &rows::COPIED_USE_COLUMNS);
        self.read(from, columns, used, Batch::Uses).await?;
        let domain = |row: CopiedRow<'_>, domains: &mut Vec<_>| {
            domains.push(rows::copied_domain_state(row)?);
            Ok(())
        };
        let (from, columns) = ("keyservice.domains", &rows::COPIED_DOMAIN_COLUMNS);
        self.read(from, columns, domain, Batch::Domains).await?;
        let account = |row: CopiedRow<'_>, accounts: &mut Vec<_>| {
            accounts.push(rows::copied_account_state(row)?);
            Ok(())
        };
        let (from, columns) = ("keyservice.accounts", &rows::COPIED_ACCOUNT_COLUMNS);
        self.read(from, columns, account, Batch::Accounts).await
    }

    /// Sends what is in the rows of a table, in batches.
    async fn read<States: Default + Send, const COLUMNS: usize>(
        &self,
        from: &str,
        columns: &[&str; COLUMNS],
        read: impl Fn(CopiedRow<'_>, &mut States) -> Result<(), StoreError> + Send + Sync,
        batch: fn(States) -> Batch,
    ) -> Result<(), StoreError> {
        let columns = columns.join(", ");
        let sql = format!("COPY (SELECT {columns} FROM {from}) TO STDOUT (FORMAT binary)");
        let copied = answered_within(self.limit, self.transaction.copy_out(&sql)).await?;
        let mut messages = pin!(copied.map_err(|error| store_error(&error))?);
        let mut reader = CopyReader::new(i16::try_from(COLUMNS).expect("a few columns"));
        let (mut states, mut len) = (States::default(), 0);
        while let Some(message) = self.next(messages.as_mut()).await? {
            let Some(row) = reader.row(&message)? else {
                continue;
            };
            read(row, &mut states)?;
            len += 1;
            if len == BATCH_LEN {
                self.batches.send(batch(take(&mut states))).await?;
                len = 0;
            }
        }
        if !reader.has_ended() {
            return Err(unexpected("the copy of a table ended early"));
        }
        if len > 0 {
            self.batches.send(batch(states)).await?;
        }
        Ok(())
    }

    /// The next message, which must come within the limit. To set a limit costs more than to read a row,
    /// so none is set for a message that is here already.
    async fn next(
        &self,
        mut messages: Pin<&mut CopyOutStream>,
    ) -> Result<Option<Bytes>, StoreError> {
        let next = match messages.try_next().now_or_never() {
            Some(next) => next,
            None => answered_within(self.limit, messages.try_next()).await?,
        };
        next.map_err(|error| store_error(&error))
    }
}
