//! Sessions that this process has given up, and in which the server may still work on a statement.
//!
//! A commit that waits for a synchronous standby ends neither by `statement_timeout` nor because its client has gone.
//! Without a request to cancel it, such sessions would pile up while no standby answers, until the server takes no
//! connection any more. The wait of a cancelled commit ends, and the commit stands, but nobody was told that it does.

use super::address::Address;
use crate::store::with_causes;
use deadpool_postgres::ClientWrapper;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_postgres::CancelToken;

/// How long a session that nobody waits for gets to end by itself, before the first request to cancel its statement:
/// `statement_timeout` ends most, and each request costs the server a process, of which an overloaded one has too many.
const PAUSE_OF_ABANDONED: Duration = Duration::from_secs(1);

/// The same, for a statement whose answer somebody waits for.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How long the server is asked. If it cannot be reached, keepalives end the session.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Closes a session once the server works on nothing in it any more.
pub(super) fn close(address: Arc<Address>, client: ClientWrapper) {
    // There is none when the process ends. The server then sees that the connection is closed.
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let token = client.cancel_token();
        // The answer to it comes behind everything that was sent before.
        let ended = client.batch_execute("");
        let ended = cancelled_after(PAUSE_OF_ABANDONED, &address, &token, ended);
        if ended.await.is_none() {
            tracing::debug!("a session was given up while PostgreSQL worked in it");
        }
    });
}

/// Waits for the answer to a statement, which the server is asked to cancel. Gives none if it does not answer.
pub(super) async fn cancelled_until<T>(
    address: &Address,
    token: &CancelToken,
    answer: impl Future<Output = T>,
) -> Option<T> {
    cancelled_after(FIRST_PAUSE, address, token, answer).await
}

/// The same, with the first request after a pause. From then on the pauses grow. Requests are repeated: a transaction
/// that was sent behind the statement may have to wait too.
async fn cancelled_after<T>(
    mut pause: Duration,
    address: &Address,
    token: &CancelToken,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let end = Instant::now() + END_LIMIT;
    let mut answer = pin!(answer);
    while Instant::now() < end {
        if let Ok(answer) = timeout(pause, &mut answer).await {
            return Some(answer);
        }
        ask_to_cancel(address, token).await;
        pause *= 2;
    }
    None
}

/// Asks the server once. It may get that before the statement, and then does nothing.
pub(super) async fn ask_to_cancel(address: &Address, token: &CancelToken) {
    match timeout(address.connect_timeout(), address.cancel(token)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("cannot cancel a statement: {}", with_causes(&error)),
        Err(_) => tracing::debug!("cannot cancel a statement: PostgreSQL gave no answer"),
    }
}
