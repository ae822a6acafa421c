//! What PostgreSQL's answers, errors and silence mean to the store.

use crate::store::{StoreError, with_causes};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

/// How much longer this side waits than the server's own `statement_timeout`: long enough for the
/// server to answer first, unless it cannot be reached.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// Tells errors that may pass, of the server, the network or the moment, from those that will not.
pub(super) fn store_error(error: &tokio_postgres::Error) -> StoreError {
    let cause = with_causes(error).into();
    match error.code() {
        // The server did not send this error, so it arose on the way.
        None => StoreError::Unavailable(cause),
        Some(code) if may_pass(code) => StoreError::Unavailable(cause),
        Some(_) => StoreError::Failed(cause),
    }
}

fn may_pass(code: &SqlState) -> bool {
    // Classes of appendix A of PostgreSQL's manual: connection, rollback, resources, object state,
    // operator, system. An error that refuses a connection never comes here: it may always pass.
    const CLASSES: [&str; 6] = ["08", "40", "53", "55", "57", "58"];
    CLASSES.iter().any(|class| code.code().starts_with(class))
        // From a standby, until it is promoted.
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// The server's answer, if it comes within the limit.
pub(super) async fn answered_within<T>(
    limit: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, StoreError> {
    timeout(limit, answer).await.map_err(|_| no_answer(limit))
}

pub(super) fn no_answer(limit: Duration) -> StoreError {
    let limit = humantime::format_duration(limit);
    StoreError::Unavailable(format!("PostgreSQL gave no answer within {limit}").into())
}

/// For an answer that the migrations' functions never give.
pub(super) fn unexpected(what: &'static str) -> StoreError {
    StoreError::Failed(what.into())
}
