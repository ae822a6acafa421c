//! Owns the counting of calls, by method and status, and of how long each took.
//! Promises that every call is counted once, at the end of its response or when it is given up.
//! Must never lock, box or allocate for a call, nor read the clock more than twice.

use crate::grpc::{
    call::{CODES, Call, OTHER, name, status},
    methods::Method,
    proto::key_service_server::SERVICE_NAME,
};
use crate::{app::Counts, observe::call_counts::Calls};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};
use strum::VariantArray;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

/// The counts of this process's calls, all at zero.
#[must_use]
pub fn new_counts() -> &'static Counts {
    let methods = Method::VARIANTS.iter().map(|method| method.name());
    let methods = methods.chain([OTHER]);
    Counts::of_process(Calls::new(methods, CODES.map(name), is_awaited))
}

/// Where the calls of a method are counted.
fn place(method: Option<Method>) -> usize {
    method.map_or(Method::VARIANTS.len(), |method| method as usize)
}

/// Whether people watch for calls that end like this: errors that may be the service's own.
fn is_awaited(method: &str, status: &str) -> bool {
    let errors = [
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Internal,
        Code::Unavailable,
    ];
    let (service, _) = method.split_once('/').unwrap_or_default();
    service == SERVICE_NAME && errors.map(name).contains(&status)
}

/// Wraps a server's services in the counting of their calls.
#[derive(Clone, Copy)]
pub struct CallMetricsLayer {
    calls: &'static Calls,
}

impl CallMetricsLayer {
    /// Counts into these.
    #[must_use]
    pub fn new(calls: &'static Calls) -> Self {
        Self { calls }
    }
}

impl<S> Layer<S> for CallMetricsLayer {
    type Service = CallMetricsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallMetricsService {
            calls: self.calls,
            inner,
        }
    }
}

/// See [`CallMetricsLayer`].
#[derive(Clone)]
pub struct CallMetricsService<S> {
    calls: &'static Calls,
    inner: S,
}

impl<S> Service<Request<Body>> for CallMetricsService<S>
where
    S: Service<Call, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = CallMetricsFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::new(request);
        let in_flight = InFlight {
            calls: self.calls,
            method: place(call.method),
            began: Instant::now(),
            is_counted: false,
        };
        CallMetricsFuture {
            inner: self.inner.call(call),
            in_flight: Some(in_flight),
        }
    }
}

/// A call that is not counted yet. Whoever drops it has given the call up.
struct InFlight {
    calls: &'static Calls,
    method: usize,
    began: Instant,
    is_counted: bool,
}

impl InFlight {
    fn ended(&mut self, code: Code) {
        if !self.is_counted {
            self.is_counted = true;
            let took = self.began.elapsed();
            self.calls.ended(self.method, code as usize, took);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.ended(Code::Cancelled);
    }
}

pin_project! {
    /// See [`CallMetricsLayer`].
    pub struct CallMetricsFuture<F> {
        #[pin]
        inner: F,
        in_flight: Option<InFlight>,
    }
}

impl<F> Future for CallMetricsFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = Result<Response<CountedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(context));
        let in_flight = this.in_flight.take();
        let mut in_flight = in_flight.expect("a future is not polled after its end");
        if let Some(code) = status(response.headers()) {
            in_flight.ended(code);
        }
        Poll::Ready(Ok(response.map(|inner| CountedBody { inner, in_flight })))
    }
}

/// A response's body, with which its call ends.
pub struct CountedBody {
    inner: Body,
    in_flight: InFlight,
}

impl HttpBody for CountedBody {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = status(trailers).unwrap_or(Code::Unknown);
                    self.in_flight.ended(code);
                }
            }
            Some(Err(broken)) => self.in_flight.ended(broken.code()),
            // As a client takes an end without a status.
            None => self.in_flight.ended(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
