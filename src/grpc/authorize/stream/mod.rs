//! `AuthorizeStream`: many questions on one stream, each with an answer of its own.
//!
//! Owns the stream's way from bytes to bytes. It does not take tonic's, which would read, decide and write one
//! message at a time.
//! Promises the decision that Authorize would make once the question was read, by the rights that the caller
//! has then, and the answers in the order of the questions. A stream takes at most 64 KiB of memory: what
//! HTTP/2 has received (`server` sets its window), what is read of that, and one frame of answers.
//! Must never read while its client takes no answers, nor wait for a second question.

mod answers;
mod end;
mod questions;

use self::{
    answers::{Answers, Rights},
    end::{Held, Limits, StreamEnd},
    questions::Questions,
};
use crate::{
    app::App,
    callers::shares::{Share, Shares},
    config::ClientLimits,
    grpc::{
        authorize::response,
        call::Call,
        errors,
        layers::{CallerNow, MessageLimits, answer_deadline},
        unwritten::Unwritten,
    },
    net::{admission::StreamOfConnection, connection::Peer},
};
use http::Response;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

/// Size in bytes of the largest question. A token and the longest domain take 320.
const MAX_QUESTION: u32 = 4096;

/// Calls of one connection. A client needs one. h2 closes a connection of which too many small frames are not
/// read yet, and clients that send each question in a frame of its own fill the windows of a few streams with
/// as many.
const MOST_OF_CONNECTION: usize = 2;

/// Answers the calls of `AuthorizeStream`.
pub(in crate::grpc) struct AuthorizeStream {
    app: Arc<App>,
    /// Cancelled when streams are to end.
    draining: CancellationToken,
    max_age: Duration,
    max_age_grace: Duration,
    answer_timeout: Duration,
    stalled: Arc<Shares>,
}

impl AuthorizeStream {
    pub(in crate::grpc) fn new(
        app: Arc<App>,
        limits: &ClientLimits,
        draining: CancellationToken,
    ) -> Self {
        Self {
            app,
            draining,
            max_age: limits.max_connection_age,
            max_age_grace: limits.max_connection_age_grace,
            answer_timeout: limits.answer_timeout,
            stalled: Shares::of_stalled_streams(),
        }
    }

    /// Begins to answer a call, which authentication has let pass.
    pub(in crate::grpc) fn answer(&self, call: Call, limits: MessageLimits) -> Response<Body> {
        let deadline = answer_deadline(&call);
        let (mut head, body) = call.request.into_parts();
        let share: Option<Arc<Share>> = head.extensions.remove();
        let caller: Option<CallerNow> = head.extensions.remove();
        let peer: Option<Peer> = head.extensions.remove();
        let (Some(of_caller), Some(caller), Some(Peer { slot, .. })) = (share, caller, peer) else {
            unreachable!("accept notes the connection, and authentication who asks")
        };
        let Some(of_connection) = StreamOfConnection::begin(slot.clone(), MOST_OF_CONNECTION)
        else {
            return errors::too_many_streams_of_connection().into_http();
        };
        let unwritten = Arc::<Unwritten>::default();
        let end_limits = Limits {
            deadline,
            connection_end: self.connection_end(&slot),
            stall: self.answer_timeout,
            until_unknown: call.until_unknown,
        };
        let end = StreamEnd::new(
            &self.draining,
            end_limits,
            unwritten.clone(),
            &self.stalled,
            Held {
                of_caller,
                of_connection,
            },
        );
        let answers = Answers::new(
            Questions::new(body, limits.with_size_of_at_most(MAX_QUESTION)),
            self.app.authorizer.clone(),
            Rights {
                caller,
                connection: slot,
            },
            end,
            unwritten,
        );
        response(answers)
    }
}
