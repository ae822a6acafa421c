//! Sessions that this process has given up, and in which the server may still work on a statement.
//!
//! A commit that waits for a synchronous standby ends neither by `statement_timeout` nor because its client has gone.
//! Without a request to cancel it, such sessions would pile up while no standby answers, until the server takes no
//! connection any more. The wait of a cancelled commit ends, and the commit stands, but nobody was told that it does.

use super::address::Address;
use crate::store::with_causes;
use deadpool_postgres::ClientWrapper;
use std::{sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tokio_postgres::CancelToken;

/// How long a session that nobody waits for gets to end by itself, before the first request to cancel its statement:
/// `statement_timeout` ends most, and each request costs the server a process, of which an overloaded one has too many.
const PAUSE_OF_ABANDONED: Duration = Duration::from_secs(1);

/// How long a statement gets to end by itself if somebody waits for its answer. It is also the first pause between two
/// requests.
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

/// The same, with the first request after a pause.
async fn cancelled_after<T>(
    pause: Duration,
    address: &Address,
    token: &CancelToken,
    answer: impl Future<Output = T>,
) -> Option<T> {
    asked_until(answer, pause, || ask_to_cancel(address, token)).await
}

/// Asks again and again until the answer comes, or its time is over. After the first request, the pauses are short, and
/// grow. Requests are repeated: a transaction that was sent behind the statement may have to wait too.
async fn asked_until<T, F: Future<Output = ()>>(
    answer: impl Future<Output = T>,
    first_pause: Duration,
    ask: impl Fn() -> F,
) -> Option<T> {
    let ask_for_ever = async {
        sleep(first_pause).await;
        let mut pause = FIRST_PAUSE;
        loop {
            ask().await;
            sleep(pause).await;
            pause *= 2;
        }
    };
    tokio::select! {
        answer = answer => Some(answer),
        () = ask_for_ever => None,
        () = sleep(END_LIMIT) => None,
    }
}

/// Asks the server once. It may get that before the statement, and then does nothing.
pub(super) async fn ask_to_cancel(address: &Address, token: &CancelToken) {
    match timeout(address.connect_timeout(), address.cancel(token)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("cannot cancel a statement: {}", with_causes(&error)),
        Err(_) => tracing::debug!("cannot cancel a statement: PostgreSQL gave no answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::sync::mpsc;

    /// A request to cancel may hang on its way, while the connection of the statement works.
    #[tokio::test]
    async fn an_answer_that_comes_while_the_server_is_asked_is_taken() {
        let (answer, mut answers) = mpsc::channel(1);
        let ask_and_hang = || {
            answer.try_send("an answer").expect("it is awaited");
            pending()
        };
        let answered = asked_until(answers.recv(), Duration::ZERO, ask_and_hang).await;
        assert_eq!(answered, Some(Some("an answer")));
    }
}
