//! The admin calls: what is tried again, what is refused, and that no retry makes a second key.

use crate::{client, ready, replica::Replica, until};
use futures::future::join_all;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tosend_keyservice::{
    AdminError, Client, Options,
    proto::{
        BatchRevokeRequest, CreateRequest, GetRequest, RevokeRequest, RevokeResponse, UpdateRequest,
    },
};

const TRIED_AGAIN: [Code; 6] = [
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::Internal,
    Code::Unknown,
    Code::Cancelled,
    Code::ResourceExhausted,
];

const MISUSED: [Code; 3] = [
    Code::InvalidArgument,
    Code::Unauthenticated,
    Code::PermissionDenied,
];

async fn revoke(client: &Client) -> Result<RevokeResponse, AdminError> {
    client.admin().revoke(RevokeRequest::default()).await
}

#[tokio::test]
async fn six_codes_are_tried_again_three_are_misuse_and_all_others_are_refused() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    for code in (1..=16).map(Code::from_i32) {
        let before = replica.count();
        replica.fail_next(Status::new(code, "words"));
        let result = revoke(&client).await;
        let is_expected = match &result {
            Ok(_) => TRIED_AGAIN.contains(&code),
            Err(AdminError::Misused(error)) => {
                MISUSED.contains(&code) && error.code() == Some(code)
            }
            Err(AdminError::Refused(error)) => error.code == code && error.message == "words",
            Err(AdminError::Unavailable(_)) => false,
        };
        assert!(is_expected, "{code:?}: {result:?}");
        let attempts = replica.count() - before;
        assert_eq!(
            attempts,
            1 + usize::from(TRIED_AGAIN.contains(&code)),
            "{code:?}"
        );
    }
}

#[tokio::test]
async fn a_create_is_tried_again_with_one_request_id_and_the_refusal_names_the_first_key() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    let mut details = ErrorDetails::new();
    details.set_resource_info("key", "key_1", "", "");
    replica.fail_next(Status::unavailable("the answer was lost"));
    replica.fail_next(Status::with_error_details(
        Code::AlreadyExists,
        "it was created",
        details,
    ));
    let result = client.admin().create(CreateRequest::default()).await;
    let Err(AdminError::Refused(refused)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(refused.resource.as_deref(), Some("key_1"));
    client
        .admin()
        .create(CreateRequest::default())
        .await
        .unwrap();
    let given = Some("mine".to_owned());
    let request = CreateRequest {
        request_id: given,
        ..CreateRequest::default()
    };
    client.admin().create(request).await.unwrap();
    let ids = replica.state.request_ids.lock().unwrap().clone();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
    assert_eq!(ids[3], "mine");
}

#[tokio::test]
async fn an_update_with_an_etag_is_not_repeated_once_it_may_have_been_made() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    for (etag, code, attempts) in [
        (None, Code::Unavailable, 2),
        (Some("e"), Code::Unavailable, 1),
        (Some("e"), Code::ResourceExhausted, 2),
    ] {
        let before = replica.count();
        replica.fail_next(Status::new(code, ""));
        let request = UpdateRequest {
            etag: etag.map(str::to_owned),
            ..UpdateRequest::default()
        };
        let result = client.admin().update(request).await;
        assert_eq!(replica.count() - before, attempts);
        let is_unavailable = matches!(result, Err(AdminError::Unavailable(_)));
        assert_eq!(is_unavailable, attempts == 1, "{result:?}");
    }
}

#[tokio::test]
async fn an_update_with_an_etag_is_tried_again_where_no_connection_could_be_made() {
    let replica = Replica::start().await;
    let options = Options::new([replica.address.to_string()]).plaintext();
    let client = Client::open(options.admin_deadline(Duration::from_secs(1))).unwrap();
    until("it is ready", || ready(&client) == 1).await;
    drop(replica);
    until("its connection has ended", || ready(&client) == 0).await;
    let request = UpdateRequest {
        etag: Some("e".to_owned()),
        ..UpdateRequest::default()
    };
    let Err(AdminError::Unavailable(error)) = client.admin().update(request).await else {
        panic!("there is no replica");
    };
    assert!(error.attempts().len() > 1, "{error}");
}

