//! The end of a call, for the layers that count it or hold something until then.
//!
//! Owns the one body that such a layer puts around a response.
//! Promises to tell of each end once: with the call's status, or that the call was given up.
//! Must never lock, box or allocate: it is on Authorize's way.

use crate::grpc::call::status;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Code, Status, body::Body};

/// What a layer does when a call ends. What it holds is dropped with the response's body.
pub trait AtEnd: Unpin {
    /// Called once. There is no status if the call was given up before it had one.
    fn ended(&mut self, status: Option<Code>);
}

/// A call whose end was not told yet. To drop it is to give the call up.
pub(in crate::grpc) struct Unended<E: AtEnd> {
    at_end: E,
    is_told: bool,
}

impl<E: AtEnd> Unended<E> {
    pub(super) fn new(at_end: E) -> Self {
        Self {
            at_end,
            is_told: false,
        }
    }

    /// The response, which tells of the call's end.
    pub(super) fn until_end(mut self, response: Response<Body>) -> Response<UntilEnd<E>> {
        if let Some(code) = status(response.headers()) {
            self.tell(Some(code));
        }
        response.map(|inner| UntilEnd { inner, call: self })
    }

    fn tell(&mut self, status: Option<Code>) {
        if !self.is_told {
            self.is_told = true;
            self.at_end.ended(status);
        }
    }
}

impl<E: AtEnd> Drop for Unended<E> {
    fn drop(&mut self) {
        self.tell(None);
    }
}

/// A response's body, with which its call ends.
pub struct UntilEnd<E: AtEnd> {
    inner: Body,
    call: Unended<E>,
}

impl<E: AtEnd> HttpBody for UntilEnd<E> {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = status(trailers).unwrap_or(Code::Unknown);
                    self.call.tell(Some(code));
                }
            }
            Some(Err(broken)) => self.call.tell(Some(broken.code())),
            // This is how a client understands an end without a status.
            None => self.call.tell(Some(Code::Unknown)),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
