//! The answer to a call that streams its messages.
//!
//! Owns what such an answer ends with when the client's messages cannot be read, or do not come, how
//! long the call may last, and how much of the answer HTTP/2 is given at once.
//! Promises the status that says so. tonic's reflection ends with `OK` then. Promises too that HTTP/2
//! holds no more than one frame for a client that does not read. It would take up to 400 KiB a call.
//! Must never keep a server from draining, nor last for as long as its client likes.

use crate::{
    callers::shares::Share,
    grpc::{call::status, errors::trailers, unwritten::Unwritten},
    net::admission::ConnectionSlot,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::AbortOnDropHandle,
};
use tonic::{Code, Status, body::Body};

/// What was wrong with a call's messages, if something was. The request's body sets it.
pub(super) type Failure = Arc<OnceLock<Status>>;

/// How long a client has to take the end of its answer. It needs one round trip.
const END_TIME: Duration = Duration::from_secs(1);

/// When a call ends at the latest, and its slot, which is free when this is dropped.
pub(super) struct StreamEnd {
    asked_to_end: Pin<Box<WaitForCancellationFutureOwned>>,
    #[expect(dead_code, reason = "it matters when it is dropped")]
    timer: AbortOnDropHandle<()>,
    slot: Option<Arc<Share>>,
}

impl StreamEnd {
    /// The call is asked to end when this is ready, or when the server drains. If its client does not take
    /// that, its connection is closed: HTTP/2 asks for no more of the answer meanwhile.
    pub(super) fn after(
        limit: impl Future<Output = ()> + Send + 'static,
        draining: &CancellationToken,
        slot: Option<Arc<Share>>,
        connection: Option<Arc<ConnectionSlot>>,
    ) -> Self {
        let ending = draining.child_token();
        let asked_to_end = Box::pin(ending.clone().cancelled_owned());
        let timer = tokio::spawn(async move {
            limit.await;
            ending.cancel();
            sleep(END_TIME).await;
            if let Some(connection) = connection {
                connection.close_for_untaken_answer();
            }
        });
        Self {
            asked_to_end,
            timer: AbortOnDropHandle::new(timer),
            slot,
        }
    }

    /// Lets go of the call's slot. This is to be done before the answer's end is given to HTTP/2: a client that
    /// knows of the end may call again at once.
    fn let_go(&mut self) {
        self.slot = None;
    }
}

/// Ready after this time, or when nobody knows the call's caller any more.
pub(super) async fn until(time: Duration, until_unknown: Option<BoxFuture<'static, ()>>) {
    match until_unknown {
        Some(until_unknown) => drop(timeout(time, until_unknown).await),
        None => sleep(time).await,
    }
}

/// The response, which ends with the failure if there is one by then, and when it is asked to end.
pub(super) fn ends_with(
    failure: Failure,
    end: StreamEnd,
    response: Response<Body>,
) -> Response<Body> {
    response.map(|inner| {
        Body::new(StreamAnswer {
            inner,
            failure,
            end,
            unwritten: Arc::default(),
            has_ended: false,
        })
    })
}

struct StreamAnswer {
    inner: Body,
    failure: Failure,
    end: StreamEnd,
    unwritten: Arc<Unwritten>,
    has_ended: bool,
}

impl StreamAnswer {
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        ready!(self.unwritten.poll_none(context));
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(
            frame.map(|frame| {
                frame.map(|frame| frame.map_data(|bytes| self.unwritten.begin(bytes)))
            }),
        )
    }
}

/// The frame, whose message does not repeat what the client sent if it ends the stream with a failure.
/// tonic's reflection names what it has not found, and clients and proxies log such a message.
fn in_own_words(frame: Frame<Bytes>) -> Result<Frame<Bytes>, Status> {
    let code = frame.trailers_ref().and_then(status);
    let text = match code {
        None | Some(Code::Ok) => return Ok(frame),
        Some(Code::NotFound) => "no such symbol, file or extension is served here",
        Some(_) => "the stream's message asks for nothing that can be answered",
    };
    trailers(&Status::new(code.unwrap_or(Code::Unknown), text))
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
        let Poll::Ready(frame) = self.poll_next(context) else {
            ready!(self.end.asked_to_end.as_mut().poll(context));
            self.has_ended = true;
            self.end.let_go();
            let ending = Status::unavailable("the server ends this stream: call again");
            return Poll::Ready(Some(trailers(&ending)));
        };
        let is_end = matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
        if is_end {
            self.end.let_go();
        }
        Poll::Ready(match self.failure.get() {
            Some(failure) if is_end => Some(trailers(failure)),
            _ => frame.map(|frame| frame.and_then(in_own_words)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
