//! Authentication.
//!
//! Owns who makes a call, and whether that caller may call the method.
//! Promises that a call reaches a service only if the table of methods lets its caller make it.
//! Must never lock, allocate or format for an Authorize by a caller with all accounts.

use super::{
    deadline::answer_deadline,
    message_limits::{LargeMessage, MessageLimits},
    refused::{message_has_come, refused},
    unauthenticated::log_unauthenticated,
};
use crate::{
    app::Callers,
    audit::recorder::Recorder,
    callers::{
        Caller, Role,
        credentials::Credentials,
        secret::SecretDigest,
        shares::{Share, Shares},
    },
    config::ClientLimits,
    grpc::{
        audited_call::{AuditedCall, Handover, count_unauthenticated},
        call::Call,
        errors::{self, Unauthenticated},
        known_now::KnownNow,
        methods::{Access, MessageSize, Method},
    },
    model::{account::Accounts, audit_record::AdminMethod},
    net::connection::Peer,
};
use futures::future::{BoxFuture, Either};
use http::{Request, Response, header::AUTHORIZATION};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tonic::{Status, body::Body};
use tower::Service;

/// Lets a call pass if its caller may make it, and has the others recorded.
#[derive(Clone)]
pub(in crate::grpc) struct Authenticate<S> {
    callers: Callers,
    recorder: Arc<Recorder>,
    answer_timeout: Duration,
    message_limits: MessageLimits,
    shares: SharesOfCallers,
    inner: S,
}

/// The shares of what calls can keep for long.
#[derive(Clone)]
struct SharesOfCallers {
    questions: Arc<Shares>,
    reflection: Arc<Shares>,
    batches: Arc<Shares>,
    large_questions: Arc<Shares>,
}

impl SharesOfCallers {
    fn take_stream(&self, method: Method, caller: &Caller) -> Option<Share> {
        let shares = match method {
            Method::AuthorizeStream => &self.questions,
            _ => &self.reflection,
        };
        shares.take(&caller.name)
    }

    /// What the message of a call may take if it is large. None if it may not be.
    fn large_message(&self, method: Method, caller: &Arc<Caller>) -> Option<LargeMessage> {
        let shares = match method.message_size() {
            MessageSize::AtMost(_) => return None,
            MessageSize::Large(_) => &self.batches,
            MessageSize::AsSet => &self.large_questions,
        };
        let (shares, caller) = (shares.clone(), caller.clone());
        Some(LargeMessage::Possible { shares, caller })
    }
}

/// A caller whose call goes on, and may lose its rights meanwhile.
#[derive(Clone)]
pub(in crate::grpc) struct CallerNow {
    known_now: KnownNow,
    needed: Role,
}

impl CallerNow {
    /// The caller, by the credentials file as it is now, if it may still make this call.
    pub(in crate::grpc) fn permitted(&self) -> Result<Arc<Caller>, Status> {
        let caller = self
            .known_now
            .caller()
            .ok_or_else(errors::unauthenticated)?;
        if caller.role.covers(self.needed) {
            Ok(caller)
        } else {
            Err(errors::not_permitted())
        }
    }
}

impl<S> Authenticate<S> {
    pub(in crate::grpc) fn new(
        limits: &ClientLimits,
        callers: Callers,
        recorder: Arc<Recorder>,
        inner: S,
    ) -> Self {
        Self {
            callers,
            recorder,
            answer_timeout: limits.answer_timeout,
            message_limits: MessageLimits::of(limits),
            shares: SharesOfCallers {
                questions: Shares::of_questions(),
                reflection: Shares::of_reflection(),
                batches: Shares::of_batches(),
                large_questions: Shares::of_large_questions(),
            },
            inner,
        }
    }
}

