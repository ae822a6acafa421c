//! The questions of a stream, as their bytes come.
//!
//! Owns what was read and is not answered yet: the rest of one frame, and a message that is not whole.
//! Promises a status that tells the client what is wrong with its messages.
//! Must never read a frame while a whole question is left, nor keep memory while there is none.

use crate::grpc::{
    authorize::question::{NoQuestion, Question, first},
    layers::{MessageLimits, Patience, Unreadable, unreadable},
    methods::Method,
};
use http_body::Body as HttpBody;
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tonic::{Status, body::Body};

/// How long a client has to read the end of its stream, and to send nothing more. It needs one round trip.
const REST_TIME: Duration = Duration::from_secs(2);

/// What reading comes to.
pub(super) enum Read {
    /// Some more bytes, of which at least one is a message's.
    Bytes(usize),
    /// The client asks no more.
    End,
}

pub(super) struct Questions {
    body: Body,
    limits: MessageLimits,
    bytes: Vec<u8>,
    /// How many of the bytes are answered.
    answered: usize,
    /// How long the rest of a message that has begun may still take.
    patience: Option<Patience>,
}

impl Questions {
    pub(super) fn new(body: Body, limits: MessageLimits) -> Self {
        Self {
            body,
            limits,
            bytes: Vec::new(),
            answered: 0,
            patience: None,
        }
    }

    /// The whole questions that were read and not taken yet, up to this number. Fails if the first message
    /// behind those that were taken cannot be read.
    pub(super) fn take(&mut self, most: usize) -> Result<Vec<Question<'_>>, Status> {
        let mut questions = Vec::new();
        let mut rest = &self.bytes[self.answered..];
        while questions.len() < most {
            match first(rest, self.limits.size()) {
                Ok(Some((question, behind))) => {
                    questions.push(question);
                    rest = behind;
                }
                Err(why) if questions.is_empty() => return Err(refused(why, &self.limits)),
                // Those before it are answered first.
                Ok(None) | Err(_) => break,
            }
        }
        if !questions.is_empty() {
            self.answered = self.bytes.len() - rest.len();
            self.patience = None;
        }
        Ok(questions)
    }

    /// Reads the next frame that has any bytes. To be called when no whole question is left.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Read, Status>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                ready!(self.poll_late(context));
                return Poll::Ready(Err(self.limits.rest_too_late()));
            };
            match frame {
                Some(Ok(frame)) => match frame.data_ref() {
                    Some(bytes) if bytes.is_empty() => {}
                    Some(bytes) => {
                        self.bytes.drain(..self.answered);
                        self.answered = 0;
                        self.bytes.extend_from_slice(bytes);
                        return Poll::Ready(Ok(Read::Bytes(bytes.len())));
                    }
                    // Trailers end a body as well as nothing does.
                    None => return Poll::Ready(self.end()),
                },
                None => return Poll::Ready(self.end()),
                Some(Err(_)) => {
                    let given_up = "the client gave the stream up";
                    return Poll::Ready(Err(Status::cancelled(given_up)));
                }
            }
        }
    }

    /// Reads on for a while, once the stream's end is sent, and keeps nothing. The client goes on sending until
    /// it has read the end. If its connection were closed before, as that of a process that shuts down, the
    /// bytes that it still sends would be answered with a reset, which can overtake the last answers.
    pub(super) fn discard_rest(&mut self) {
        let mut body = std::mem::replace(&mut self.body, Body::empty());
        if body.is_end_stream() {
            return;
        }
        tokio::spawn(timeout(REST_TIME, async move {
            let next = poll_fn(|context| {
                loop {
                    match ready!(Pin::new(&mut body).poll_frame(context)) {
                        Some(Ok(_)) => {}
                        _ => return Poll::Ready(()),
                    }
                }
            });
            next.await;
        }));
    }

    /// Ready when the rest of a message is late.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.answered == self.bytes.len() {
            // A quiet stream needs no buffer.
            self.bytes = Vec::new();
            self.answered = 0;
            return Poll::Pending;
        }
        let limits = self.limits;
        let patience = &mut self.patience;
        let patience = patience.get_or_insert_with(|| Patience::of(&limits, Instant::now()));
        patience.poll(context)
    }

    fn end(&self) -> Result<Read, Status> {
        if self.answered == self.bytes.len() {
            Ok(Read::End)
        } else {
            Err(broken(Unreadable::Truncated))
        }
    }
}

fn refused(why: NoQuestion, limits: &MessageLimits) -> Status {
    match why {
        NoQuestion::Compressed => broken(Unreadable::Compressed),
        NoQuestion::NoFrame => broken(Unreadable::NoFrame),
        NoQuestion::NoProtobuf => broken(Unreadable::NoProtobuf),
        NoQuestion::TooLarge(size) => limits.too_large(size),
    }
}

fn broken(why: Unreadable) -> Status {
    unreadable(Some(Method::AuthorizeStream), why)
}
