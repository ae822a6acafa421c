//! The body of a request, on its way to the service that reads its messages.
//!
//! Owns what a body is that cannot be read as the messages of its method.
//! Promises a status that tells the client what it did: the message is too large, it is late or broken,
//! there is none or one too many, or the client gave the call up. This status comes when the message has come,
//! unless that takes too long or too many bytes. Promises too that no call goes on by credentials that were
//! changed while its message was awaited.
//! Must never leave these to tonic. It answers `OUT_OF_RANGE` and `INTERNAL`, which are the
//! service's own to give.

use super::{
    cancelled::{cancelled, named},
    message_limits::{LargeMessage, MessageLimits, Patience},
    messages::{Messages, PREFIX_SIZE, Refused},
    refused::Unread,
    stream_answer::Failure,
    unreadable::{Unreadable, unreadable},
};
use crate::{
    grpc::{errors, methods::Method},
    net::reload::Version,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};
use tonic::{Status, body::Body};

/// A request's body.
pub(in crate::grpc) struct RequestBody {
    inner: Body,
    messages: Messages,
    method: Option<Method>,
    limits: MessageLimits,
    patience: Patience,
    /// Set if the messages of a stream cannot be read.
    failure: Option<Failure>,
    /// By which credentials the call passed, if no handler asks again.
    passed_by: Option<Version>,
    /// Whether the message was not there at once.
    has_waited: bool,
    /// The share of large messages for this one, which its service keeps until it has read it.
    large: Option<LargeMessage>,
    /// Why the call fails, while the rest of its message is awaited.
    refusal: Option<Refusal>,
}

/// Bytes of a message that are read after it was refused. gRPC's clients take no larger message themselves
/// by default, and seldom send one.
const MOST_REFUSED_BYTES: usize = 4 * 1024 * 1024;

/// The status of a call that fails, and the rest of its message, which comes before it.
struct Refusal {
    status: Status,
    rest: Unread,
}

impl RequestBody {
    pub(in crate::grpc) fn new(
        inner: Body,
        limits: MessageLimits,
        method: Option<Method>,
        began: Instant,
    ) -> Self {
        Self {
            inner,
            messages: Messages::limited_to(limits.size(), method.and_then(Method::is_message)),
            method,
            limits,
            patience: Patience::of(&limits, began),
            failure: None,
            passed_by: None,
            has_waited: false,
            large: None,
            refusal: None,
        }
    }

    /// The body, which does not go on by other credentials than these.
    pub(super) fn passed_by(mut self, version: Option<Version>) -> Self {
        self.passed_by = version;
        self
    }

    /// The body, which may take this share, and keeps it until it is dropped.
    pub(super) fn with_share(mut self, large: Option<LargeMessage>) -> Self {
        self.large = large;
        self
    }

    /// The body, which tells also this of what is wrong with it.
    pub(super) fn telling(mut self, failure: Failure) -> Self {
        self.failure = Some(failure);
        self
    }

    /// How many bytes the message takes on its way, as far as that is known.
    pub(in crate::grpc) fn whole_message(&self) -> usize {
        self.messages.message_size() + PREFIX_SIZE as usize
    }

