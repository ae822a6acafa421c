//! The body of a request, on its way to the service that reads its messages.
//!
//! Owns the limits on a message's size and on the time that it takes to come, and what a body is that
//! cannot be read as the messages of its method.
//! Promises a status that tells the client what it did: the message is too large, it is late or broken,
//! there is none or one too many, or the client gave the call up.
//! Must never leave these to tonic. It answers `OUT_OF_RANGE` and `INTERNAL`, which are the
//! service's own to give.

use super::{
    stream_answer::Failure,
    unreadable::{Unreadable, unreadable},
};
use crate::{config::ClientLimits, grpc::methods::Method};
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::{Sleep, sleep_until};
use tonic::{Status, body::Body, metadata::MetadataValue};

/// A request's body.
pub(in crate::grpc) struct RequestBody {
    inner: Body,
    messages: MessageSizes,
    method: Option<Method>,
    patience: Patience,
    /// Set if the messages of a stream cannot be read.
    failure: Option<Failure>,
}

/// The most that the message of a request may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::grpc) struct MessageLimits {
    /// In bytes.
    size: u32,
    /// From the call's headers.
    time: Duration,
    /// Whether the deadline of the caller is what limits the time.
    is_deadline: bool,
}

impl MessageLimits {
    pub(in crate::grpc) fn of(limits: &ClientLimits) -> Self {
        Self {
            size: limits.max_message_size,
            time: limits.message_timeout,
            is_deadline: false,
        }
    }

    /// These, for a call that is answered after this time at the latest. A message that is late by then
    /// is its client's fault, and no delay of the service's.
    pub(super) fn before_deadline(self, answer_time: Option<Duration>) -> Self {
        match answer_time {
            Some(time) if time < self.time => Self {
                time,
                is_deadline: true,
                ..self
            },
            _ => self,
        }
    }
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
            messages: MessageSizes::limited_to(limits.size),
            method,
            patience: Patience {
                limits,
                began,
                timer: None,
            },
            failure: None,
        }
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
            if !self.is_awaited() {
                return Poll::Pending;
            }
            return self.patience.poll(context).map(|late| Some(Err(late)));
        };
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
            Refused::TooLarge { size } => too_large(size, self.messages.limit),
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

/// How long a service waits for a message.
///
/// A message nearly always comes with its headers. So a timer, which costs an allocation, is made
/// only when a service has to wait.
struct Patience {
    limits: MessageLimits,
    /// When the call's headers came.
    began: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Ready when it is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let end = self.began + self.limits.time;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(end.into())));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(too_late(&self.limits))
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

/// Reads how long the messages in a body are by their own account, as their bytes pass by.
///
/// In "gRPC over HTTP2", five bytes stand before each message: one says whether it is compressed,
/// and four, the first the highest, how many bytes it has.
struct MessageSizes {
    limit: u32,
    none_began: bool,
    /// All bytes of the first message have passed.
    one_came: bool,
    /// A byte has passed that stands behind the first message.
    more_than_one: bool,
    /// How many of the five bytes have passed.
    prefix_bytes: u8,
    /// As far as its bytes have passed.
    length: u32,
    /// How many bytes of the message are still to pass.
    message_left: usize,
}

/// Why a message is not read to its end.
#[derive(Debug)]
enum Refused {
    TooLarge { size: u32 },
    Unreadable(Unreadable),
}

const PREFIX_SIZE: u8 = 5;

impl MessageSizes {
    fn limited_to(limit: u32) -> Self {
        Self {
            limit,
            none_began: true,
            one_came: false,
            more_than_one: false,
            prefix_bytes: 0,
            length: 0,
            message_left: 0,
        }
    }

    /// Whether some bytes of a message have passed, and not all.
    fn is_within_one(&self) -> bool {
        self.prefix_bytes > 0 || self.message_left > 0
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        self.none_began &= bytes.is_empty();
        loop {
            let passing = self.message_left.min(bytes.len());
            self.message_left -= passing;
            self.one_came |= passing > 0 && self.message_left == 0;
            let [next, rest @ ..] = &bytes[passing..] else {
                return Ok(());
            };
            bytes = rest;
            // No compression is offered, so a request that names one does not come so far.
            if self.prefix_bytes == 0 && *next != 0 {
                let why = if *next == 1 {
                    Unreadable::Compressed
                } else {
                    Unreadable::NoFrame
                };
                return Err(Refused::Unreadable(why));
            }
            self.more_than_one |= self.one_came;
            // The first of the five is shifted out again.
            self.length = self.length << 8 | u32::from(*next);
            self.prefix_bytes += 1;
            if self.prefix_bytes == PREFIX_SIZE {
                if self.length > self.limit {
                    return Err(Refused::TooLarge { size: self.length });
                }
                self.prefix_bytes = 0;
                self.message_left = self.length as usize;
                self.one_came |= self.length == 0;
            }
        }
    }
}

