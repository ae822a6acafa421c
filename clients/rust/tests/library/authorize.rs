//! The four ends of a question, and what each code leads to.

use crate::{
    client,
    replica::{Replica, denied, granted},
};
use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};
use tonic::{Code, Status};
use tosend_keyservice::{
    Client, Decision, DenialReason, Error, Options, Scope,
    proto::{self, Grant, authorize_response::Decision as Answer, scope::Kind},
};

const FINAL: [Code; 3] = [
    Code::InvalidArgument,
    Code::Unauthenticated,
    Code::PermissionDenied,
];

async fn ask(client: &Client) -> Result<Decision, Error> {
    client.authorize("tsend_x", "example.com").await
}

async fn is_allowed(client: &Client) -> bool {
    matches!(ask(client).await, Ok(Decision::Allowed(_)))
}

#[tokio::test]
async fn allowed_says_the_key_its_account_and_its_scope() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    for (kind, expected) in [
        (
            Some(Kind::AllDomains(proto::AllDomains {})),
            Scope::AllDomains,
        ),
        (
            Some(Kind::Domain("a.b".into())),
            Scope::Domain("a.b".into()),
        ),
    ] {
        replica.answer_always(Some(Answer::Grant(Grant {
            key_id: "key_1".into(),
            account_id: "acme".into(),
            scope: Some(proto::Scope { kind }),
        })));
        let Ok(Decision::Allowed(allowed)) = ask(&client).await else {
            panic!("it is granted");
        };
        assert_eq!(allowed.scope, expected);
        assert_eq!((&*allowed.key_id, &*allowed.account_id), ("key_1", "acme"));
    }
}

#[tokio::test]
async fn denied_says_the_reason_also_one_of_a_newer_server() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    for (number, expected, name) in [
        (1, DenialReason::MalformedToken, "MALFORMED_TOKEN"),
        (2, DenialReason::UnknownToken, "UNKNOWN_TOKEN"),
        (3, DenialReason::Revoked, "REVOKED"),
        (4, DenialReason::Expired, "EXPIRED"),
        (5, DenialReason::DomainNotAllowed, "DOMAIN_NOT_ALLOWED"),
        (6, DenialReason::DomainNotVerified, "DOMAIN_NOT_VERIFIED"),
        (7, DenialReason::Suspended, "SUSPENDED"),
        (0, DenialReason::Other(0), "0"),
        (99, DenialReason::Other(99), "99"),
    ] {
        replica.answer_always(Some(denied(number)));
        let Ok(Decision::Denied(denied)) = ask(&client).await else {
            panic!("it is denied");
        };
        assert_eq!(denied.reason, expected);
        assert_eq!(denied.reason.to_string(), name);
        assert_eq!(denied.key_id.as_deref(), Some("key_1"));
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_or_has_an_unknown_scope_says_nothing() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    let grant = |scope| {
        Answer::Grant(Grant {
            scope,
            ..Grant::default()
        })
    };
    let nowhere = Some(Kind::Domain(String::new()));
    for (answer, contradicts_itself) in [
        (granted(), true),
        (denied(3), true),
        (grant(None), false),
        (grant(Some(proto::Scope { kind: None })), false),
        (grant(Some(proto::Scope { kind: nowhere })), false),
    ] {
        replica.answer_always(Some(answer.clone()));
        let contradicts = &replica.state.contradicts_itself;
        contradicts.store(contradicts_itself, SeqCst);
        let result = ask(&client).await;
        assert!(
            matches!(result, Err(Error::Unavailable(_))),
            "{answer:?}: {result:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_without_a_decision_is_an_attempt_that_failed() {
    let (vague, clear) = (Replica::start().await, Replica::start().await);
    vague.answer_always(None);
    let both = client(&[&vague, &clear]).await;
    for _ in 0..4 {
        assert!(is_allowed(&both).await);
    }
    assert!(vague.count() > 0);
    let only = client(&[&vague]).await;
    let Err(Error::Unavailable(error)) = ask(&only).await else {
        panic!("nothing is known");
    };
    assert!(
        error.to_string().contains("the answer has no decision"),
        "{error}"
    );
}

#[tokio::test]
async fn three_codes_are_final_and_all_others_are_followed_by_another_attempt() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    for code in (1..=16).map(Code::from_i32) {
        let before = replica.count();
        replica.fail_next(Status::new(code, "the server's\nwords"));
        let result = ask(&client).await;
        let attempts = replica.count() - before;
        if FINAL.contains(&code) {
            let Err(Error::Misused(error)) = result else {
                panic!("{code:?}: {result:?}");
            };
            assert_eq!((error.code(), attempts), (Some(code), 1));
            assert!(error.to_string().ends_with("the server's words"), "{error}");
        } else {
            assert!(
                matches!(result, Ok(Decision::Allowed(_))),
                "{code:?}: {result:?}"
            );
            assert_eq!(attempts, 2, "{code:?}");
        }
    }
}

#[tokio::test]
async fn attempts_go_to_different_replicas_and_the_error_says_what_became_of_each() {
    let replicas = [
        Replica::start().await,
        Replica::start().await,
        Replica::start().await,
    ];
    let client = client(&replicas.each_ref()).await;
    for replica in &replicas {
        for _ in 0..2 {
            replica.fail_next(Status::unavailable("no lease"));
        }
    }
    let Err(Error::Unavailable(error)) = ask(&client).await else {
        panic!("nothing is known");
    };
    assert_eq!(error.attempts().len(), 4);
    for replica in &replicas {
        let first = error.attempts()[..3]
            .iter()
            .filter(|it| it.address == replica.address);
        assert_eq!(first.count(), 1);
        let said = format!("{} UNAVAILABLE (no lease)", replica.address);
        assert!(error.to_string().contains(&said), "{error}");
    }
}

#[tokio::test]
async fn calls_go_in_turns_to_the_replicas_that_are_ready() {
    let replicas = [
        Replica::start().await,
        Replica::start().await,
        Replica::start().await,
    ];
    let client = client(&replicas.each_ref()).await;
    replicas[0].set_serving(false);
    crate::until("one is not ready", || crate::ready(&client) == 2).await;
    for _ in 0..10 {
        assert!(is_allowed(&client).await);
    }
    assert_eq!(replicas.each_ref().map(Replica::count), [0, 5, 5]);
}

#[tokio::test]
async fn a_replica_that_is_not_ready_is_asked_if_no_other_is() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    replica.set_serving(false);
    crate::until("it is not ready", || crate::ready(&client) == 0).await;
    assert!(is_allowed(&client).await);
}

