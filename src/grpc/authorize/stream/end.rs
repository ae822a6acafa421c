//! When a stream ends that its client would not end.
//!
//! Owns what ends it: the caller's deadline, the age of its connection, the end of the process, answers that
//! are not taken, and a caller that nobody knows any more.
//! Promises that the client knows that its connection ends before the stream does, so that it opens the next
//! stream on another one.
//! Must never keep a server from draining: the connection of a client that does not take the end is closed.

use super::AuthorizeStream;
use crate::{
    callers::shares::{Share, Shares},
    grpc::{errors, unwritten::Unwritten},
    model::caller_name::CallerName,
    net::admission::{ConnectionSlot, StreamOfConnection},
};
use futures::future::BoxFuture;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::AbortOnDropHandle,
};
use tonic::Status;

/// How long the news that a connection ends takes to its client. It needs one way.
const GOAWAY_TIME: Duration = Duration::from_millis(200);

/// How long a client has to take the end of its stream. It needs one round trip.
const END_TIME: Duration = Duration::from_secs(2);

/// How long a stream lasts at least that is opened when its connection should have ended already. The client
/// opens another one at once, and would otherwise do so without a pause.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// How long a client may take few of the answers that wait before its stream counts as stalled. HTTP/2 keeps what
/// such a client sends in small frames, each with the whole buffer that it was read into.
const STALL: Duration = Duration::from_secs(1);

/// When a stream ends at the latest.
pub(super) struct Limits {
    pub(super) deadline: Option<Instant>,
    /// When its connection is asked to end, and some time later.
    pub(super) connection_end: Option<Instant>,
    /// How long its client may take few of the answers that wait.
    pub(super) stall: Duration,
    /// Ready when nobody knows its caller any more, if callers are listed.
    pub(super) until_unknown: Option<BoxFuture<'static, ()>>,
}

/// What a stream holds until it ends.
pub(super) struct Held {
    pub(super) of_caller: Arc<Share>,
    pub(super) of_connection: StreamOfConnection,
}

pub(super) struct StreamEnd {
    deadline: Option<Instant>,
    /// Set before the stream is asked to end, if nobody knows its caller any more.
    is_unknown: Arc<AtomicBool>,
    ending: CancellationToken,
    asked_to_end: Pin<Box<WaitForCancellationFutureOwned>>,
    #[expect(dead_code, reason = "it matters when it is dropped")]
    timer: AbortOnDropHandle<()>,
    held: Option<Held>,
}

impl StreamEnd {
    /// The stream is asked to end at its deadline, or when its connection or the server ends, when it is stalled
    /// for too long, or when nobody knows its caller any more. Its connection is closed if its client does not
    /// take that.
    pub(super) fn new(
        draining: &CancellationToken,
        limits: Limits,
        unwritten: Arc<Unwritten>,
        stalled: &Arc<Shares>,
        held: Held,
    ) -> Self {
        let Limits {
            deadline,
            connection_end,
            stall,
            until_unknown,
        } = limits;
        let is_unknown = Arc::<AtomicBool>::default();
        let ending = CancellationToken::new();
        let asked_to_end = Box::pin(ending.clone().cancelled_owned());
        let (draining, asked, unknown) = (draining.clone(), ending.clone(), is_unknown.clone());
        let (stalled, caller) = (stalled.clone(), held.of_caller.caller().clone());
        let connection = held.of_connection.slot().clone();
        let timer = tokio::spawn(async move {
            let drained = async {
                draining.cancelled().await;
                sleep(GOAWAY_TIME).await;
            };
            tokio::select! {
                () = drained => {}
                () = wait_until(deadline) => {}
                () = wait_until(connection_end) => {}
                () = stalled_for_too_long(&unwritten, stall, &stalled, &caller) => {}
                () = wait_for(until_unknown) => unknown.store(true, Relaxed),
            }
            asked.cancel();
            sleep(END_TIME).await;
            connection.close_for_untaken_answer();
        });
        Self {
            deadline,
            is_unknown,
            ending,
            asked_to_end,
            timer: AbortOnDropHandle::new(timer),
            held: Some(held),
        }
    }

    /// Lets go of what the stream holds. This is to be done before its end is given to HTTP/2: a client that
    /// knows of the end may open the next stream at once.
    pub(super) fn let_go(&mut self) {
        self.held = None;
    }

    /// Whether the stream is to end.
    pub(super) fn is_due(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Ready when the stream is to end.
    pub(super) fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.asked_to_end.as_mut().poll(context)
    }

    /// What the stream ends with.
    pub(super) fn status(&self) -> Status {
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => Status::deadline_exceeded(
                "the stream's deadline has come: open another, and ask there what is not answered",
            ),
            _ if self.is_unknown.load(Relaxed) => errors::unauthenticated(),
            _ => Status::ok(""),
        }
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

async fn wait_for(event: Option<BoxFuture<'static, ()>>) {
    match event {
        Some(event) => event.await,
        None => std::future::pending().await,
    }
}

/// Waits until the client takes few answers for this long, or until its stream is stalled while there are as many
/// stalled streams as there may be, of its caller or of all.
async fn stalled_for_too_long(
    unwritten: &Unwritten,
    limit: Duration,
    stalled: &Arc<Shares>,
    caller: &CallerName,
) {
    let stall = STALL.min(limit);
    loop {
        unwritten.slow(stall).await;
        let Some(_share) = stalled.take(caller) else {
            return;
        };
        if timeout(limit, unwritten.not_slow(stall)).await.is_err() {
            return;
        }
    }
}

impl AuthorizeStream {
    /// When a stream is to end because of its connection's age.
    pub(super) fn connection_end(&self, connection: &ConnectionSlot) -> Option<Instant> {
        let asked_to_end = connection.set_up()?.checked_add(self.max_age)?;
        // Before the connection is cut off.
        let end = asked_to_end.checked_add(GOAWAY_TIME.min(self.max_age_grace / 2))?;
        Some(end.max(Instant::now() + LEAST_TIME.min(self.max_age / 2)))
    }
}
