//! Owns how long a call counts as in flight: until its client has taken the whole answer.
//! Promises that every call of a connection has its place for as long.
//! Must never refuse a call: where calls pile up, a connection is closed instead.

use crate::net::{
    admission::{ConnectionSlot, InFlightCall},
    connection::Peer,
};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::body::Body;
use tower::{Layer, Service};

/// Gives each call its place.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallPlaceLayer;

impl<S> Layer<S> for CallPlaceLayer {
    type Service = CallPlaceService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallPlaceService { inner }
    }
}

/// See [`CallPlaceLayer`].
#[derive(Debug, Clone)]
pub(crate) struct CallPlaceService<S> {
    inner: S,
}

impl<S, B> Service<Request<Body>> for CallPlaceService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    type Response = Response<PlacedBody<B>>;
    type Error = S::Error;
    type Future = CallPlaceFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        let slot = peer.map(|peer| peer.slot.clone());
        // Authenticates the call, so that a call which makes its connection known counts as such.
        let inner = self.inner.call(request);
        CallPlaceFuture {
            place: slot.map(ConnectionSlot::begin_call),
            inner,
        }
    }
}

pin_project! {
    /// See [`CallPlaceLayer`].
    pub(crate) struct CallPlaceFuture<F> {
        place: Option<InFlightCall>,
        #[pin]
        inner: F,
    }
}

impl<F, B, E> Future for CallPlaceFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<PlacedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(context))?;
        let place = this.place.take();
        Poll::Ready(Ok(response.map(|inner| PlacedBody { inner, place })))
    }
}

pin_project! {
    /// A response's body, which keeps the call's place to its last byte.
    pub(crate) struct PlacedBody<B> {
        #[pin]
        inner: B,
        place: Option<InFlightCall>,
    }
}

impl<B: HttpBody> HttpBody for PlacedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().inner.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
