//! The load of every key, domain and account at once.
//!
//! Promises them all as of one moment, and that moment's position, of a database that is fit for this service. Must never hold a lock that a
//! writer waits for.

use super::{
    database::{Database, PIN_SEARCH_PATH, Purpose},
    errors::{answered_within, store_error},
    migrate, rows,
};
use crate::store::{ApplyState, Position, State, StoreError};
use futures::TryStreamExt;
use std::{pin::pin, time::Duration};
use tokio_postgres::{
    IsolationLevel, Transaction,
    binary_copy::{BinaryCopyOutRow, BinaryCopyOutStream},
    types::Type,
};

/// Reads everything in one snapshot. Commit order is revision order, so a snapshot that holds
/// revision C holds every revision before it. The whole may take long, but the next row must come
/// within the limit on one statement.
pub(super) async fn load(
    database: &Database,
    apply: &mut ApplyState<'_>,
) -> Result<Position, StoreError> {
    let mut client = database.acquire(Purpose::Leases).await?;
    let limit = database.answer_limit();
    // After a loss of writes, the database may be a restored one.
    answered_within(
        limit,
        migrate::check_again(&client, database.max_connections()),
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
        let last_write = transaction
            .query_opt(
                "SELECT revision, write_id FROM keyservice.writes ORDER BY revision DESC LIMIT 1",
                &[],
            )
            .await?;
        Ok((transaction, last_write))
    };
    let (transaction, last_write) = answered_within(limit, begin)
        .await?
        .map_err(|error| store_error(&error))?;
    let mut copy = Copy {
        transaction: &transaction,
        limit,
        apply,
    };
    let key = |row: &_| rows::copied_key_state(row).map(State::Key);
    let from = "keys k LEFT JOIN keyservice.key_uses u ON u.key_id OPERATOR(pg_catalog.=) k.key_id";
    copy.read(from, rows::KEY_STATE_COLUMNS, &rows::KEY_STATE_TYPES, key)
        .await?;
    let domain = |row: &_| rows::copied_domain_state(row).map(State::Domain);
    let (columns, types) = (rows::DOMAIN_STATE_COLUMNS, &rows::DOMAIN_STATE_TYPES);
    copy.read("domains", columns, types, domain).await?;
    let account = |row: &_| rows::copied_account_state(row).map(State::Account);
    let (columns, types) = (rows::ACCOUNT_STATE_COLUMNS, &rows::ACCOUNT_STATE_TYPES);
    copy.read("accounts", columns, types, account).await?;
    answered_within(limit, transaction.rollback())
        .await?
        .map_err(|error| store_error(&error))?;
    client.give_back();
    last_write.map_or(Ok(Position::START), |write| rows::position(&write))
}

/// The copying of tables within one transaction.
struct Copy<'a, 'b> {
    transaction: &'a Transaction<'a>,
    limit: Duration,
    apply: &'a mut ApplyState<'b>,
}

impl Copy<'_, '_> {
    /// Hands over the state in each row of a table.
    async fn read(
        &mut self,
        table: &str,
        columns: &str,
        types: &[Type],
        state: impl Fn(&BinaryCopyOutRow) -> Result<State, StoreError>,
    ) -> Result<(), StoreError> {
        let sql =
            format!("COPY (SELECT {columns} FROM keyservice.{table}) TO STDOUT (FORMAT binary)");
        let copied = answered_within(self.limit, self.transaction.copy_out(&sql)).await?;
        let copied = copied.map_err(|error| store_error(&error))?;
        let mut copied = pin!(BinaryCopyOutStream::new(copied, types));
        while let Some(row) = answered_within(self.limit, copied.try_next())
            .await?
            .map_err(|error| store_error(&error))?
        {
            (self.apply)(state(&row)?);
            // Yields now and then, so that health checks are answered on a single core too.
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }
}
