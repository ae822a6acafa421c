//! The deadlines of callers.
//!
//! Owns the answer to a call whose deadline comes first.
//! Promises to send it shortly before the deadline, and to say in it what the caller can do.
//! Must never stop a write that was begun. The write goes on without its caller (see `service`).

use crate::grpc::{call::Call, methods::Method};
use http::{HeaderMap, Response};
use pin_project_lite::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::Sleep;
use tonic::{Status, body::Body};
use tower::Service;

/// How long before the deadline the answer is sent. It has to arrive in time, and tonic itself would
/// answer `CANCELLED` at the deadline.
const ANSWER_TIME: Duration = Duration::from_millis(50);

/// Answers calls at their callers' deadlines.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Deadline<S> {
    inner: S,
}

impl<S> Deadline<S> {
    pub(in crate::grpc) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Call> for Deadline<S>
where
    S: Service<Call, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let end = answer_deadline(&call);
        DeadlineFuture {
            method: call.method,
            inner: self.inner.call(call),
            sleep: end.map(|end| tokio::time::sleep_until(end.into())),
        }
    }
}

pin_project! {
    /// See [`Deadline`].
    pub(in crate::grpc) struct DeadlineFuture<F> {
        method: Option<Method>,
        #[pin]
        inner: F,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<F, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(response) = this.inner.as_mut().poll(context) {
            return Poll::Ready(response);
        }
        let Some(sleep) = this.sleep.as_pin_mut() else {
            return Poll::Pending;
        };
        ready!(sleep.poll(context));
        // A message that has not come by now is late, which the service is told only when it asks. It
        // may have asked last before that.
        if let Poll::Ready(response) = this.inner.poll(context) {
            return Poll::Ready(response);
        }
        Poll::Ready(Ok(deadline_exceeded(*this.method).into_http()))
    }
}

fn deadline_exceeded(method: Option<Method>) -> Status {
    let advice = method.map_or("try again", Method::advice_at_deadline);
    Status::deadline_exceeded(format!("the deadline came before the answer; {advice}"))
}

/// When a call is answered at the latest, if its caller has a deadline.
pub(in crate::grpc) fn answer_deadline(call: &Call) -> Option<Instant> {
    let time = answer_time(call.request.headers())?;
    call.began.checked_add(time)
}

/// How long after its beginning a call is answered at the latest, if its caller has a deadline.
pub(super) fn answer_time(headers: &HeaderMap) -> Option<Duration> {
    let patience = patience(headers);
    patience.map(|time| time.saturating_sub(ANSWER_TIME.min(time / 10)))
}

/// How long the caller waits, if it says so.
///
/// It says so in the header `grpc-timeout` of "gRPC over HTTP2": up to 8 digits and a unit.
#[must_use]
pub fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    /// Of a message that is late at the deadline, the service learns only then.
    #[tokio::test]
    async fn a_service_that_answers_at_the_deadline_comes_before_it() {
        let mut polls = 0;
        let inner = poll_fn(|_| {
            polls += 1;
            match polls {
                // When it begins, and when the deadline wakes it.
                1 | 2 => Poll::Pending,
                _ => Poll::Ready(Ok::<_, ()>(Status::cancelled("late").into_http())),
            }
        });
        let deadline = DeadlineFuture {
            method: Some(Method::Authorize),
            inner,
            sleep: Some(tokio::time::sleep(Duration::from_millis(20))),
        };
        let response = deadline.await.expect("an answer");
        let status = Status::from_header_map(response.headers()).expect("a status");
        assert_eq!(status.message(), "late");
    }

    #[test]
    fn a_caller_whose_deadline_passes_during_a_write_is_told_that_it_may_stand() {
        let advice = |method| deadline_exceeded(method).message().to_owned();
        for writes in [Method::Create, Method::Revoke] {
            let advice = advice(Some(writes));
            assert!(advice.contains("all the same: call"), "{advice}");
        }
        for reads in [Some(Method::Authorize), Some(Method::List), None] {
            let advice = advice(reads);
            assert!(advice.ends_with("; try again"), "{advice}");
        }
    }

    #[test]
    fn a_callers_patience_is_read_in_every_unit_or_not_at_all() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().expect("ASCII"));
            patience(&headers)
        };
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("4S"), Some(Duration::from_secs(4)));
        assert_eq!(read("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(read("5u"), Some(Duration::from_micros(5)));
        assert_eq!(read("6n"), Some(Duration::from_nanos(6)));
        for nonsense in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S"] {
            assert_eq!(read(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(patience(&HeaderMap::new()), None);
    }
}
