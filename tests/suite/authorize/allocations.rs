//! The code that every Authorize runs allocates no memory: the decision and the counting of the call.

use crate::support::envoy::HttpRequest;
use allocation_counter::measure;
use futures::{FutureExt, future::ready};
use http::{Request, Response};
use http_body::Body as _;
use keyservice::{
    authorize::{
        Authorizer,
        decision::{Decision, DenialReason, DomainRule},
    },
    grpc::{
        Call, gateway,
        layers::{InFlight, new_counts},
    },
    model::{
        account::{AccountId, Accounts},
        domain::Domain,
        key::{KeyId, KeyState, Scope},
        time::{Moment, Timestamp},
        token::{Digester, Token},
        verified_domain::{Coverage, DomainState},
    },
};
use prost::Message;
use rand::RngExt;
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};
use tonic::body::Body;
use tower::{Service, service_fn};

#[test]
fn a_decision_allocates_nothing_except_the_account_id_of_the_key() {
    let authorizer = Authorizer::new(Digester::new(None), DomainRule::Verified);
    authorizer.lease().extend(Moment::LATEST);
    let mut rng = rand::rng();
    let now = Timestamp::now();
    let [held, revoked, suspended, unknown] = [(); 4].map(|()| Token::generate(&mut rng));
    for (token, revoked, suspended) in [
        (&held, false, false),
        (&revoked, true, false),
        (&suspended, false, true),
    ] {
        authorizer.keyring().apply_key(&KeyState {
            digest: authorizer.digester().digest(token),
            id: KeyId::new(now, &rng.random()),
            account_id: AccountId::from_stored("acme".into()),
            scope: Scope::AllDomains,
            expire_time: None,
            revoked,
            suspended,
        });
    }
    let domain = |text: &str| Domain::parse(text.to_owned()).expect("a domain");
    authorizer.keyring().apply_domain(&DomainState {
        account_id: AccountId::from_stored("acme".into()),
        domain: domain("example.com"),
        coverage: Coverage::DomainAndSubdomains,
    });
    let allocations = |token: &str, name: &str| {
        // The domain is allocated when the request is decoded.
        let mut domain = Some(domain(name));
        let mut decision = None;
        let measured = measure(|| {
            let domain = domain.take().expect("once");
            let all = Accounts::All;
            decision = Some(authorizer.authorize(token, domain, &all, now));
        });
        (
            decision.expect("made").expect("a lease"),
            measured.count_total,
        )
    };
    for name in ["example.com", "a.mail.example.com"] {
        let (granted, count) = allocations(held.expose(), name);
        assert!(matches!(granted, Decision::Grant(_)), "{granted:?}");
        assert_eq!(count, 1);
    }
    let (unverified, count) = allocations(held.expose(), "a.b.c.example.org");
    assert_eq!(
        (reason_of(&unverified), count),
        (DenialReason::DomainNotVerified, 1)
    );
    for (token, reason, expected) in [
        (revoked.expose(), DenialReason::Revoked, 1),
        (suspended.expose(), DenialReason::Suspended, 1),
        (unknown.expose(), DenialReason::UnknownToken, 0),
        ("no token", DenialReason::MalformedToken, 0),
    ] {
        let (denied, count) = allocations(token, "example.com");
        assert_eq!((reason_of(&denied), count), (reason, expected));
    }
}

/// A request comes with every header and, if it is judged by its body, with all of that.
#[test]
fn the_answer_to_a_gateway_copies_neither_headers_nor_a_body() {
    let authorizer = Authorizer::new(Digester::new(None), DomainRule::Any);
    authorizer.lease().extend(Moment::LATEST);
    let mut rng = rand::rng();
    let token = Token::generate(&mut rng);
    authorizer.keyring().apply_key(&KeyState {
        digest: authorizer.digester().digest(&token),
        id: KeyId::new(Timestamp::now(), &rng.random()),
        account_id: AccountId::from_stored("acme".into()),
        scope: Scope::AllDomains,
        expire_time: None,
        revoked: false,
        suspended: false,
    });
    let text = "x".repeat(60_000);
    let body = format!(r#"{{"text": "{text}", "from": "Acme <hello@example.com>"}}"#);
    let request = HttpRequest::with_token(token.expose()).header("cookie", &text[..7000]);
    let request = request.header("content-type", "application/json");
    let request = request.header("x-domain", "example.com").body(&body);
    // The account's id and the answer, and the domain for the question and the answer.
    for (source, expected) in [("none", 2), ("header:x-domain", 4), ("body:/from", 4)] {
        let message = request
            .clone()
            .domain_from(source)
            .message()
            .encode_to_vec();
        let mut answer = None;
        let measured = measure(|| {
            answer = Some(gateway::check(&authorizer, &Accounts::All, &message));
        });
        let answer = answer.expect("made").expect("a lease");
        assert!(answer.windows(4).any(|part| part == b"acme"), "{source}");
        assert_eq!(measured.count_total, expected, "{source}");
        assert!(measured.bytes_total < 1024, "{source}: {measured:?}");
    }
}

fn reason_of(decision: &Decision) -> DenialReason {
    match decision {
        Decision::Denial(denial) => denial.reason,
        Decision::Grant(grant) => panic!("{grant:?}"),
    }
}

#[test]
fn counting_a_call_allocates_nothing() {
    let counts = new_counts();
    let mut context = Context::from_waker(Waker::noop());
    for status in ["0", "14", "14"] {
        let request = Request::post("/tosend.keys.v1.KeyService/Authorize");
        let mut request = Some(request.body(Body::empty()).expect("a request"));
        let response = Response::builder().header("grpc-status", status);
        let mut response = Some(response.body(Body::empty()).expect("a response"));
        let inner = service_fn(|_: Call| ready(Ok(response.take().expect("once"))));
        let mut service = InFlight::new(&counts.calls, inner);
        let measured = measure(|| {
            let call = service.call(request.take().expect("once"));
            let answer = call.now_or_never().expect("it is ready").expect("answered");
            let end = pin!(answer.into_body()).poll_frame(&mut context);
            assert!(matches!(end, Poll::Ready(None)));
        });
        assert_eq!(measured.count_total, 0, "{status}");
    }
}
