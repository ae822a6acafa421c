//! The answer to a call that is refused, by its headers or by what has come of its message.
//!
//! Promises to come only when the message has come too, or is late: HTTP/2 resets a stream that is answered
//! before its message came. h2 counts a message that comes after that as its client's fault, and closes the
//! connection of a client that does so often, with all calls in flight. An honest client whose calls are
//! refused for a while must not lose it.
//! Must never keep what it reads.

use super::{
    deadline::answer_time,
    message_limits::{MessageLimits, Patience},
};
use crate::grpc::{call::Call, methods::Method};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Response;
use http_body::Body as HttpBody;
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{Status, body::Body};

/// Answers the call with this status.
pub(super) fn refused<E>(
    call: Call,
    limits: MessageLimits,
    status: Status,
) -> BoxFuture<'static, Result<Response<Body>, E>>
where
    E: Send + 'static,
{
    Box::pin(async move {
        message_has_come(call, limits).await;
        Ok(status.into_http())
    })
}

/// Waits for the message, but not for those of a stream, which may have no end.
pub(super) async fn message_has_come(call: Call, limits: MessageLimits) {
    if call.method.is_some_and(Method::streams_requests) {
        return;
    }
    let limits = limits.before_deadline(answer_time(call.request.headers()));
    let mut unread = Unread {
        bytes_left: limits.whole_message(),
        // Nobody knows whether another method streams its messages.
        ends_alone: call.method.is_some(),
    };
    let mut patience = Patience::of(&limits, call.began);
    let mut body = call.request.into_body();
    poll_fn(|context| unread.poll_end(&mut body, &mut patience, context)).await;
}

/// The rest of a message that nobody reads.
pub(super) struct Unread {
    /// How much of it is waited for.
    bytes_left: usize,
    /// Whether its client ends it without an answer.
    ends_alone: bool,
}

impl Unread {
    /// The rest of the one message of a call. So many bytes of it are waited for.
    pub(super) fn of_one_message(bytes_left: usize) -> Self {
        let ends_alone = true;
        Self {
            bytes_left,
            ends_alone,
        }
    }

    /// Drops what comes. Ready at the end, or when it is late or too much.
    pub(super) fn poll_end(
        &mut self,
        body: &mut Body,
        patience: &mut Patience,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        while !body.is_end_stream() {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Pending => return patience.poll(context),
                Poll::Ready(Some(Ok(frame))) => {
                    let size = frame.data_ref().map_or(0, Bytes::len);
                    let Some(left) = self.bytes_left.checked_sub(size) else {
                        break;
                    };
                    self.bytes_left = left;
                    if !self.ends_alone {
                        break;
                    }
                }
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    }
}
