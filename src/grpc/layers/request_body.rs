//! Owns how the body of a request ends that brings no message.
//! Promises that this is told as its client's doing: a call given up, or one without its message.
//! Must never leave that to tonic, which takes either for a fault of the server's, `INTERNAL`.

use crate::grpc::call::rename_status;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Code, Status, body::Body};

/// Stands for `CANCELLED` on the way through tonic, which swallows that when it reads a request.
/// No service here answers it.
const GIVEN_UP: Code = Code::Aborted;

/// A request's body.
pub(in crate::grpc) struct RequestBody {
    inner: Body,
    is_empty: bool,
}

impl RequestBody {
    pub(in crate::grpc) fn new(inner: Body) -> Self {
        Self {
            inner,
            is_empty: true,
        }
    }
}

/// Gives a call that was given up before its message had come the status that gRPC has for it.
pub(in crate::grpc) fn name_given_up(response: Response<Body>) -> Response<Body> {
    rename_status(response, GIVEN_UP, Code::Cancelled)
}

impl HttpBody for RequestBody {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                self.is_empty &= !frame.is_data();
                Some(Ok(frame))
            }
            Some(Err(_)) => {
                let given_up = "the client gave the call up before its message had come";
                Some(Err(Status::new(GIVEN_UP, given_up)))
            }
            None if self.is_empty => Some(Err(Status::invalid_argument(
                "the call has no message; send one, empty or not",
            ))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        !self.is_empty && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
