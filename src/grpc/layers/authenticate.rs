//! Owns the question who calls, and whether that caller may use the method.
//! Promises that no call reaches a service but of a caller whose role covers it; health is open.
//! Must never lock, allocate or format for an Authorize by a caller with all accounts.

use crate::grpc::{
    call::key_service_method,
    keys::{
        audited_call::{Arrival, answered, count_unknown_caller},
        response,
    },
};
use crate::{
    audit::recorder::Recorder,
    callers::{Access, Caller, Role, credentials::Credentials},
    model::{account::Accounts, audit_record::AdminMethod},
    net::{connection::Peer, reload::Reloaded},
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

/// With which the paths of health's methods begin.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Who may call.
#[derive(Clone)]
pub enum Callers {
    /// Whoever reaches the server, with every right.
    Anyone(Arc<Caller>),
    /// Those in the credentials file, as it is now.
    Known(Arc<Reloaded<Credentials>>),
}

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

impl<S> Service<Request<Body>> for AuthenticateService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AuthenticateFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let recorder = self.recorder.clone();
        match self.callers.admit(&mut request) {
            Admission::Passed => AuthenticateFuture::Admitted {
                inner: self.inner.call(request),
            },
            Admission::AdminCall(arrival) => {
                let arrival = Arc::new(arrival);
                request.extensions_mut().insert(arrival.clone());
                let answer = answered(arrival, recorder, self.inner.call(request));
                let answer = Box::pin(answer);
                AuthenticateFuture::Recorded { answer }
            }
            Admission::RefusedAdminCall(arrival) => AuthenticateFuture::Recorded {
                answer: Box::pin(async move { Ok(arrival.refused(&recorder).await.into_http()) }),
            },
            Admission::OfUnknownCaller(method) => {
                if let Some(method) = method {
                    count_unknown_caller(method, &recorder);
                }
                AuthenticateFuture::refused(response::unknown_caller())
            }
            Admission::Refused(status) => AuthenticateFuture::refused(status),
        }
    }
}

/// What authentication says of a call.
enum Admission {
    Passed,
    AdminCall(Arrival),
    /// Of a known caller that may not make it.
    RefusedAdminCall(Arrival),
    OfUnknownCaller(Option<AdminMethod>),
    Refused(Status),
}

impl Callers {
    /// The file of those who may call, if it is not anyone.
    pub(crate) fn known(&self) -> Option<Arc<Reloaded<Credentials>>> {
        match self {
            Self::Anyone(_) => None,
            Self::Known(known) => Some(known.clone()),
        }
    }

    /// Lets a call pass or not; notes its caller for a service that must know.
    fn admit(&self, request: &mut Request<Body>) -> Admission {
        let path = request.uri().path();
        let access = access(path);
        if access == Access::Open {
            return Admission::Passed;
        }
        let method = key_service_method(path).and_then(AdminMethod::parse);
        let credentials;
        let caller = match self {
            Self::Anyone(caller) => caller,
            Self::Known(known) => {
                credentials = known.get();
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
        let arrival = method.map(|method| Arrival::new(caller.clone(), method));
        match (caller.role.covers(role), arrival) {
            (true, Some(arrival)) => Admission::AdminCall(arrival),
            (false, Some(arrival)) => Admission::RefusedAdminCall(arrival),
            (false, None) => Admission::Refused(response::not_permitted()),
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

/// What a method asks of its caller. What is not known here asks for the most.
fn access(path: &str) -> Access {
    match key_service_method(path) {
        Some("Authorize") => Access::Needs(Role::Authorizer),
        Some(_) => Access::Needs(Role::Admin),
        None if path.starts_with(HEALTH) => Access::Open,
        None => Access::AnyCaller,
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
    use crate::grpc::proto::key_service_server::SERVICE_NAME;
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

    #[test]
    fn a_method_that_nobody_thought_of_asks_for_the_most() {
        let of_key_service = |method: &str| access(&format!("/{SERVICE_NAME}/{method}"));
        assert_eq!(of_key_service("Authorize"), Access::Needs(Role::Authorizer));
        for method in ["Create", "List", "Revoke", "Rotate", "authorize", ""] {
            assert_eq!(of_key_service(method), Access::Needs(Role::Admin));
        }
        assert_eq!(access("/grpc.health.v1.Health/Check"), Access::Open);
        for path in [
            "",
            "/",
            "//",
            "/grpc.health.v1/Health",
            "/grpc.health.v1.Healthy/Check",
        ] {
            assert_eq!(access(path), Access::AnyCaller, "{path}");
        }
    }
}
