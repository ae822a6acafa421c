//! The body of a request, on its way to the service that reads its messages.
//!
//! Owns what a body is that cannot be read as the messages of its method.
//! Promises a status that tells the client what it did: the message is too large, it is late or broken,
//! there is none or one too many, or the client gave the call up. Promises too that no call goes on by
//! credentials that were changed while its message was awaited.
//! Must never leave these to tonic. It answers `OUT_OF_RANGE` and `INTERNAL`, which are the
//! service's own to give.

use super::{
    cancelled::{cancelled, named},
    message_limits::{LargeMessage, MessageLimits, Patience},
    messages::{Messages, Refused},
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
    /// The caller's share of large messages, until this one is read.
    large: Option<LargeMessage>,
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
        }
    }

    /// The body, which does not go on by other credentials than these.
    pub(super) fn passed_by(mut self, version: Option<Version>) -> Self {
        self.passed_by = version;
        self
    }

    /// The body, which keeps the share until it is dropped.
    pub(super) fn holding(mut self, large: Option<LargeMessage>) -> Self {
        self.large = large;
        self
    }

    /// The body, which tells also this of what is wrong with it.
    pub(super) fn telling(mut self, failure: Failure) -> Self {
        self.failure = Some(failure);
        self
    }

    fn poll_readable(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<<Body as HttpBody>::Data>, Status>>> {
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
            return Poll::Ready(Some(Err(errors::caller_changed())));
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                // Trailers end a body as well as nothing does.
                let read = match frame.data_ref() {
                    Some(data) => self.read(data),
                    None => self.end(),
                };
                Some(read.map(|()| frame))
            }
            // A stream that is given up ends, and its service needs no more.
            Some(Err(_)) if self.needs_message() => Some(Err(given_up())),
            None => self.end().err().map(Err),
            broken => broken,
        })
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
        self.inner.is_end_stream() && self.broken_end().is_none()
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
    use futures::FutureExt;
    use std::{future::poll_fn, time::Duration};
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
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        frame.now_or_never().expect("it is there")
    }
}
