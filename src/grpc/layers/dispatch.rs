//! The way of a call to its service.
//!
//! Owns which service a call goes to, the body that the service reads, and the answer to a call that is
//! for no service.
//! Promises `KeyService` its calls without tonic's router, which costs more than an Authorize does.
//! Must never take a call of another service from the router.

use super::{
    cancelled::name_cancelled,
    deadline::answer_time,
    message_limits::MessageLimits,
    read_ahead::read_ahead,
    refused::refused,
    request_body::RequestBody,
    stream_answer::{Failure, StreamEnd, ends_with, until},
    unreadable::{broken_headers, refused_compression, unreadable},
};
use crate::grpc::{
    authorize::{self, AuthorizeCall, AuthorizeStream},
    call::Call,
    gateway,
    methods::{GATEWAY_SERVICE, MessageSize, Method, USUAL_MESSAGE, assert_has_rows},
    proto::key_service_server::{KeyService, KeyServiceServer, SERVICE_NAME},
};
use crate::{
    authorize::Authorizer,
    callers::{Caller, shares::Share},
    config::ClientLimits,
    net::connection::Peer,
};
use futures::{
    TryFutureExt,
    future::{BoxFuture, Either, MapOk, ready},
};
use http::{Request, Response};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::Service;

/// Calls `KeyService` and the gateway's service, where they are served, and a router for all other services.
#[derive(Clone)]
pub(in crate::grpc) struct Dispatch<K, R> {
    /// None at the port for health alone.
    key_service: Option<KeyServiceServer<K>>,
    router: R,
    shared: Arc<Shared>,
}

/// The part of `KeyService`, and the gateway's service, which read their messages themselves.
pub(in crate::grpc) struct Questions {
    pub(in crate::grpc) authorizer: Arc<Authorizer>,
    pub(in crate::grpc) streams: AuthorizeStream,
}

/// What all connections share. tonic clones a service for each call, and to clone a token locks it.
struct Shared {
    /// Who answers the questions. None where `KeyService` is not served.
    questions: Option<Questions>,
    /// The names of the services that the router calls.
    services: Arc<[&'static str]>,
    message_limits: MessageLimits,
    /// How long a call that streams its messages may last.
    stream_limit: Duration,
    /// Cancelled when streams are to end.
    draining: CancellationToken,
}

impl<K, R> Dispatch<K, R> {
    pub(in crate::grpc) fn new(
        limits: &ClientLimits,
        key_service: Option<KeyServiceServer<K>>,
        questions: Option<Questions>,
        (router, services): (R, Arc<[&'static str]>),
        draining: CancellationToken,
    ) -> Self {
        const { assert_has_rows(SERVICE_NAME) };
        const { assert_has_rows(GATEWAY_SERVICE) };
        Self {
            key_service,
            router,
            shared: Arc::new(Shared {
                questions,
                services,
                message_limits: MessageLimits::of(limits),
                stream_limit: limits.answer_timeout,
                draining,
            }),
        }
    }

    /// The limits on the message of a call.
    fn message_limits(&self, method: Option<Method>) -> MessageLimits {
        let limits = self.shared.message_limits;
        match method.map(Method::message_size) {
            Some(MessageSize::AtMost(size)) => limits.with_size_of_at_most(size),
            Some(MessageSize::Large(size)) => limits
                .with_size_of_at_most(USUAL_MESSAGE)
                .with_large_size(size),
            Some(MessageSize::AsSet) => limits.with_shares_above(USUAL_MESSAGE),
            None => limits,
        }
    }

    /// Why a method is not served, if it is not.
    fn not_served(&self, method: Option<Method>) -> Option<&'static str> {
        let service = method.map(Method::service);
        match (&self.key_service, service) {
            (Some(_), Some(SERVICE_NAME | GATEWAY_SERVICE)) => None,
            (_, Some(service)) if self.shared.services.contains(&service) => None,
            (None, _) => Some(
                "this port serves grpc.health.v1.Health alone: call the port of --listen for the rest",
            ),
            (Some(_), None) => Some(
                "no such method is served here: make the client from the protos of this service, and \
                 see that no proxy changes the path",
            ),
            (Some(_), Some(_)) => Some(
                "the method is switched off here: use the protos in place of reflection, or start the \
                 service with --reflection=true",
            ),
        }
    }
}

type Answer<K, R> = MapOk<
    Either<OfKeyService<K>, <R as Service<Request<RequestBody>>>::Future>,
    fn(Response<Body>) -> Response<Body>,
>;
type OfKeyService<K> = <KeyServiceServer<K> as Service<Request<RequestBody>>>::Future;

impl<K, R> Service<Call> for Dispatch<K, R>
where
    K: KeyService,
    R: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible>,
    R::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<
        BoxFuture<'static, Result<Response<Body>, Infallible>>,
        Either<AuthorizeCall, Answer<K, R>>,
    >;

    /// `KeyService` is always ready.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.router.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if let Some(why) = broken_headers(&call) {
            let status = unreadable(call.method, why);
            return Either::Left(refused(call, self.shared.message_limits, status));
        }
        if let Some(why) = self.not_served(call.method) {
            let status = Status::unimplemented(why);
            return Either::Left(refused(call, self.shared.message_limits, status));
        }
        if let Some(status) = refused_compression(call.request.headers()) {
            return Either::Left(refused(call, self.shared.message_limits, status));
        }
        if call.method == Some(Method::AuthorizeStream)
            && let Some(questions) = &self.shared.questions
        {
            let answer = questions.streams.answer(call, self.shared.message_limits);
            return Either::Left(Box::pin(ready(Ok(answer))));
        }
        let Call {
            method,
            mut request,
            began,
            large,
            passed_by,
            until_unknown,
        } = call;
        let limits = self.message_limits(method);
        let limits = limits.before_deadline(answer_time(request.headers()));
        let read = |body| {
            RequestBody::new(body, limits, method, began)
                .with_share(large)
                .passed_by(passed_by)
        };
        if method.is_some_and(Method::streams_requests) {
            let slot: Option<Arc<Share>> = request.extensions_mut().remove();
            let peer: Option<&Peer> = request.extensions().get();
            let peer = peer.map(|peer| peer.slot.clone());
            let limit = until(self.shared.stream_limit, until_unknown);
            let end = StreamEnd::after(limit, &self.shared.draining, slot, peer);
            let failure = Failure::default();
            let messages = |body| read(read_ahead(body, limits)).telling(failure.clone());
            let answer = self.router.call(request.map(messages));
            let answer = answer.map_ok(|response| ends_with(failure, end, response));
            return Either::Left(Box::pin(answer));
        }
        let asks: Option<authorize::Answer> = match method {
            Some(Method::Authorize) => Some(authorize::decide),
            Some(Method::GatewayCheck) => Some(gateway::check),
            _ => None,
        };
        if let Some(asks) = asks
            && let Some(questions) = &self.shared.questions
        {
            let caller: Option<Arc<Caller>> = request.extensions_mut().remove();
            let authorizer = questions.authorizer.clone();
            let answer = AuthorizeCall::new(asks, authorizer, caller, read(request.into_body()));
            return Either::Right(Either::Left(answer));
        }
        let request = request.map(read);
        let answer = match &mut self.key_service {
            Some(key_service) if method.map(Method::service) == Some(SERVICE_NAME) => {
                Either::Left(key_service.call(request))
            }
            _ => Either::Right(self.router.call(request)),
        };
        let name: fn(_) -> _ = name_cancelled;
        Either::Right(Either::Right(answer.map_ok(name)))
    }
}
