//! Owns the way of a call to the service that its path names.
//! Promises `KeyService` its calls without tonic's router, which costs more than an Authorize does.
//! Must never take a call from the router that names another service.

use super::request_body::{RequestBody, name_given_up};
use crate::grpc::{
    call::Call,
    keys::KeyHandlers,
    methods::Method,
    proto::key_service_server::{KeyServiceServer, SERVICE_NAME},
};
use futures::{
    TryFutureExt,
    future::{Either, MapOk},
};
use http::{Request, Response};
use std::{
    convert::Infallible,
    task::{Context, Poll},
};
use tonic::body::Body;
use tower::{Layer, Service};

/// Puts `KeyService`, where it is served, in front of the router of all other services.
#[derive(Clone)]
pub(in crate::grpc) struct DispatchLayer {
    pub(in crate::grpc) key_service: Option<KeyServiceServer<KeyHandlers>>,
}

impl<R> Layer<R> for DispatchLayer {
    type Service = Dispatch<R>;

    fn layer(&self, router: R) -> Self::Service {
        Dispatch {
            key_service: self.key_service.clone(),
            router,
        }
    }
}

type OfKeyService = <KeyServiceServer<KeyHandlers> as Service<Request<RequestBody>>>::Future;

/// See [`DispatchLayer`].
#[derive(Clone)]
pub(in crate::grpc) struct Dispatch<R> {
    key_service: Option<KeyServiceServer<KeyHandlers>>,
    router: R,
}

impl<R> Service<Call> for Dispatch<R>
where
    R: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<MapOk<OfKeyService, fn(Response<Body>) -> Response<Body>>, R::Future>;

    /// `KeyService` is always ready.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.router.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Call { method, request } = call;
        match &mut self.key_service {
            Some(key_service) if method.map(Method::service) == Some(SERVICE_NAME) => {
                let answer = key_service.call(request.map(RequestBody::new));
                Either::Left(answer.map_ok(name_given_up))
            }
            _ => Either::Right(self.router.call(request)),
        }
    }
}
