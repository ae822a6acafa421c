//! The calls in flight.
//!
//! Owns how long a call is in flight, which is until its client has taken the whole answer, and what
//! is counted of it: its method, its status and how long it took.
//! Promises that each call is counted once, when it ends or is given up.
//! Must never refuse a call: where calls pile up, connections are evicted instead. Must never lock,
//! box or allocate for a call, nor read the clock more than twice.

use super::until_end::{AtEnd, Unended, UntilEnd};
use crate::grpc::{
    call::{CODES, Call, OTHER, name},
    methods::Method,
};
use crate::{
    app::Counts,
    net::{admission::InFlightCall, connection::Peer},
    observe::call_counts::Calls,
};
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};
use strum::VariantArray;
use tonic::{Code, body::Body};
use tower::Service;

/// The counts of this process, all at zero.
#[must_use]
pub fn new_counts() -> &'static Counts {
    let methods = Method::VARIANTS.iter().map(|method| method.name());
    let methods = methods.chain([OTHER]);
    Counts::of_process(Calls::new(methods, CODES.map(name), is_shown_at_zero))
}

/// Where the calls of a method are counted.
fn index(method: Option<Method>) -> usize {
    method.map_or(Method::VARIANTS.len(), |method| method as usize)
}

/// Whether the series exists before its first call. Errors that may be the fault of this product's
/// services do: Prometheus's `rate` does not count the first value of a series, so it would miss the
/// first error.
fn is_shown_at_zero(method: &str, status: &str) -> bool {
    let errors = [
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Internal,
        Code::Unavailable,
    ];
    let mut methods = Method::VARIANTS.iter();
    let is_ours = methods.any(|row| row.name() == method && row.needs_role());
    is_ours && errors.map(name).contains(&status)
}

/// Makes each request a call, which is in flight until its client has taken the answer.
#[derive(Clone)]
pub struct InFlight<S> {
    calls: &'static Calls,
    inner: S,
}

impl<S> InFlight<S> {
    /// `calls` counts them.
    #[must_use]
    pub fn new(calls: &'static Calls, inner: S) -> Self {
        Self { calls, inner }
    }
}

impl<S> Service<Request<Body>> for InFlight<S>
where
    S: Service<Call, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<UntilEnd<CallInFlight>>;
    type Error = Infallible;
    type Future = InFlightFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let slot = request.extensions().get::<Peer>();
        let slot = slot.map(|peer| peer.slot.clone());
        let call = Call::new(request);
        // Watches and streams have no end of their own, and who is asked to end one may not read it.
        let is_awaited = call.method.is_some_and(Method::needs_role);
        let mut in_flight = CallInFlight {
            slot: None,
            calls: self.calls,
            index: index(call.method),
            began: call.began,
        };
        // Authenticates the call before it counts as in flight: the first call of a caller makes its
        // connection that caller's.
        let inner = self.inner.call(call);
        in_flight.slot = slot.map(|slot| slot.begin_call(is_awaited));
        InFlightFuture {
            inner,
            call: Some(Unended::new(in_flight)),
        }
    }
}

/// A call that is in flight until this is dropped.
pub struct CallInFlight {
    slot: Option<InFlightCall>,
    calls: &'static Calls,
    index: usize,
    began: Instant,
}

impl AtEnd for CallInFlight {
    fn answered(&mut self) {
        if let Some(slot) = &mut self.slot {
            slot.note_answered();
        }
    }

    fn ended(&mut self, status: Option<Code>) {
        let code = status.unwrap_or(Code::Cancelled);
        let took = self.began.elapsed();
        self.calls.count(self.index, code as usize, took);
    }
}

pin_project! {
    /// See [`InFlight`].
    pub struct InFlightFuture<F> {
        #[pin]
        inner: F,
        call: Option<Unended<CallInFlight>>,
    }
}

impl<F> Future for InFlightFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = Result<Response<UntilEnd<CallInFlight>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(context));
        let call = this.call.take();
        let call = call.expect("a future is not polled after its end");
        Poll::Ready(Ok(call.until_end(response)))
    }
}
