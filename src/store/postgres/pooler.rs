//! Poolers between this service and PostgreSQL.
//!
//! Recognises a pooler that lends a session to other clients between two transactions and does not keep what
//! this one has prepared there. Behind it, calls fail, or run what others have prepared.

use super::errors::is_lost_statement;
use tokio_postgres::{Client, Error, types::ToSql};

/// More than any statement of this service has. So the server refuses a foreign statement that has taken the name
/// of this one.
const PARAMETERS: usize = 40;

/// Whether a connection still has its prepared statements when another one has worked meanwhile.
///
/// The other one takes the session that was used last, since that is what poolers give.
pub(super) async fn keeps_statements(one: &Client, other: &Client) -> Result<bool, Error> {
    let parameters: Vec<_> = (1..=PARAMETERS)
        .map(|number| format!("${number}::pg_catalog.bool"))
        .collect();
    let statement = format!("SELECT {}", parameters.join(", "));
    let statement = one.prepare(&statement).await?;
    other.batch_execute("BEGIN").await?;
    let found = one
        .query(&statement, &[&true as &(dyn ToSql + Sync); PARAMETERS])
        .await;
    other.batch_execute("ROLLBACK").await?;
    match found {
        Ok(_) => Ok(true),
        Err(error) if is_lost_statement(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