#[tokio::test]
async fn a_token_that_is_too_long_is_cut_and_such_a_domain_is_misused() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    let long = "é".repeat(100_000);
    let Err(Error::Misused(error)) = client.authorize("tsend_x", &long).await else {
        panic!("it is too long");
    };
    assert_eq!(
        (error.code(), replica.count()),
        (Some(Code::InvalidArgument), 0)
    );
    let decision = client.authorize(&long, "example.com").await;
    assert!(matches!(decision, Ok(Decision::Allowed(_))));
    let longest = &replica.state.longest_token;
    assert_eq!(longest.load(std::sync::atomic::Ordering::SeqCst), 1000);
}

#[tokio::test]
async fn the_first_call_waits_for_the_connection() {
    let replica = Replica::start().await;
    let options = Options::new([replica.address.to_string()]).plaintext();
    let client = Client::open(options).unwrap();
    assert!(is_allowed(&client).await);
    client
        .wait_until_ready(Duration::from_secs(5))
        .await
        .unwrap();
}

#[tokio::test]
async fn without_an_address_a_call_ends_at_its_deadline_and_says_why() {
    let client = Client::open(Options::new(["nowhere.invalid:50051"]).plaintext()).unwrap();
    let (begun, limit) = (Instant::now(), Duration::from_millis(300));
    let result = client
        .authorize_within("tsend_x", "example.com", limit)
        .await;
    assert!(begun.elapsed() < limit + Duration::from_millis(100));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("no replica could answer"), "{error}");
    let mut said = String::new();
    while !said.contains("nowhere.invalid:50051") {
        let waited = client.wait_until_ready(Duration::from_millis(100)).await;
        said = waited.unwrap_err().to_string();
        assert!(begun.elapsed() < Duration::from_secs(20), "{said}");
    }
}

#[tokio::test]
async fn a_replica_that_refuses_connections_is_passed_over_and_wait_until_ready_says_so() {
    let gone = Replica::start().await;
    let (address, other) = (gone.address, Replica::start().await);
    drop(gone);
    let addresses = [address, other.address].map(|it| it.to_string());
    let client = Client::open(Options::new(addresses.clone()).plaintext()).unwrap();
    for _ in 0..10 {
        assert!(is_allowed(&client).await);
    }
    let client = Client::open(Options::new([address.to_string()]).plaintext()).unwrap();
    let waited = client.wait_until_ready(Duration::from_millis(300)).await;
    let error = waited.unwrap_err().to_string();
    assert!(
        error.contains("refused") && error.contains(&address.to_string()),
        "{error}"
    );
}
