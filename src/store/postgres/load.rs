//! Owns reading every key at once.
//! Promises a keyring as of one moment, with that moment's revision.
//! Must never hold a lock that a writer waits for.

use super::{answered_within, rows, store_error};
use crate::store::{ApplyState, Position, StoreError};
use deadpool_postgres::Object;
use futures::TryStreamExt;
use std::{pin::pin, time::Duration};
use tokio_postgres::{IsolationLevel, binary_copy::BinaryCopyOutStream};

/// Reads everything in one snapshot. Commit order is revision order, so a snapshot that holds
/// revision C holds all before it. Each row must come within `patience`.
pub(super) async fn load(
    client: &mut Object,
    patience: Duration,
    apply: &mut ApplyState<'_>,
) -> Result<Position, StoreError> {
    let begin = async {
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        // The whole may take longer than a statement may.
        transaction
            .batch_execute("SET LOCAL statement_timeout = 0")
            .await?;
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
    let (transaction, last_write, copied) = answered_within(patience, begin)
        .await?
        .map_err(|error| store_error(&error))?;
    let mut states = pin!(BinaryCopyOutStream::new(copied, &rows::STATE_TYPES));
    while let Some(row) = answered_within(patience, states.try_next())
        .await?
        .map_err(|error| store_error(&error))?
    {
        apply(rows::copied_state(&row)?);
        // Health checks get their turn, on one core too.
        tokio::task::coop::consume_budget().await;
    }
    answered_within(patience, transaction.rollback())
        .await?
        .map_err(|error| store_error(&error))?;
    last_write.map_or(Ok(Position::START), |write| rows::position(&write))
}