    fn poll_readable(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<<Body as HttpBody>::Data>, Status>>> {
        if self.refusal.is_some() {
            return self.poll_refused(context);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            self.has_waited = true;
            if !self.is_awaited() {
                return Poll::Pending;
            }
            ready!(self.patience.poll(context));
            return Poll::Ready(Some(Err(self.limits.too_late())));
        };
        // Who may call was decided before this wait, and the answer must not be by rights that are gone.
        if self.has_waited && self.passed_by.is_some_and(|version| version.is_outdated()) {
            return self.refuse(errors::caller_changed(), context);
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                // Trailers end a body as well as nothing does.
                let read = match frame.data_ref() {
                    Some(data) => self.read(data),
                    None => self.end(),
                };
                match read {
                    Ok(()) => Some(Ok(frame)),
                    Err(status) => return self.refuse(status, context),
                }
            }
            // A stream that is given up ends, and its service needs no more.
            Some(Err(_)) if self.needs_message() => Some(Err(given_up())),
            None => self.end().err().map(Err),
            broken => broken,
        })
    }

    /// Fails the call, once the rest of its message has come. h2 resets a stream that is answered earlier, counts
    /// what comes after that as its client's fault, and closes the connection of a client that does so often.
    fn refuse(
        &mut self,
        status: Status,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<<Body as HttpBody>::Data>, Status>>> {
        // A stream may have no end, and a message may be larger than is worth reading.
        if !self.needs_message() || self.messages.message_size() > MOST_REFUSED_BYTES {
            return Poll::Ready(Some(Err(status)));
        }
        self.refusal = Some(Refusal {
            status,
            rest: Unread::of_one_message(MOST_REFUSED_BYTES),
        });
        self.poll_refused(context)
    }

    fn poll_refused(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<<Body as HttpBody>::Data>, Status>>> {
        if let Some(Refusal { rest, .. }) = &mut self.refusal {
            let (body, patience) = (&mut self.inner, &mut self.patience);
            ready!(rest.poll_end(body, patience, context));
        }
        Poll::Ready(self.refusal.take().map(|refusal| Err(refusal.status)))
    }

    /// Whether the client is still to send what the service cannot do without: the whole body if the
    /// method takes one message, and the first message of a stream.
    fn is_awaited(&self) -> bool {
        self.needs_message() || !self.messages.one_came
    }

    /// Whether the method takes one message, and no stream of any number. Nobody reads the body of a
    /// call that is for no method.
    fn needs_message(&self) -> bool {
        self.method.is_some_and(|method| !method.streams_requests())
    }

    fn read(&mut self, data: &[u8]) -> Result<(), Status> {
        self.messages.read(data).map_err(|refused| match refused {
            Refused::TooLarge { size } => self.limits.too_large(size),
            Refused::Unreadable(why) => unreadable(self.method, why),
        })?;
        if self.needs_message() && self.messages.more_than_one {
            return Err(unreadable(self.method, Unreadable::SecondMessage));
        }
        let size = self.messages.known_size();
        if let Some(size) = size.filter(|size| self.limits.needs_share(*size))
            && !self.large.as_mut().is_some_and(|large| large.take(size))
        {
            return Err(self.limits.no_share(size));
        }
        Ok(())
    }

    /// Why the body may not end here, if it may not.
    fn broken_end(&self) -> Option<Unreadable> {
        if self.messages.is_within_one() {
            Some(Unreadable::Truncated)
        } else if self.needs_message() && self.messages.none_began {
            Some(Unreadable::NoMessage)
        } else {
            None
        }
    }

    fn end(&self) -> Result<(), Status> {
        let broken = self.broken_end();
        broken.map_or(Ok(()), |why| Err(unreadable(self.method, why)))
    }
}

impl HttpBody for RequestBody {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(self.poll_readable(context));
        if let (Some(Err(status)), Some(failure)) = (&frame, &self.failure) {
            // The first failure is the one that ends the call.
            let _ = failure.set(named(status));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream() && self.refusal.is_none() && self.broken_end().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn given_up() -> Status {
    cancelled("the client gave the call up before its message had come".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use bytes::Bytes;
    use futures::StreamExt;
    use http_body_util::StreamBody;
    use std::{task::Waker, time::Duration};
    use tokio_stream::wrappers::UnboundedReceiverStream;
    use tonic::Code;

    /// There is no runtime here, without which a timer cannot be made.
    #[test]
    fn a_message_that_has_come_already_needs_no_timer() {
        let inner = Body::new("\0\0\0\0\x03abc".to_owned());
        let mut body = body(inner, Instant::now());
        assert!(matches!(next(&mut body), Some(Ok(_))));
        assert!(next(&mut body).is_none());
    }

    /// `Deadline` relies on it, whose own timer ends at the same instant: of two timers, which is the
    /// first is chance.
    #[test]
    fn a_message_is_late_as_soon_as_its_time_is_over_whatever_the_timers_do() {
        let began = Instant::now().checked_sub(ANSWER_TIME);
        let mut body = body(
            Body::new(Never),
            began.expect("the machine runs for longer"),
        );
        let late = next(&mut body).expect("a frame").expect_err("it is late");
        assert_eq!(named(&late).code(), Code::Cancelled, "{late}");
        assert!(
            late.message().contains("before the call's deadline"),
            "{late}"
        );
    }

    /// HTTP/2 resets a stream that is answered before, and counts the rest as its client's fault.
    #[test]
    fn a_message_that_is_too_large_is_refused_when_its_rest_has_come() {
        let size: u32 = 1 << 20;
        let rest = Bytes::from(vec![7; size as usize]);
        let (came, inner) = later(&[&[0][..], &size.to_be_bytes()].concat());
        let mut body = body(inner, Instant::now());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let _entered = runtime.enter();
        assert!(poll(&mut body).is_pending(), "the rest is still to come");
        came.send(rest).expect("it is read");
        assert!(poll(&mut body).is_pending(), "the end is still to come");
        assert!(!body.is_end_stream());
        drop(came);
        let refused = next(&mut body)
            .expect("a frame")
            .expect_err("it is too large");
        assert_eq!(refused.code(), Code::ResourceExhausted);

        let huge = [0, 0xFF, 0xFF, 0xFF, 0xFF];
        let (_came, inner) = later(&huge);
        let mut body = self::body(inner, Instant::now());
        assert!(matches!(next(&mut body), Some(Err(_))));
    }

    /// A body that begins so, and goes on with what is sent.
    fn later(beginning: &[u8]) -> (tokio::sync::mpsc::UnboundedSender<Bytes>, Body) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        sender
            .send(Bytes::copy_from_slice(beginning))
            .expect("open");
        let frames = UnboundedReceiverStream::new(receiver);
        let frames = frames.map(|bytes| Ok::<_, Status>(Frame::data(bytes)));
        (sender, Body::new(StreamBody::new(frames)))
    }

    struct Never;

    impl HttpBody for Never {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    const ANSWER_TIME: Duration = Duration::from_millis(900);

    fn body(inner: Body, began: Instant) -> RequestBody {
        let limits = Settings::parse_from(&[]).expect("defaults").limits;
        let limits = MessageLimits::of(&limits).before_deadline(Some(ANSWER_TIME));
        RequestBody::new(inner, limits, Some(Method::Authorize), began)
    }

    fn next(body: &mut RequestBody) -> Option<Result<Frame<Bytes>, Status>> {
        let Poll::Ready(frame) = poll(body) else {
            panic!("it is not there");
        };
        frame
    }

    fn poll(body: &mut RequestBody) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }
}