impl<S> Service<Call> for Authenticate<S>
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

    fn call(&mut self, mut call: Call) -> Self::Future {
        let limits = self.message_limits;
        match self.callers.check(&mut call, &self.recorder, &self.shares) {
            Verdict::Passed => Either::Left(self.inner.call(call)),
            Verdict::PassedAudited(audited) => {
                let handover = Handover::new(audited);
                call.request.extensions_mut().insert(handover.clone());
                let peer = call.request.extensions().get::<Peer>().cloned();
                let answer = self.inner.call(call);
                let answer = handover.finish(peer, self.answer_timeout, answer);
                Either::Right(Box::pin(answer))
            }
            Verdict::RefusedAudited(audited) => {
                // tonic would answer CANCELLED at the deadline, in the place of the verdict.
                let deadline = answer_deadline(&call);
                Either::Right(Box::pin(async move {
                    let status = audited.end_before(deadline, errors::not_permitted()).await;
                    message_has_come(call, limits).await;
                    Ok(status.into_http())
                }))
            }
            Verdict::Unauthenticated(method, why) => {
                if let Some(method) = method {
                    count_unauthenticated(method, &self.recorder);
                }
                Either::Right(refused(call, limits, why.status()))
            }
            Verdict::Refused => Either::Right(refused(call, limits, errors::not_permitted())),
            Verdict::TooManyStreams => {
                Either::Right(refused(call, limits, errors::too_many_streams()))
            }
        }
    }
}

/// What authentication decides about a call.
enum Verdict {
    Passed,
    PassedAudited(AuditedCall),
    /// The caller may not make it.
    Refused,
    /// The same of a call that is audited.
    RefusedAudited(AuditedCall),
    /// The caller, or all callers, have as many calls that stream their messages as there may be.
    TooManyStreams,
    /// Nobody knows the caller. The call is counted if its method is audited.
    Unauthenticated(Option<AdminMethod>, Unauthenticated),
}

impl Callers {
    /// Whether a caller makes this request, whatever it may call.
    pub(super) fn know(&self, request: &Request<Body>) -> bool {
        match self {
            Self::Anyone(_) => true,
            Self::Listed(credentials) => find(&credentials.get(), request).is_ok(),
        }
    }

    /// Decides whether a call passes, and notes a caller that the service must know.
    fn check(
        &self,
        call: &mut Call,
        recorder: &Arc<Recorder>,
        shares: &SharesOfCallers,
    ) -> Verdict {
        let access = Access::to(call.method);
        if access == Access::Open {
            return Verdict::Passed;
        }
        let method = call.method.and_then(Method::audited_as);
        let (began, method_called, request) = (call.began, call.method, &mut call.request);
        let credentials;
        let mut version = None;
        let caller = match self {
            Self::Anyone(caller) => caller,
            Self::Listed(credentials_file) => {
                version = Some(credentials_file.version());
                credentials = credentials_file.get();
                match find(&credentials, request) {
                    Ok(caller) => caller,
                    Err(why) => {
                        log_unauthenticated(why, method_called, &credentials, request);
                        return Verdict::Unauthenticated(method, why);
                    }
                }
            }
        };
        if let Some(peer) = request.extensions().get::<Peer>() {
            peer.slot.record_call(&caller.name, began);
        }
        let may_call = match access {
            Access::Needs(role) => caller.role.covers(role),
            Access::Open | Access::AnyCaller => true,
        };
        if may_call {
            let large = |method| shares.large_message(method, caller);
            call.large = call.method.and_then(large);
        }
        if may_call && let Some(method) = call.method.filter(|it| it.streams_requests()) {
            let Some(share) = shares.take_stream(method, caller) else {
                return Verdict::TooManyStreams;
            };
            request.extensions_mut().insert(Arc::new(share));
            call.until_unknown = self.until_unknown(caller, request);
            if let Access::Needs(needed) = access {
                let known_now = self.known_now(caller, request);
                let caller = CallerNow { known_now, needed };
                request.extensions_mut().insert(caller);
            }
            return Verdict::Passed;
        }
        let open = |method| {
            let known_now = self.known_now(caller, request);
            AuditedCall::open(caller.clone(), known_now, method, recorder.clone())
        };
        match (may_call, method.map(open)) {
            (true, Some(call)) => Verdict::PassedAudited(call),
            (false, Some(call)) => Verdict::RefusedAudited(call),
            (false, None) => Verdict::Refused,
            (true, None) => {
                call.passed_by = version;
                if caller.accounts != Accounts::All {
                    let caller = caller.clone();
                    request.extensions_mut().insert(caller);
                }
                Verdict::Passed
            }
        }
    }
}

