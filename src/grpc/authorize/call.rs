//! `Authorize`: a question in a call of its own. A gateway's question takes the same way.
//!
//! Owns the call's way from bytes to bytes.
//! Promises an answer as soon as the question has come whole.
//! Must never copy a token that comes in one piece, nor wait for anything but the question.

use super::{
    answer::{USUAL_ANSWER, no_lease, put_decision},
    question::{Fields, read},
    response,
};
use crate::{
    authorize::Authorizer,
    callers::Caller,
    grpc::{
        errors::trailers,
        fields,
        layers::{PREFIX_SIZE, RequestBody, Unreadable, named, unreadable},
        methods::Method,
    },
    model::{account::Accounts, time::Timestamp},
};
use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::{Body as HttpBody, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tonic::{Status, body::Body};

/// Answers the message of a call with a message of gRPC.
pub(in crate::grpc) type Answer = fn(&Authorizer, &Accounts, &[u8]) -> Result<Bytes, Status>;

/// A call that asks one question, which is ready with its response.
pub(in crate::grpc) struct AuthorizeCall {
    answer: Answer,
    authorizer: Arc<Authorizer>,
    /// None if it may ask about all accounts.
    caller: Option<Arc<Caller>>,
    body: RequestBody,
    /// What has come of a question that does not come in one piece.
    begun: BytesMut,
}

impl AuthorizeCall {
    /// The call of this caller, if it is limited to some accounts.
    pub(in crate::grpc) fn new(
        answer: Answer,
        authorizer: Arc<Authorizer>,
        caller: Option<Arc<Caller>>,
        body: RequestBody,
    ) -> Self {
        Self {
            answer,
            authorizer,
            caller,
            body,
            begun: BytesMut::new(),
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()?
            else {
                return Poll::Ready(self.answer(&self.begun));
            };
            // Trailers of a request say nothing.
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            if self.begun.is_empty() && self.body.is_end_stream() {
                return Poll::Ready(self.answer(&bytes));
            }
            // A buffer that grows by itself could take twice as much.
            let rest = self.body.whole_message().saturating_sub(self.begun.len());
            self.begun.reserve(rest.max(bytes.len()));
            self.begun.extend_from_slice(&bytes);
        }
    }

    /// Answers the question of a whole body.
    fn answer(&self, body: &[u8]) -> Result<Bytes, Status> {
        let message = body.get(PREFIX_SIZE as usize..);
        let message = message.expect("`RequestBody` lets no body end without a message");
        let caller = self.caller.as_deref();
        let accounts = caller.map_or(&Accounts::All, |it| &it.accounts);
        (self.answer)(&self.authorizer, accounts, message)
    }
}

/// Decides an `AuthorizeRequest`.
pub(in crate::grpc) fn decide(
    authorizer: &Authorizer,
    accounts: &Accounts,
    message: &[u8],
) -> Result<Bytes, Status> {
    let question = read(message, Fields::OF_CALL)
        .map_err(|_| unreadable(Some(Method::Authorize), Unreadable::NoProtobuf))?;
    let domain = fields::domain(question.domain.to_owned())?;
    let decision = authorizer.authorize(question.token, domain, accounts, Timestamp::now());
    let mut answer = BytesMut::with_capacity(USUAL_ANSWER);
    put_decision(&mut answer, &decision.map_err(no_lease)?);
    Ok(answer.freeze())
}

impl Future for AuthorizeCall {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.poll_answer(context));
        Poll::Ready(Ok(match answer {
            Ok(message) => response(OneAnswer::Message(message)),
            Err(status) => named(&status).into_http(),
        }))
    }
}

/// The body of a response: what is still to come of it.
enum OneAnswer {
    Message(Bytes),
    Status,
    Nothing,
}

impl HttpBody for OneAnswer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = match &*self {
            Self::Message(_) => Self::Status,
            Self::Status | Self::Nothing => Self::Nothing,
        };
        Poll::Ready(match std::mem::replace(&mut *self, next) {
            Self::Message(message) => Some(Ok(Frame::data(message))),
            Self::Status => Some(trailers(&Status::ok(""))),
            Self::Nothing => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}
