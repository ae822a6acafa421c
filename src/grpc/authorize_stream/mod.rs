//! `AuthorizeStream`: many questions on one stream, each with an answer of its own.
//!
//! Owns the stream's way from bytes to bytes. It does not take tonic's, which would read, decide and write one
//! message at a time.
//! Promises the decision that Authorize would make once the question was read, by the rights that the caller
//! has then, and the answers in the order of the questions. A stream takes at most 64 KiB of memory: what
//! HTTP/2 has received (`server` sets its window), what is read of that, and one frame of answers.
//! Must never read while its client takes no answers, nor wait for a second question.

mod answer;
mod answers;
mod end;
pub mod question;
mod questions;

use self::{
    answers::{Answers, Rights},
    end::{Limits, StreamEnd},
    questions::Questions,
};
use crate::{
    app::App,
    callers::stream_slots::StreamSlot,
    config::ClientLimits,
    grpc::{
        call::Call,
        layers::{CallerNow, MessageLimits, answer_deadline},
        unwritten::Unwritten,
    },
    net::connection::Peer,
};
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

/// Size in bytes of the largest question. A token and the longest domain take 320.
pub(super) const MAX_QUESTION: u32 = 4096;

/// Answers the calls of `AuthorizeStream`.
#[derive(Clone)]
pub(super) struct AuthorizeStream {
    app: Arc<App>,
    /// Cancelled when streams are to end.
    draining: CancellationToken,
    max_age: Duration,
    max_age_grace: Duration,
    answer_timeout: Duration,
}

impl AuthorizeStream {
    pub(super) fn new(app: Arc<App>, limits: &ClientLimits, draining: CancellationToken) -> Self {
        Self {
            app,
            draining,
            max_age: limits.max_connection_age,
            max_age_grace: limits.max_connection_age_grace,
            answer_timeout: limits.answer_timeout,
        }
    }

    /// Begins to answer a call, which authentication has let pass.
    pub(super) fn answer(&self, call: Call, limits: MessageLimits) -> Response<Body> {
        if let Some(refused) = unknown_compression(call.request.headers()) {
            return refused;
        }
        let deadline = answer_deadline(&call);
        let (mut head, body) = call.request.into_parts();
        let slot: Option<Arc<StreamSlot>> = head.extensions.remove();
        let caller: Option<CallerNow> = head.extensions.remove();
        let peer: Option<Peer> = head.extensions.remove();
        let connection = peer.map(|peer| peer.slot);
        let caller = caller.expect("authentication notes who asks on a stream");
        let unwritten = Arc::<Unwritten>::default();
        let end_limits = Limits {
            deadline,
            connection_end: self.connection_end(connection.as_deref()),
            stall: self.answer_timeout,
        };
        let end = StreamEnd::new(
            &self.draining,
            end_limits,
            unwritten.clone(),
            slot,
            connection.clone(),
        );
        let answers = Answers::new(
            Questions::new(body, limits),
            self.app.authorizer.clone(),
            Rights { caller, connection },
            end,
            unwritten,
        );
        let mut response = Response::new(Body::new(answers));
        let content_type = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

/// The answer to a client that compresses its messages, as gRPC's `doc/compression.md` wants it.
fn unknown_compression(headers: &HeaderMap) -> Option<Response<Body>> {
    let encoding = headers.get("grpc-encoding")?;
    if encoding == "identity" {
        return None;
    }
    let refused = Status::unimplemented("no compression is supported: send messages as they are");
    let mut response = refused.into_http();
    let accepted = HeaderValue::from_static("identity");
    response
        .headers_mut()
        .insert("grpc-accept-encoding", accepted);
    Some(response)
}
