//! The answer to a call that streams its messages.
//!
//! Owns what such an answer ends with when the client's messages cannot be read, or do not come.
//! Promises the status that says so. tonic's reflection ends with `OK` then.
//! Must never keep a server from draining.

use crate::grpc::errors::trailers;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body};

/// What was wrong with a call's messages, if something was. The request's body sets it.
pub(super) type Failure = Arc<OnceLock<Status>>;

/// The response, which ends with the failure if there is one by then, and when the server drains.
pub(super) fn ends_with(
    failure: Failure,
    draining: CancellationToken,
    response: Response<Body>,
) -> Response<Body> {
    response.map(|inner| {
        Body::new(StreamAnswer {
            inner,
            failure,
            draining: Box::pin(draining.cancelled_owned()),
            has_ended: false,
        })
    })
}

struct StreamAnswer {
    inner: Body,
    failure: Failure,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    has_ended: bool,
}

impl HttpBody for StreamAnswer {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            ready!(self.draining.as_mut().poll(context));
            self.has_ended = true;
            let ending = Status::unavailable("the server is ending: call again");
            return Poll::Ready(Some(trailers(&ending)));
        };
        let is_end = matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
        Poll::Ready(match self.failure.get() {
            Some(failure) if is_end => Some(trailers(failure)),
            _ => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