#[tokio::test]
async fn an_account_with_as_many_keys_as_it_may_have_is_a_refusal() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    let details = ErrorDetails::with_error_info("TOO_MANY_KEYS", "keys.tosend", HashMap::new());
    replica.fail_next(Status::with_error_details(
        Code::ResourceExhausted,
        "full",
        details,
    ));
    let result = client.admin().create(CreateRequest::default()).await;
    let Err(AdminError::Refused(refused)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(refused.reason.as_deref(), Some("TOO_MANY_KEYS"));
}

#[tokio::test]
async fn an_attempt_takes_half_of_what_is_left_and_the_deadline_holds() {
    let (hanging, other) = (Replica::start().await, Replica::start().await);
    let client = client(&[&hanging, &other]).await;
    hanging.set_hanging(true);
    let limit = Duration::from_secs(1);
    let revoke = async || {
        client
            .admin()
            .within(limit)
            .revoke(RevokeRequest::default())
            .await
    };
    // One of two in turns is the one that hangs.
    let begun = Instant::now();
    for _ in 0..2 {
        revoke().await.unwrap();
    }
    assert!(begun.elapsed() < limit);
    assert_eq!(hanging.count(), 1);
    other.set_hanging(true);
    let begun = Instant::now();
    let result = revoke().await;
    assert!(
        matches!(result, Err(AdminError::Unavailable(_))),
        "{result:?}"
    );
    assert!(begun.elapsed() < limit + Duration::from_millis(100));
}

#[tokio::test]
async fn an_admin_call_waits_for_a_lone_replica_that_restarts() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    for _ in 0..6 {
        replica.fail_next(Status::unavailable("it restarts"));
    }
    assert!(revoke(&client).await.is_ok());
    assert_eq!(replica.count(), 7);
}

#[tokio::test]
async fn a_change_may_have_been_made_only_by_a_call_that_changes_something_and_reached_a_replica() {
    let replica = Replica::start().await;
    let reached = client(&[&replica]).await;
    let nobody = Client::open(Options::new(["127.0.0.1:1"]).plaintext()).unwrap();
    let within = |client: &Client| client.admin().within(Duration::from_millis(300));
    let may_have_changed = |error: Option<AdminError>| match error {
        Some(AdminError::Unavailable(error)) => error.may_have_changed(),
        other => panic!("{other:?}"),
    };
    replica.set_hanging(true);
    for (client, changed) in [(&reached, true), (&nobody, false)] {
        let revoked = within(client).revoke(RevokeRequest::default()).await;
        assert_eq!(may_have_changed(revoked.err()), changed);
        let read = within(client).get(GetRequest::default()).await;
        assert!(!may_have_changed(read.err()));
        let tried = BatchRevokeRequest {
            dry_run: true,
            ..BatchRevokeRequest::default()
        };
        let tried = within(client).batch_revoke(tried).await;
        assert!(!may_have_changed(tried.err()));
    }
}

#[tokio::test]
async fn where_no_replica_ever_was_an_admin_call_soon_says_so_in_one_line() {
    let client = Client::open(Options::new(["127.0.0.1:1"]).plaintext()).unwrap();
    let Err(AdminError::Unavailable(error)) = revoke(&client).await else {
        panic!("nobody listens there");
    };
    let text = error.to_string();
    assert!(
        text.starts_with("no replica could answer (4 attempts in "),
        "{text}"
    );
    assert!(
        text.ends_with("UNAVAILABLE (Connection refused (os error 111)), 4 times"),
        "{text}"
    );
}

#[tokio::test]
async fn a_slow_admin_call_says_nothing_about_the_replica() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    replica.state.set_slow(true);
    let admin = client.admin().within(Duration::from_millis(100));
    let revoked = admin.revoke(RevokeRequest::default()).await;
    assert!(matches!(revoked, Err(AdminError::Unavailable(_))));
    assert_eq!(ready(&client), 1);
}

#[tokio::test]
async fn slow_admin_calls_keep_no_question_waiting() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    replica.state.set_slow(true);
    let admin = client.admin();
    let slow = join_all((0..150).map(|_| admin.revoke(RevokeRequest::default())));
    let asked = async {
        until("a hundred are there", || replica.count() == 100).await;
        let question = client.authorize_within("tsend_x", "example.com", Duration::from_millis(50));
        assert!(question.await.is_err());
        assert_eq!(replica.count(), 101);
        replica.state.set_slow(false);
    };
    let (results, ()) = tokio::join!(slow, asked);
    assert!(results.iter().all(Result::is_ok));
}
