//! The messages of a stream, read as they come.
//!
//! Owns those that wait for the service, which reads none while its client takes no answers.
//! Promises that these are few. Left to HTTP/2 they would be as many as its window admits, and trailers
//! besides; and a byte of each may keep the whole buffer that it was read into.
//! Must never wait for a client that sends more than the service reads: its call ends.

use super::message_limits::MessageLimits;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body};

/// How many bytes of messages may wait, if one message takes less. A client of reflection asks for a
/// file at a time, in some ten bytes.
const MOST_UNREAD: usize = 16 * 1024;

/// Reads the body from now on, whether it is asked for or not.
pub(super) fn read_ahead(body: Body, limits: MessageLimits) -> Body {
    let unread = Arc::<Unread>::default();
    let reading = read(
        body,
        unread.clone(),
        MOST_UNREAD.max(limits.whole_message()),
    );
    Body::new(ReadAhead {
        unread,
        _reading: AbortOnDropHandle::new(tokio::spawn(reading)),
    })
}

async fn read(mut body: Body, unread: Arc<Unread>, limit: usize) {
    loop {
        match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            None => return unread.end(None),
            Some(Err(broken)) => return unread.end(Some(broken)),
            Some(Ok(frame)) => {
                // Trailers of a request say nothing.
                if let Some(bytes) = frame.data_ref()
                    && !unread.add(bytes, limit)
                {
                    return unread.end(Some(too_many(limit)));
                }
            }
        }
    }
}

fn too_many(limit: usize) -> Status {
    Status::resource_exhausted(format!(
        "more than {limit} bytes of messages wait for this stream's answers to be taken: take them first"
    ))
}

/// What was read and is not asked for yet.
#[derive(Default)]
struct Unread(Mutex<UnreadBytes>);

#[derive(Default)]
struct UnreadBytes {
    bytes: BytesMut,
    has_ended: bool,
    broken: Option<Status>,
    waker: Option<Waker>,
}

impl Unread {
    /// Copies the bytes. Returns false if they are too many.
    fn add(&self, bytes: &[u8], limit: usize) -> bool {
        let mut unread = self.lock();
        if unread.bytes.len() + bytes.len() > limit {
            return false;
        }
        unread.bytes.extend_from_slice(bytes);
        unread.wake();
        true
    }

    fn end(&self, broken: Option<Status>) {
        let mut unread = self.lock();
        unread.has_ended = true;
        unread.broken = broken;
        unread.wake();
    }

    fn lock(&self) -> MutexGuard<'_, UnreadBytes> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

impl UnreadBytes {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct ReadAhead {
    unread: Arc<Unread>,
    _reading: AbortOnDropHandle<()>,
}

impl HttpBody for ReadAhead {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut unread = self.unread.lock();
        if !unread.bytes.is_empty() {
            let bytes = unread.bytes.split().freeze();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if unread.has_ended {
            return Poll::Ready(unread.broken.take().map(Err));
        }
        unread.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
