//! Statements that append rows, of which none tells them from others that are alike.
//!
//! Promises that the caller learns what became of such a statement, if the server can be asked at all: whoever appended
//! the same again could append it twice.

use super::{
    database::{Database, Purpose},
    errors::{answered_within, no_answer, store_error},
    given_up,
};
use crate::store::{Appended, StoreError};
use std::pin::pin;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;

impl Database {
    /// Runs one statement that appends, which is one transaction. If the answer does not come in time, the server is
    /// asked to cancel it, and this waits for what became of it.
    pub(super) async fn append(
        &self,
        purpose: Purpose,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Appended, StoreError> {
        let warnings = self.address.warnings();
        let warned = warnings.so_far();
        let client = self.acquire(purpose).await?;
        let rows = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let (rows, was_cancelled) = {
            let mut rows = pin!(rows);
            if let Ok(rows) = timeout(self.answer_limit(), &mut rows).await {
                (Some(rows), false)
            } else {
                let token = client.cancel_token();
                let rows = given_up::cancelled_until(&self.address, &token, rows);
                (Box::pin(rows).await, true)
            }
        };
        let rows = rows.ok_or_else(|| no_answer(self.answer_limit()))?;
        rows.map_err(|error| store_error(&error))?;
        if was_cancelled {
            // A request may come late, and would meet the next statement.
            return Ok(Appended::OnPrimaryAlone);
        }
        client.give_back();
        if warnings.so_far() == warned {
            return Ok(Appended::Durably);
        }
        // Somebody may have ended the wait for the synchronous standbys.
        let replicated = Box::pin(self.commit_behind_others());
        match answered_within(self.answer_limit(), replicated).await {
            Ok(Ok(())) => Ok(Appended::Durably),
            Ok(Err(_)) | Err(_) => Ok(Appended::OnPrimaryAlone),
        }
    }
}
