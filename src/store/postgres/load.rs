//! The load of every key at once.
//!
//! Promises all keys as of one moment, and that moment's position. Must never hold a lock that a
//! writer waits for.

use super::{
    database::{Database, PIN_SEARCH_PATH, Purpose},
    errors::{answered_within, store_error},
    rows,
};
use crate::store::{ApplyState, Position, StoreError};
use futures::TryStreamExt;
use std::pin::pin;
use tokio_postgres::{IsolationLevel, binary_copy::BinaryCopyOutStream};

/// Reads everything in one snapshot. Commit order is revision order, so a snapshot that holds
/// revision C holds every revision before it. The whole may take long, but the next row must come
/// within the limit on one statement.
pub(super) async fn load(
    database: &Database,
    apply: &mut ApplyState<'_>,
) -> Result<Position, StoreError> {
    let mut client = database.acquire(Purpose::Leases).await?;
    let limit = database.answer_limit();
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
        let copy = format!(
            "COPY (SELECT {} FROM keyservice.keys) TO STDOUT (FORMAT binary)",
            rows::STATE_COLUMNS
        );
        let copied = transaction.copy_out(&copy).await?;
        Ok((transaction, last_write, copied))
    };
    let (transaction, last_write, copied) = answered_within(limit, begin)
        .await?
        .map_err(|error| store_error(&error))?;
    let mut states = pin!(BinaryCopyOutStream::new(copied, &rows::STATE_TYPES));
    while let Some(row) = answered_within(limit, states.try_next())
        .await?
        .map_err(|error| store_error(&error))?
    {
        apply(rows::copied_state(&row)?);
        // Yields now and then, so that health checks are answered on a single core too.
        tokio::task::coop::consume_budget().await;
    }
    answered_within(limit, transaction.rollback())
        .await?
        .map_err(|error| store_error(&error))?;
    client.give_back();
    last_write.map_or(Ok(Position::START), |write| rows::position(&write))
}
