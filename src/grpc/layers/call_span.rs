//! Owns the span of a call, with OpenTelemetry's attributes for RPC servers.
//! Promises to continue the trace that a W3C `traceparent` header names.
//! Must never cost a call anything while nobody takes spans.

use crate::grpc::{
    call::{Call, SYSTEM, name, status},
    methods::Method,
};
use crate::observe::telemetry::CALL_TARGET;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use opentelemetry::{
    Context as TraceContext,
    propagation::{Extractor, TextMapPropagator},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use pin_project_lite::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Code, body::Body};
use tower::{Layer, Service};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Wraps a server's services in call spans.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallSpanLayer;

impl<S> Layer<S> for CallSpanLayer {
    type Service = CallSpanService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallSpanService { inner }
    }
}

/// See [`CallSpanLayer`].
#[derive(Debug, Clone)]
pub(crate) struct CallSpanService<S> {
    inner: S,
}

impl<S> Service<Call> for CallSpanService<S>
where
    S: Service<Call, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = CallFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let span = call_span(&call);
        let inner = span.in_scope(|| self.inner.call(call));
        CallFuture { inner, span }
    }
}

/// The text of a method that is not served, which the conventions want as well, is left out: it is
/// the caller's, and may hold a token.
fn call_span(call: &Call) -> Span {
    let span = tracing::debug_span!(
        target: CALL_TARGET,
        "call",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = SYSTEM,
        rpc.method = Empty,
        rpc.response.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", call.method.map_or(SYSTEM, Method::name));
        span.record("rpc.method", call.method_name());
        let parent = TraceContextPropagator::new()
            .extract_with_context(&TraceContext::new(), &Headers(call.request.headers()));
        // Fails only where no exporter takes spans, and then there is nothing to continue.
        let _ = span.set_parent(parent);
    }
    span
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

pin_project! {
    /// See [`CallSpanLayer`].
    pub(crate) struct CallFuture<F> {
        #[pin]
        inner: F,
        span: Span,
    }
}

impl<F, E> Future for CallFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = {
            let _entered = this.span.enter();
            ready!(this.inner.poll(context))
        };
        if this.span.is_disabled() {
            return Poll::Ready(response);
        }
        let span = std::mem::replace(this.span, Span::none());
        Poll::Ready(response.map(|response| follow_to_its_end(response, span)))
    }
}

fn follow_to_its_end(response: Response<Body>, span: Span) -> Response<Body> {
    if let Some(code) = status(response.headers()) {
        record_status(&span, code);
        return response;
    }
    response.map(|inner| Body::new(SpannedBody { inner, span }))
}

pin_project! {
    /// A response's body, which holds the call's span open until its last byte.
    struct SpannedBody {
        #[pin]
        inner: Body,
        span: Span,
    }
}

impl HttpBody for SpannedBody {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let _entered = this.span.enter();
        let frame = ready!(this.inner.poll_frame(context));
        if let Some(trailers) = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.trailers_ref())
        {
            record_status(this.span, status(trailers).unwrap_or(Code::Unknown));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

fn record_status(span: &Span, code: Code) {
    let name = name(code);
    span.record("rpc.response.status_code", name);
    if is_servers_fault(code) {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", name);
    }
}

/// Which codes make a server's span an error, by the conventions for gRPC.
fn is_servers_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
