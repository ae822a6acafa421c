//! Owns the question who calls, and whether that caller may use the method.
//! Promises that no call reaches a service but of a caller whose role covers it; health is open.
//! Must never lock, allocate or format for an Authorize by a caller with all accounts.

use crate::{
    app::Callers,
    audit::recorder::Recorder,
    callers::{Caller, credentials::Credentials},
    grpc::{
        audited_call::{AuditedCall, Handover, count_unauthenticated},
        call::Call,
        errors,
        methods::{Access, Method},
    },
    model::{account::Accounts, audit_record::AdminMethod},
    net::connection::Peer,
};
use futures::future::BoxFuture;
use http::{Request, Response, header::AUTHORIZATION};
use pin_project_lite::pin_project;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// Wraps a server's services in authentication.
#[derive(Clone)]
pub struct AuthenticateLayer {
    callers: Callers,
    recorder: Arc<Recorder>,
}

impl AuthenticateLayer {
    /// Lets these callers pass, and records who asks for more than it may.
    #[must_use]
    pub fn new(callers: Callers, recorder: Arc<Recorder>) -> Self {
        Self { callers, recorder }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = AuthenticateService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthenticateService {
            callers: self.callers.clone(),
            recorder: self.recorder.clone(),
            inner,
        }
    }
}

/// See [`AuthenticateLayer`].
#[derive(Clone)]
pub struct AuthenticateService<S> {
    callers: Callers,
    recorder: Arc<Recorder>,
    inner: S,
}

impl<S> Service<Call> for AuthenticateService<S>
where
    S: Service<Call, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AuthenticateFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        match self.callers.admit(&mut call, &self.recorder) {
            Admission::Passed => AuthenticateFuture::Admitted {
                inner: self.inner.call(call),
            },
            Admission::Audited(audited) => {
                let handover = Handover::new(audited);
                call.request.extensions_mut().insert(handover.clone());
                let answer = handover.finish(self.inner.call(call));
                AuthenticateFuture::Recorded {
                    answer: Box::pin(answer),
                }
            }
            Admission::RefusedAudited(audited) => AuthenticateFuture::Recorded {
                answer: Box::pin(async move {
                    let status = audited.end(errors::not_permitted()).await;
                    Ok(status.into_http())
                }),
            },
            Admission::OfUnknownCaller(method) => {
                if let Some(method) = method {
                    count_unauthenticated(method, &self.recorder);
                }
                AuthenticateFuture::refused(errors::unauthenticated())
            }
            Admission::Refused(status) => AuthenticateFuture::refused(status),
        }
    }
}

/// What authentication says of a call.
enum Admission {
    Passed,
    Audited(AuditedCall),
    /// Of a caller that may not make it.
    RefusedAudited(AuditedCall),
    OfUnknownCaller(Option<AdminMethod>),
    Refused(Status),
}

impl Callers {
    /// Lets a call pass or not; notes its caller for a service that must know.
    fn admit(&self, call: &mut Call, recorder: &Arc<Recorder>) -> Admission {
        let access = Access::to(call.method);
        if access == Access::Open {
            return Admission::Passed;
        }
        let (method, request) = (call.method.and_then(Method::audited_as), &mut call.request);
        let credentials;
        let caller = match self {
            Self::Anyone(caller) => caller,
            Self::Listed(credentials_file) => {
                credentials = credentials_file.get();
                match find(&credentials, request) {
                    Some(caller) => caller,
                    None => return Admission::OfUnknownCaller(method),
                }
            }
        };
        if let Some(peer) = request.extensions().get::<Peer>() {
            peer.slot.set_authenticated();
        }
        let Access::Needs(role) = access else {
            return Admission::Passed;
        };
        let open = |method| AuditedCall::open(caller.clone(), method, recorder.clone());
        match (caller.role.covers(role), method.map(open)) {
            (true, Some(call)) => Admission::Audited(call),
            (false, Some(call)) => Admission::RefusedAudited(call),
            (false, None) => Admission::Refused(errors::not_permitted()),
            (true, None) => {
                if caller.accounts != Accounts::All {
                    let caller = caller.clone();
                    request.extensions_mut().insert(caller);
                }
                Admission::Passed
            }
        }
    }
}

/// A bearer secret speaks for its call, and a certificate for those that have none.
fn find<'a>(credentials: &'a Credentials, request: &Request<Body>) -> Option<&'a Arc<Caller>> {
    if let Some(authorization) = request.headers().get(AUTHORIZATION) {
        return credentials.with_secret(bearer(authorization.as_bytes())?);
    }
    let peer = request.extensions().get::<Peer>()?;
    credentials.with_names(&peer.names)
}

/// The secret in an `authorization`: `Bearer SECRET` (RFC 6750), where the scheme's case does not
/// matter.
#[must_use]
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, secret) = authorization.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| secret.trim_ascii())
}

pin_project! {
    /// See [`AuthenticateLayer`].
    #[project = Project]
    pub enum AuthenticateFuture<F, E> {
        /// By the service that was asked.
        Admitted {
            #[pin]
            inner: F,
        },
        /// As an admin call, which is recorded before it is answered.
        Recorded {
            answer: BoxFuture<'static, Result<Response<Body>, E>>,
        },
        /// By nobody.
        Refused {
            response: Option<Response<Body>>,
        },
    }
}

impl<F, E> AuthenticateFuture<F, E> {
    fn refused(status: Status) -> Self {
        Self::Refused {
            response: Some(status.into_http()),
        }
    }
}

impl<F, E> Future for AuthenticateFuture<F, E>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Project::Admitted { inner } => inner.poll(context),
            Project::Recorded { answer } => answer.as_mut().poll(context),
            Project::Refused { response } => {
                let response = response.take();
                Poll::Ready(Ok(response.expect("a future is not polled after its end")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_as_a_bearer_or_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = bearer(&bytes);
        }
    }

    #[test]
    fn a_bearer_is_read_whatever_the_case_of_its_scheme() {
        for text in ["Bearer tsop_x", "bearer tsop_x", "BEARER  tsop_x "] {
            assert_eq!(bearer(text.as_bytes()), Some(&b"tsop_x"[..]));
        }
        for text in ["", "Bearer", "tsop_x", "Basic tsop_x"] {
            assert_eq!(bearer(text.as_bytes()), None);
        }
    }
}
