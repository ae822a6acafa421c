//! The answer to an admin call, until its client has taken it.
//!
//! Owns the answer's bytes and the call's slot. Both are given back together, so that the slots bound
//! the memory for answers.
//! Promises that no client holds them for longer than `--answer-timeout`, and that HTTP/2's own queues
//! never hold much of an answer that the connection does not take.

use super::errors::trailers;
use crate::{callers::admin_slots::AdminSlot, net::connection::Peer};
use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body};

/// In bytes. What was handed on cannot be taken back, so answers are handed on in copies of this size.
const CHUNK_SIZE: usize = 16 * 1024;

/// How many bytes of answers a connection may have to write before the next chunk waits.
const MAX_UNWRITTEN: usize = 128 * 1024;

/// How soon a chunk that waits looks again. A network takes as long to move [`MAX_UNWRITTEN`].
const RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// Holds the slot until the client has taken the answer. An answer without a message is headers alone,
/// which no client can refuse to take.
pub(super) fn hold(
    slot: Arc<AdminSlot>,
    peer: Option<Peer>,
    limit: Duration,
    response: Response<Body>,
) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|answer| {
        let shared = Arc::new(Mutex::new(Shared {
            held: Some(Held {
                answer,
                rest: Bytes::new(),
                slot,
            }),
            waker: None,
        }));
        let timer = drop_after(limit, shared.clone());
        Body::new(HeldAnswer {
            shared,
            peer,
            limit,
            retry: None,
            handed_on: 0,
            has_ended: false,
            _timer: AbortOnDropHandle::new(tokio::spawn(timer)),
        })
    })
}

/// HTTP/2 does not ask for the body of a stream whose client takes nothing. So the time passes beside
/// it.
async fn drop_after(limit: Duration, shared: Arc<Mutex<Shared>>) {
    sleep(limit).await;
    let waker = {
        let mut shared = lock(&shared);
        shared.held = None;
        shared.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Each change is one assignment.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Shared {
    /// `None` once the time is over.
    held: Option<Held>,
    waker: Option<Waker>,
}

struct Held {
    answer: Body,
    /// What is left of the frame that is handed on.
    rest: Bytes,
    #[expect(dead_code, reason = "it frees the slot when it is dropped")]
    slot: Arc<AdminSlot>,
}

struct HeldAnswer {
    shared: Arc<Mutex<Shared>>,
    /// `None` where there is no connection.
    peer: Option<Peer>,
    limit: Duration,
    /// Set while the connection has too much to write.
    retry: Option<Pin<Box<Sleep>>>,
    /// In bytes.
    handed_on: usize,
    has_ended: bool,
    _timer: AbortOnDropHandle<()>,
}

impl HeldAnswer {
    /// Ready when the connection may be given more to write.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(peer) = &self.peer else {
            return Poll::Ready(());
        };
        loop {
            if let Some(retry) = &mut self.retry {
                ready!(retry.as_mut().poll(context));
                self.retry = None;
            }
            if peer.slot.unwritten() < MAX_UNWRITTEN {
                return Poll::Ready(());
            }
            self.retry = Some(Box::pin(sleep(RETRY_INTERVAL)));
        }
    }

    fn count_handed_on(&mut self, bytes: usize) {
        self.handed_on += bytes;
        if let Some(peer) = &self.peer {
            peer.slot.add_unwritten(bytes);
        }
    }

    fn untaken(&self) -> Result<Frame<Bytes>, Status> {
        let status = Status::cancelled(format!(
            "the client did not take the answer within {:?} (--answer-timeout)",
            self.limit
        ));
        trailers(&status)
    }
}

impl HttpBody for HeldAnswer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let has_room = self.poll_room(context).is_ready();
        let shared = self.shared.clone();
        let mut shared = lock(&shared);
        shared.waker = Some(context.waker().clone());
        let Some(held) = &mut shared.held else {
            self.has_ended = true;
            return Poll::Ready(Some(self.untaken()));
        };
        if !has_room {
            return Poll::Pending;
        }
        if held.rest.is_empty() {
            match ready!(Pin::new(&mut held.answer).poll_frame(context)) {
                Some(Ok(frame)) if frame.is_data() => {
                    held.rest = frame.into_data().unwrap_or_default();
                }
                end => {
                    self.has_ended = true;
                    return Poll::Ready(end);
                }
            }
        }
        let length = held.rest.len().min(CHUNK_SIZE);
        // A copy, because a part would keep the whole.
        let chunk = Bytes::copy_from_slice(&held.rest.split_to(length));
        self.count_handed_on(length);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for HeldAnswer {
    fn drop(&mut self) {
        // HTTP/2 forgets what it has yet to write of a stream that was given up.
        if let (false, Some(peer)) = (self.has_ended, &self.peer) {
            peer.slot.remove_unwritten(self.handed_on);
        }
    }
}
