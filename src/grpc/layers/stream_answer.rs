//! The answer to a call that streams its messages.
//!
//! Owns what such an answer ends with when the client's messages cannot be read, or do not come.
//! Promises the status that says so. tonic's reflection ends with `OK` then.

use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};
use tonic::{Status, body::Body};

/// What was wrong with a call's messages, if something was. The request's body sets it.
pub(super) type Failure = Arc<OnceLock<Status>>;

/// The response, which ends with the failure if there is one by then.
pub(super) fn ends_with(failure: Failure, response: Response<Body>) -> Response<Body> {
    response.map(|inner| Body::new(StreamAnswer { inner, failure }))
}

struct StreamAnswer {
    inner: Body,
    failure: Failure,
}

impl HttpBody for StreamAnswer {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let is_end = matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
        Poll::Ready(match self.failure.get() {
            Some(failure) if is_end => {
                let mut trailers = HeaderMap::new();
                Some(
                    failure
                        .add_header(&mut trailers)
                        .map(|()| Frame::trailers(trailers)),
                )
            }
            _ => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
