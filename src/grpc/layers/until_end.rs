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
    /// Called once, when the response is ready, before any of its body is asked for.
    fn answered(&mut self) {}

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
        self.at_end.answered();
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

/// A response's body. The call ends when this ends or is dropped.
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::FutureExt;
    use http::HeaderMap;
    use std::{
        collections::VecDeque,
        future::poll_fn,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Ends(Arc<Mutex<Vec<Option<Code>>>>);

    impl AtEnd for Ends {
        fn ended(&mut self, status: Option<Code>) {
            self.0.lock().expect("no panic").push(status);
        }
    }

    /// A body of these frames.
    struct Frames(VecDeque<Result<Frame<Bytes>, Status>>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    /// What is told of a response of which so many frames are read.
    fn told_of(response: Response<Body>, frames: usize) -> Vec<Option<Code>> {
        let ends = Ends::default();
        let mut body = Unended::new(ends.clone()).until_end(response).into_body();
        for _ in 0..frames {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            frame.now_or_never().expect("it is ready");
        }
        drop(body);
        let told = ends.0.lock().expect("no panic");
        told.clone()
    }

    #[test]
    fn an_end_is_told_once_with_the_status_of_the_call() {
        let of_frames = |frames: Vec<_>| Response::new(Body::new(Frames(frames.into())));
        let message = || Ok(Frame::data(Bytes::from_static(b"message")));
        let trailers = |status: &str| {
            let value = status.parse().expect("ASCII");
            let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("ASCII"), value)]);
            Ok(Frame::trailers(trailers))
        };
        let all = || of_frames(vec![message(), trailers("0")]);
        assert_eq!(told_of(all(), 0), [None], "it is given up");
        assert_eq!(told_of(all(), 1), [None], "it is given up later");
        assert_eq!(told_of(all(), 2), [Some(Code::Ok)]);
        assert_eq!(told_of(all(), 3), [Some(Code::Ok)]);
        assert_eq!(
            told_of(of_frames(vec![trailers("14")]), 1),
            [Some(Code::Unavailable)]
        );
        assert_eq!(
            told_of(of_frames(vec![message()]), 2),
            [Some(Code::Unknown)]
        );
        let broken = of_frames(vec![message(), Err(Status::internal("broken"))]);
        assert_eq!(told_of(broken, 2), [Some(Code::Internal)]);
        let in_headers = Status::not_found("no such key").into_http();
        assert_eq!(told_of(in_headers, 1), [Some(Code::NotFound)]);
    }
}