fn too_large(size: u32, limit: u32) -> Status {
    Status::resource_exhausted(format!(
        "the message takes {size} bytes, and the limit is {limit} (--max-message-size): send less"
    ))
}

fn too_late(limits: &MessageLimits) -> Status {
    let end = if limits.is_deadline {
        "before the call's deadline".to_owned()
    } else {
        format!(
            "within {:?} of the call's headers (--message-timeout)",
            limits.time
        )
    };
    cancelled(format!(
        "the message and its end did not come {end}, and a call without it would be in flight forever: \
         send the whole message with the headers, and end the request"
    ))
}

fn given_up() -> Status {
    cancelled("the client gave the call up before its message had come".to_owned())
}

/// Marks a status that is `CANCELLED`.
///
/// tonic takes a body that ends with `CANCELLED` for one that ends well. So such a call travels through
/// tonic with another code and this key in its metadata, which survives tonic's copies of a status.
/// [`name_cancelled`] replaces the status, so the key never reaches the wire. No service sets it, so no
/// answer of a service is mistaken for it.
const CANCELLED_KEY: &str = "keyservice-cancelled";

/// A call whose client did not send its message. This is no fault of the service, which
/// `DEADLINE_EXCEEDED` would say.
fn cancelled(message: String) -> Status {
    let mut status = Status::unknown(message);
    let key = MetadataValue::from_static("");
    status.metadata_mut().insert(CANCELLED_KEY, key);
    status
}

/// The status that a client is to see in the place of this one.
fn named(status: &Status) -> Status {
    if status.metadata().contains_key(CANCELLED_KEY) {
        Status::cancelled(status.message())
    } else {
        status.clone()
    }
}

/// Gives the status `CANCELLED` to a call whose message did not come.
pub(in crate::grpc) fn name_cancelled(response: Response<Body>) -> Response<Body> {
    // tonic leaves the status of a failed call among the extensions of its response.
    let failed: Option<&Status> = response.extensions().get();
    match failed {
        Some(status) if status.metadata().contains_key(CANCELLED_KEY) => named(status).into_http(),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::call::CODES;
    use futures::FutureExt;
    use proptest::prelude::*;
    use std::future::poll_fn;
    use tonic::Code;

    fn message(length: usize) -> Vec<u8> {
        let prefix = u32::try_from(length).expect("short").to_be_bytes();
        [&[0][..], &prefix, &vec![7; length]].concat()
    }

    proptest! {
        #[test]
        fn a_message_over_the_limit_is_found_wherever_its_bytes_are_split(
            lengths in prop::collection::vec(0..20usize, 0..5),
            splits in prop::collection::vec(1..9usize, 1..9),
        ) {
            let limit = 15;
            let bytes: Vec<_> = lengths.iter().flat_map(|length| message(*length)).collect();
            let mut sizes = MessageSizes::limited_to(limit);
            let (mut rest, mut result) = (&bytes[..], Ok(()));
            for split in splits.iter().cycle() {
                let (now, later) = rest.split_at((*split).min(rest.len()));
                result = result.and_then(|()| sizes.read(now));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let excess = lengths.iter().find(|length| **length > limit as usize);
            match (result, excess) {
                (Ok(()), None) => {
                    prop_assert_eq!(sizes.none_began, lengths.is_empty());
                    prop_assert_eq!(sizes.one_came, !lengths.is_empty());
                }
                (Err(Refused::TooLarge { size }), Some(excess)) => {
                    prop_assert_eq!(size as usize, *excess);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    /// There is no runtime here, without which a timer cannot be made.
    #[test]
    fn a_message_that_has_come_already_needs_no_timer() {
        let limits = MessageLimits {
            size: 15,
            time: Duration::from_secs(5),
            is_deadline: false,
        };
        let inner = Body::new(String::from_utf8(message(3)).expect("ASCII"));
        let mut body = RequestBody::new(inner, limits, Some(Method::Authorize), Instant::now());
        let mut next = || {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            frame.now_or_never().expect("it is there")
        };
        assert!(matches!(next(), Some(Ok(_))));
        assert!(next().is_none());
    }

    #[test]
    fn only_a_call_whose_message_did_not_come_is_renamed() {
        let named = |status: Status| {
            let renamed = name_cancelled(status.into_http());
            Status::from_header_map(renamed.headers()).expect("a status")
        };
        let given_up = super::given_up();
        let renamed = named(given_up.clone());
        assert_eq!(renamed.code(), Code::Cancelled);
        assert_eq!(renamed.message(), given_up.message());
        assert!(!renamed.metadata().contains_key(CANCELLED_KEY));
        for code in CODES {
            let status = Status::new(code, given_up.message());
            assert_eq!(named(status).code(), code);
        }
    }
}
