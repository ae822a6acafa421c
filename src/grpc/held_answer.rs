//! The answer to an admin call, until its client has taken it.
//!
//! Owns the call's slot, which lasts as long as the answer's bytes do. HTTP/2 drops them when it has
//! written them, or when the call or the connection ends. So the slots bound the memory for answers.
//! Promises that no client keeps them for longer than `--answer-timeout`: then its connection is closed.
//! HTTP/2 gives back what it has of an answer in no other way that a client cannot prevent.

use crate::{
    callers::admin_slots::AdminSlot,
    net::{admission::HeldByConnection, connection::Peer},
};
use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body};

/// The most bytes that HTTP/2 is given at once, as large as its frames. So it can be seen whether a client takes
/// a long answer.
const PART_SIZE: usize = 16 * 1024;

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
    let held = Arc::new(Held {
        slot,
        connection: peer.map(|peer| OfConnection::new(peer, limit)),
    });
    let rest = Bytes::new();
    response.map(|answer| Body::new(HeldAnswer { answer, rest, held }))
}

/// What lasts until the answer is taken.
struct Held {
    #[expect(dead_code, reason = "it matters when it is dropped")]
    slot: Arc<AdminSlot>,
    /// `None` where there is no connection.
    connection: Option<OfConnection>,
}

struct OfConnection {
    answer: HeldByConnection,
    #[expect(dead_code, reason = "it matters when it is dropped")]
    timer: AbortOnDropHandle<()>,
}

impl OfConnection {
    fn new(peer: Peer, limit: Duration) -> Self {
        let answer = HeldByConnection::new(peer.slot.clone());
        // Beside the body, which HTTP/2 does not ask for more while its client takes nothing.
        let timer = tokio::spawn(async move {
            sleep(limit).await;
            peer.slot.close_for_untaken_answer();
        });
        Self {
            answer,
            timer: AbortOnDropHandle::new(timer),
        }
    }
}

struct HeldAnswer {
    answer: Body,
    /// What has come of the answer, and HTTP/2 has not been given yet.
    rest: Bytes,
    held: Arc<Held>,
}

impl HeldAnswer {
    fn next_part(&mut self) -> Frame<Bytes> {
        let bytes = self.rest.split_to(self.rest.len().min(PART_SIZE));
        let held = self.held.clone();
        Frame::data(Bytes::from_owner(Part { bytes, held }))
    }
}

/// A part of the answer that HTTP/2 is given, and drops when its client has taken it.
struct Part {
    bytes: Bytes,
    held: Arc<Held>,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(connection) = &self.held.connection {
            connection.answer.note_taken_part();
        }
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for HeldAnswer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.next_part())));
        }
        let frame = ready!(Pin::new(&mut self.answer).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(bytes) => {
                    self.rest = bytes;
                    self.next_part()
                }
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.answer.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callers::{Caller, admin_slots::AdminSlots};
    use futures::FutureExt;
    use std::{future::poll_fn, time::Instant};

    /// The only slot, and whether it is free.
    fn only_slot() -> (Arc<AdminSlot>, impl Fn() -> bool) {
        let (slots, caller) = (Arc::new(AdminSlots::new(1)), Caller::anyone());
        let take = move || slots.take(&caller, false, Instant::now());
        let slot = Arc::new(take().expect("it is free"));
        (slot, move || take().is_ok())
    }

    fn held(slot: Arc<AdminSlot>, body: Body) -> Body {
        hold(slot, None, Duration::MAX, Response::new(body)).into_body()
    }

    fn message() -> Body {
        Body::new("message".to_owned())
    }

    #[test]
    fn a_slot_is_free_when_the_last_byte_of_the_answer_is() {
        let (slot, is_free) = only_slot();
        let mut body = held(slot, message());
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let frame = frame.now_or_never().flatten().expect("a frame");
        drop(body);
        let mut data = frame.expect("no error").into_data().expect("data");
        let end = data.split_off(6);
        drop(data);
        assert!(!is_free(), "HTTP/2 still has the end");
        assert_eq!(end, b"e"[..]);
        drop(end);
        assert!(is_free());
    }

    #[test]
    fn a_slot_is_free_when_an_answer_is_dropped_that_nobody_asked_for() {
        let (slot, is_free) = only_slot();
        let body = held(slot, message());
        assert!(!is_free());
        drop(body);
        assert!(is_free());
    }

    #[test]
    fn an_answer_of_headers_alone_holds_no_slot() {
        let (slot, is_free) = only_slot();
        let _body = held(slot, Body::empty());
        assert!(is_free());
    }
}
