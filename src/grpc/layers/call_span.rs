//! The spans of calls, with OpenTelemetry's attributes for RPC servers.
//!
//! Owns what a span says of its call.
//! Promises to continue the trace that the W3C `traceparent` header of a caller names.
//! Must never let anybody else choose a trace, or whether a call is sampled. Must never export a text
//! that a client sent, such as `tracestate` and `baggage`: it may contain a token. Must never cost a call more than a look at one flag while nobody takes spans.

use super::until_end::{AtEnd, Unended};
use crate::{
    app::Callers,
    grpc::{
        call::{Call, SYSTEM, name},
        methods::{Access, Method},
    },
    observe::{repeated_line::RepeatedLine, telemetry::CALL_TARGET},
};
use futures::future::{BoxFuture, Either};
use http::{HeaderMap, Response};
use opentelemetry::{
    Context as TraceContext,
    propagation::{Extractor, TextMapPropagator},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Instant,
};
use tonic::{Code, body::Body};
use tower::Service;
use tracing::{Instrument, Level, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Opens a span for each call, if anybody takes spans.
#[derive(Clone)]
pub(in crate::grpc) struct CallSpan<S> {
    callers: Callers,
    inner: S,
}

impl<S> CallSpan<S> {
    pub(in crate::grpc) fn new(callers: Callers, inner: S) -> Self {
        Self { callers, inner }
    }
}

impl<S> Service<Call> for CallSpan<S>
where
    S: Service<Call, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let span = call_span(&call, &self.callers);
        if span.is_disabled() {
            return Either::Left(self.inner.call(call));
        }
        let answer = span.in_scope(|| self.inner.call(call));
        let answer = answer.instrument(span.clone());
        Either::Right(Box::pin(async move {
            let response = answer.await?;
            Ok(Unended::new(span).until_end(response).map(Body::new))
        }))
    }
}

/// OpenTelemetry also wants the text of a method that is not served. It is left out because the
/// caller chose it, and it may hold a token.
///
/// The exporter takes a bounded number of spans, and a stranger can make any number of calls. So only a few
/// calls of strangers have spans.
fn call_span(call: &Call, callers: &Callers) -> Span {
    static OPEN: RepeatedLine = RepeatedLine::new();
    static REFUSED: RepeatedLine = RepeatedLine::new();
    if !tracing::span_enabled!(target: CALL_TARGET, Level::DEBUG) {
        return Span::none();
    }
    // Authentication comes later, so that calls that it refuses have spans too. The parent must be
    // known now, so the caller is looked up twice.
    let is_known = callers.know(&call.request);
    let of_others = match Access::to(call.method) {
        Access::Open => &OPEN,
        _ => &REFUSED,
    };
    if !is_known && of_others.admit(Instant::now()).is_none() {
        return Span::none();
    }
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
        let parent = if is_known {
            parent(call.request.headers())
        } else {
            TraceContext::new()
        };
        // Fails only where no exporter takes spans, and then there is nothing to continue.
        let _ = span.set_parent(parent);
    }
    span
}

/// The span that the caller names as the parent. Two of them are none, as the specification says.
fn parent(headers: &HeaderMap) -> TraceContext {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let only = values.next().filter(|_| values.next().is_none());
    let only = only.and_then(|value| value.to_str().ok());
    TraceContextPropagator::new().extract_with_context(&TraceContext::new(), &TraceParent(only))
}

const TRACEPARENT: &str = "traceparent";

/// The one header that is read. The specification lets a service drop `tracestate`.
struct TraceParent<'a>(Option<&'a str>);

impl Extractor for TraceParent<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.filter(|_| name == TRACEPARENT)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|_| TRACEPARENT).collect()
    }
}

impl AtEnd for Span {
    fn ended(&mut self, status: Option<Code>) {
        // A span ends, for its exporter, when it is left for the last time.
        self.in_scope(|| {
            if let Some(code) = status {
                record_status(self, code);
            }
        });
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
