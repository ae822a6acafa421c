//! The way of a call to its service.
//!
//! Owns which service a call goes to, and the body that the service reads.
//! Promises `KeyService` its calls without tonic's router, which costs more than an Authorize does.
//! Must never take a call of another service from the router.

use super::{
    deadline::answer_time,
    request_body::{MessageLimits, RequestBody, name_cancelled},
    stream_answer::{Failure, ends_with},
    unreadable::{broken_headers, unreadable},
};
use crate::config::ClientLimits;
use crate::grpc::{
    call::Call,
    methods::{Method, assert_has_rows},
    proto::key_service_server::{KeyService, KeyServiceServer, SERVICE_NAME},
};
use futures::{
    TryFutureExt,
    future::{BoxFuture, Either, MapOk, ready},
};
use http::{Request, Response};
use std::{
    convert::Infallible,
    task::{Context, Poll},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

/// Calls `KeyService`, where it is served, and a router for all other services.
#[derive(Clone)]
pub(in crate::grpc) struct Dispatch<K, R> {
    key_service: Option<KeyServiceServer<K>>,
    router: R,
    message_limits: MessageLimits,
    /// Cancelled when streams are to end.
    draining: CancellationToken,
}

impl<K, R> Dispatch<K, R> {
    pub(in crate::grpc) fn new(
        limits: &ClientLimits,
        key_service: Option<KeyServiceServer<K>>,
        router: R,
        draining: CancellationToken,
    ) -> Self {
        const { assert_has_rows(SERVICE_NAME) };
        Self {
            key_service,
            router,
            message_limits: MessageLimits::of(limits),
            draining,
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
    type Future = Either<BoxFuture<'static, Result<Response<Body>, Infallible>>, Answer<K, R>>;

    /// `KeyService` is always ready.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.router.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if let Some(why) = broken_headers(&call) {
            let status = unreadable(call.method, why);
            return Either::Left(Box::pin(ready(Ok(status.into_http()))));
        }
        let Call {
            method,
            request,
            began,
        } = call;
        let limits = self
            .message_limits
            .before_deadline(answer_time(request.headers()));
        let mut request = request.map(|body| RequestBody::new(body, limits, method, began));
        if method.is_some_and(Method::streams_requests) {
            let (failure, draining) = (Failure::default(), self.draining.clone());
            request = request.map(|body| body.telling(failure.clone()));
            let answer = self.router.call(request);
            let answer = answer.map_ok(|response| ends_with(failure, draining, response));
            return Either::Left(Box::pin(answer));
        }
        let answer = match &mut self.key_service {
            Some(key_service) if method.map(Method::service) == Some(SERVICE_NAME) => {
                Either::Left(key_service.call(request))
            }
            _ => Either::Right(self.router.call(request)),
        };
        let name: fn(_) -> _ = name_cancelled;
        Either::Right(answer.map_ok(name))
    }
}
