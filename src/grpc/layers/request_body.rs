//! The body of a request, on its way to the service that reads its messages.
//!
//! Owns the limits on a message's size and on the time that it takes to come, and how a body ends
//! that brings no message.
//! Promises a status that tells the client what it did: the message is too large, it is late, there
//! is none, or the client gave the call up.
//! Must never leave these to tonic. It answers `OUT_OF_RANGE` and `INTERNAL`, which are the
//! service's own to give.

use crate::config::ClientLimits;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tonic::{Status, body::Body, metadata::MetadataValue};

/// A request's body.
pub(in crate::grpc) struct RequestBody {
    inner: Body,
    messages: MessageSizes,
    /// Whether the method takes one message, and no stream of any number.
    needs_message: bool,
    patience: Patience,
}

/// The most that the message of a request may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::grpc) struct MessageLimits {
    /// In bytes.
    size: u32,
    time: Duration,
}

impl MessageLimits {
    pub(in crate::grpc) fn of(limits: &ClientLimits) -> Self {
        Self {
            size: limits.max_message_size,
            time: limits.message_timeout,
        }
    }
}

impl RequestBody {
    pub(in crate::grpc) fn new(inner: Body, limits: MessageLimits, needs_message: bool) -> Self {
        Self {
            inner,
            messages: MessageSizes::limited_to(limits.size),
            needs_message,
            patience: Patience::Unasked(limits.time),
        }
    }

    /// Whether the client is still to send what the service cannot do without: the whole body if the
    /// method takes one message, and the first message of a stream.
    fn is_awaited(&self) -> bool {
        self.needs_message || !self.messages.one_came
    }
}

/// How long a service waits for a message.
///
/// A message nearly always comes with its headers. So a timer, which costs an allocation, is made
/// only when a service has to wait.
enum Patience {
    Unasked(Duration),
    Waiting(Duration, Pin<Box<Sleep>>),
}

impl Patience {
    /// Ready when it is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if let Self::Unasked(limit) = *self {
            *self = Self::Waiting(limit, Box::pin(sleep(limit)));
        }
        let Self::Waiting(limit, timer) = self else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(context));
        Poll::Ready(too_late(*limit))
    }
}

impl HttpBody for RequestBody {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            if !self.is_awaited() {
                return Poll::Pending;
            }
            return self.patience.poll(context).map(|late| Some(Err(late)));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let read = frame.data_ref().map(|data| self.messages.read(data));
                Some(read.unwrap_or(Ok(())).map(|()| frame))
            }
            // A stream that is given up ends, and its service needs no more.
            Some(Err(_)) if self.needs_message => Some(Err(given_up())),
            None if self.needs_message && self.messages.none_began => Some(Err(
                Status::invalid_argument("the call has no message; send one, empty or not"),
            )),
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        let ends_in_error = self.needs_message && self.messages.none_began;
        !ends_in_error && self.inner.is_end_stream()
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
    /// How many of the five bytes have passed.
    prefix_bytes: u8,
    /// As far as its bytes have passed.
    length: u32,
    /// How many bytes of the message are still to pass.
    message_left: usize,
}

const PREFIX_SIZE: u8 = 5;

impl MessageSizes {
    fn limited_to(limit: u32) -> Self {
        Self {
            limit,
            none_began: true,
            one_came: false,
            prefix_bytes: 0,
            length: 0,
            message_left: 0,
        }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        self.none_began &= bytes.is_empty();
        loop {
            let passing = self.message_left.min(bytes.len());
            self.message_left -= passing;
            self.one_came |= passing > 0 && self.message_left == 0;
            let [next, rest @ ..] = &bytes[passing..] else {
                return Ok(());
            };
            bytes = rest;
            // The first of the five is shifted out again.
            self.length = self.length << 8 | u32::from(*next);
            self.prefix_bytes += 1;
            if self.prefix_bytes == PREFIX_SIZE {
                if self.length > self.limit {
                    return Err(too_large(self.length, self.limit));
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

fn too_late(limit: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "the message and its end did not come within {limit:?} of the call's headers (--message-timeout), and a \
         call without it would be in flight forever: send the whole message with the headers, and end the request"
    ))
}

const GIVEN_UP: &str = "the client gave the call up before its message had come";

/// Marks the status of a call that its client gave up before its message had come.
///
/// tonic takes a body that ends with `CANCELLED` for one that ends well. So such a call travels through
/// tonic with another code and this key in its metadata, which survives tonic's copies of a status.
/// [`name_given_up`] replaces the status, so the key never reaches the wire. No service sets it, so no
/// answer of a service is mistaken for it.
const GIVEN_UP_KEY: &str = "keyservice-given-up";

fn given_up() -> Status {
    let mut status = Status::unknown(GIVEN_UP);
    let key = MetadataValue::from_static("");
    status.metadata_mut().insert(GIVEN_UP_KEY, key);
    status
}

/// Gives the status `CANCELLED` to a call that its client gave up before its message had come.
pub(in crate::grpc) fn name_given_up(response: Response<Body>) -> Response<Body> {
    // tonic leaves the status of a failed call among the extensions of its response.
    let failed: Option<&Status> = response.extensions().get();
    if failed.is_some_and(|status| status.metadata().contains_key(GIVEN_UP_KEY)) {
        Status::cancelled(GIVEN_UP).into_http()
    } else {
        response
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
                (Err(status), Some(excess)) => {
                    prop_assert_eq!(status.code(), Code::ResourceExhausted);
                    let size = format!("{excess} bytes");
                    prop_assert!(status.message().contains(&size), "{:?}", status);
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
        };
        let inner = Body::new(String::from_utf8(message(3)).expect("ASCII"));
        let mut body = RequestBody::new(inner, limits, true);
        let mut next = || {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            frame.now_or_never().expect("it is there")
        };
        assert!(matches!(next(), Some(Ok(_))));
        assert!(next().is_none());
    }

    #[test]
    fn only_a_call_that_was_given_up_is_renamed() {
        let named = |status: Status| {
            let renamed = name_given_up(status.into_http());
            Status::from_header_map(renamed.headers()).expect("a status")
        };
        let given_up = named(super::given_up());
        assert_eq!(given_up.code(), Code::Cancelled);
        assert_eq!(given_up.message(), GIVEN_UP);
        assert!(!given_up.metadata().contains_key(GIVEN_UP_KEY));
        for code in CODES {
            let status = Status::new(code, GIVEN_UP);
            assert_eq!(named(status).code(), code);
        }
    }
}