impl Callers {
    /// Ready when nobody knows this caller any more by what it has proved itself with. Who has a secret that was
    /// replaced would otherwise keep the caller's share of streams. None if everybody is known.
    fn until_unknown(
        &self,
        caller: &Arc<Caller>,
        request: &Request<Body>,
    ) -> Option<BoxFuture<'static, ()>> {
        let mut changes = self.credentials()?.changes();
        let known_now = self.known_now(caller, request);
        let name = caller.name.clone();
        Some(Box::pin(async move {
            let is_its_own = || known_now.caller().is_some_and(|now| now.name == name);
            while is_its_own() && changes.changed().await.is_ok() {}
        }))
    }

    /// Tells who this caller is whenever that is asked, by what it has proved itself with.
    fn known_now(&self, caller: &Arc<Caller>, request: &Request<Body>) -> KnownNow {
        let file = match self {
            Self::Anyone(_) => return KnownNow::Always(caller.clone()),
            Self::Listed(file) => file.clone(),
        };
        if let Some(authorization) = request.headers().get(AUTHORIZATION) {
            let digest = bearer(authorization.as_bytes()).and_then(SecretDigest::of_presented);
            let find =
                move |credentials: &Credentials| credentials.find_by_digest(digest?).cloned();
            return KnownNow::Listed {
                file,
                find: Arc::new(find),
            };
        }
        let names = request.extensions().get::<Peer>();
        let names = names.map(|peer| peer.names.clone());
        let find = move |credentials: &Credentials| {
            let found = credentials.find_by_certificate(names.as_deref()?);
            found.ok().flatten().cloned()
        };
        KnownNow::Listed {
            file,
            find: Arc::new(find),
        }
    }
}

/// The caller, by the bearer secret of this call. A certificate counts only without one.
fn find<'a>(
    credentials: &'a Credentials,
    request: &Request<Body>,
) -> Result<&'a Arc<Caller>, Unauthenticated> {
    let mut authorizations = request.headers().get_all(AUTHORIZATION).iter();
    match (authorizations.next(), authorizations.next()) {
        (Some(_), Some(_)) => Err(Unauthenticated::SeveralHeaders),
        (Some(authorization), None) => {
            let secret = bearer(authorization.as_bytes()).ok_or(Unauthenticated::NotBearer)?;
            let digest = SecretDigest::of_presented(secret).ok_or(Unauthenticated::NoSecret)?;
            let caller = credentials.find_by_digest(digest);
            caller.ok_or(Unauthenticated::UnknownSecret)
        }
        (None, _) => find_by_certificate(credentials, request),
    }
}

fn find_by_certificate<'a>(
    credentials: &'a Credentials,
    request: &Request<Body>,
) -> Result<&'a Arc<Caller>, Unauthenticated> {
    let peer = request.extensions().get::<Peer>();
    let names = peer
        .map(|peer| &peer.names)
        .filter(|names| !names.is_empty());
    let names = names.ok_or(Unauthenticated::NoProof)?;
    let found = credentials.find_by_certificate(names);
    let found = found.map_err(|_| Unauthenticated::AmbiguousCertificate);
    found?.ok_or(Unauthenticated::UnknownCertificate)
}

/// The secret in the header `authorization`, which is `Bearer SECRET` (RFC 6750). The scheme may be
/// written in either case.
#[must_use]
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, secret) = authorization.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| secret.trim_ascii())
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
