//! The body of the response: the answers to the questions that have come.
//!
//! Owns the order of things: the last answers are written, questions are read, their caller's rights and the
//! lease are looked at, and the answers go into one frame.
//! Promises to answer every question that was read before the stream ends, whatever ends it.
//! Must never wait while it has an answer.

use super::{
    end::StreamEnd,
    questions::{Questions, Read},
};
use crate::{
    authorize::{Authorizer, decision::Asked},
    grpc::{
        authorize::{
            answer::{Answer, MAX_ANSWER, USUAL_ANSWER, no_lease, put},
            question::Question,
        },
        errors::trailers,
        fields,
        layers::CallerNow,
        unwritten::Unwritten,
    },
    model::time::Timestamp,
    net::admission::ConnectionSlot,
};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};
use tonic::Status;

/// How many questions are decided together. The processor has memory for some ten look-ups fetched at once.
const BATCH: usize = 16;

/// Size in bytes of the largest frame of answers.
const MAX_FRAME: usize = 12 * 1024;

/// How many bytes of questions are still read once the stream is to end. HTTP/2 may have them already, and
/// holds no more.
const LAST_BYTES: usize = 64 * 1024;

/// Whether the caller may still ask.
pub(super) struct Rights {
    pub(super) caller: CallerNow,
    /// Which hears that its caller is not idle.
    pub(super) connection: Arc<ConnectionSlot>,
}

pub(super) struct Answers {
    questions: Questions,
    authorizer: Arc<Authorizer>,
    rights: Rights,
    end: StreamEnd,
    unwritten: Arc<Unwritten>,
    /// How many bytes may still be read, once the stream is to end.
    left_to_read: Option<usize>,
    /// The status that follows the last answers.
    ends_with: Option<Status>,
    has_ended: bool,
}

impl Answers {
    pub(super) fn new(
        questions: Questions,
        authorizer: Arc<Authorizer>,
        rights: Rights,
        end: StreamEnd,
        unwritten: Arc<Unwritten>,
    ) -> Self {
        Self {
            questions,
            authorizer,
            rights,
            end,
            unwritten,
            left_to_read: None,
            ends_with: None,
            has_ended: false,
        }
    }

    /// Answers the questions that have come, until the frame is full. If the stream ends, it also gives the
    /// status of the end. Unless the stream ends, there is at least one answer.
    fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<(BytesMut, Option<Status>)> {
        let mut answers = BytesMut::new();
        loop {
            let is_full = match self.answer_read(&mut answers) {
                Ok(is_full) => is_full,
                Err(status) => return Poll::Ready((answers, Some(status))),
            };
            if is_full {
                return Poll::Ready((answers, None));
            }
            if self.left_to_read.is_none() && self.end.is_due() {
                self.left_to_read = Some(LAST_BYTES);
            }
            if self.left_to_read == Some(0) {
                return Poll::Ready((answers, Some(self.end.status())));
            }
            match self.questions.poll_read(context) {
                Poll::Ready(Ok(Read::Bytes(count))) => {
                    if let Some(left) = &mut self.left_to_read {
                        *left = left.saturating_sub(count);
                    }
                }
                Poll::Ready(Ok(Read::End)) => {
                    return Poll::Ready((answers, Some(Status::ok(""))));
                }
                Poll::Ready(Err(status)) => return Poll::Ready((answers, Some(status))),
                Poll::Pending if !answers.is_empty() => {
                    self.unwritten.catch_up();
                    return Poll::Ready((answers, None));
                }
                Poll::Pending => {
                    ready!(self.end.poll_due(context));
                    return Poll::Ready((answers, Some(self.end.status())));
                }
            }
        }
    }

    /// Answers the questions that are read. Returns whether the frame has no room for another one. Fails
    /// if the next message cannot be read.
    fn answer_read(&mut self, answers: &mut BytesMut) -> Result<bool, Status> {
        loop {
            let most = BATCH.min(MAX_FRAME.saturating_sub(answers.len()) / MAX_ANSWER);
            if most == 0 {
                return Ok(true);
            }
            let questions = self.questions.take(most)?;
            if questions.is_empty() {
                return Ok(false);
            }
            if answers.is_empty() {
                answers.reserve(match questions.len() {
                    BATCH => MAX_FRAME,
                    few => few * USUAL_ANSWER,
                });
            }
            let decided = self.rights.decide(&self.authorizer, &questions);
            for (question, answer) in questions.iter().zip(decided) {
                put(answers, question.id, &answer);
            }
        }
    }
}

impl Rights {
    /// Decides questions that were read before this.
    fn decide(&self, authorizer: &Authorizer, questions: &[Question<'_>]) -> Vec<Answer> {
        let caller = match self.caller.permitted() {
            Ok(caller) => caller,
            Err(status) => return vec![Err(status); questions.len()],
        };
        self.connection.record_call(&caller.name, Instant::now());
        let mut asked = Vec::with_capacity(questions.len());
        let invalid = questions.iter().map(|question| {
            let domain = match fields::domain(question.domain.to_owned()) {
                Ok(domain) => domain,
                Err(status) => return Some(status),
            };
            let token = question.token;
            asked.push(Asked { token, domain });
            None
        });
        let invalid: Vec<_> = invalid.collect();
        let decided = authorizer.authorize_all(asked, &caller.accounts, Timestamp::now());
        let mut decided = decided.into_iter();
        let mut next = || decided.next().expect("a decision for each question");
        let answers = invalid
            .into_iter()
            .map(|invalid| invalid.map_or_else(|| next().map_err(no_lease), Err));
        answers.collect()
    }
}

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        ready!(self.unwritten.poll_none(context));
        if self.ends_with.is_none() {
            let (answers, ends_with) = ready!(self.poll_answers(context));
            self.ends_with = ends_with;
            if !answers.is_empty() {
                let answers = self.unwritten.begin(answers.freeze());
                return Poll::Ready(Some(Ok(Frame::data(answers))));
            }
        }
        self.has_ended = true;
        self.questions.discard_rest();
        self.end.let_go();
        let status = self.ends_with.take();
        let status = status.expect("a stream without answers ends");
        Poll::Ready(Some(trailers(&status)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}
