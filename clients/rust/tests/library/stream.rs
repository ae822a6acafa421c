//! Many calls at once share one stream to a replica, and nobody notices.

use crate::{
    client, ready,
    replica::{Replica, denied},
    until,
};
use futures::future::join_all;
use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tonic::Status;
use tosend_keyservice::{Client, Decision, DenialReason, Error, Options};

/// Asks so many questions at once. How many are allowed.
async fn allowed(client: &Client, count: usize) -> usize {
    let calls = (0..count).map(|_| client.authorize("tsend_x", "example.com"));
    let results = join_all(calls).await.into_iter();
    results
        .filter(|it| matches!(it, Ok(Decision::Allowed(_))))
        .count()
}

fn questions(replica: &Replica) -> usize {
    replica.state.questions.load(SeqCst)
}

/// A client whose questions go on a stream to this replica.
async fn streaming(replica: &Replica) -> Client {
    let client = client(&[replica]).await;
    let begun = Instant::now();
    while questions(replica) == 0 {
        assert_eq!(allowed(&client, 8).await, 8);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "no stream was opened"
        );
    }
    client
}

#[tokio::test]
async fn a_few_calls_make_no_stream_and_many_share_one() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    for _ in 0..20 {
        assert_eq!(allowed(&client, 3).await, 3);
    }
    assert_eq!(replica.state.streams.load(SeqCst), 0);

    let client = streaming(&replica).await;
    let (calls, before) = (replica.count() - questions(&replica), questions(&replica));
    assert_eq!(allowed(&client, 90).await, 90);
    assert_eq!(questions(&replica) - before, 90);
    assert_eq!(replica.count() - questions(&replica), calls);
    assert_eq!(replica.state.streams.load(SeqCst), 1);
}

#[tokio::test]
async fn answers_on_a_stream_are_what_answers_to_calls_are() {
    let replica = Replica::start().await;
    let client = streaming(&replica).await;
    replica.answer_always(Some(denied(3)));
    let Ok(Decision::Denied(denial)) = client.authorize("tsend_x", "example.com").await else {
        panic!("it is denied");
    };
    assert_eq!(denial.reason, DenialReason::Revoked);
    replica.fail_next(Status::invalid_argument("no domain"));
    let misused = client.authorize("tsend_x", "example.com").await;
    assert!(matches!(misused, Err(Error::Misused(_))), "{misused:?}");
    replica.state.contradicts_itself.store(true, SeqCst);
    let none = client.authorize("tsend_x", "example.com").await;
    assert!(matches!(none, Err(Error::Unavailable(_))), "{none:?}");
    replica.state.contradicts_itself.store(false, SeqCst);
    replica.answer_always(None);
    let none = client.authorize("tsend_x", "example.com").await;
    assert!(matches!(none, Err(Error::Unavailable(_))), "{none:?}");
    replica.answer_always(Some(crate::replica::granted()));
    replica.fail_next(Status::unavailable("no lease"));
    assert_eq!(allowed(&client, 1).await, 1);
}

#[tokio::test]
async fn streams_and_connections_that_end_cost_no_call() {
    let replica = Replica::start().await;
    let client = streaming(&replica).await;
    for round in 0..30 {
        let end = async {
            tokio::task::yield_now().await;
            if round % 2 == 0 {
                replica.state.end_streams();
            } else {
                replica.state.retire_connections();
            }
        };
        let (count, ()) = tokio::join!(allowed(&client, 20), end);
        assert_eq!(count, 20, "round {round}");
    }
}

#[tokio::test]
async fn a_stream_that_hangs_is_left_and_deadlines_hold() {
    let (replica, other) = (Replica::start().await, Replica::start().await);
    drop(streaming(&replica).await);
    let client = client(&[&replica, &other]).await;
    let begun = Instant::now();
    let before = questions(&replica);
    while questions(&replica) == before {
        assert_eq!(allowed(&client, 20).await, 20);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "no stream was opened"
        );
    }
    replica.set_hanging(true);
    let begun = Instant::now();
    assert_eq!(allowed(&client, 20).await, 20);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    replica.set_hanging(false);
    until("it is ready again", || ready(&client) == 2).await;
    assert_eq!(allowed(&client, 20).await, 20);
}

#[tokio::test]
async fn where_streams_are_refused_calls_are_made() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    replica.fail_next(Status::resource_exhausted("too many streams"));
    let options = Options::new([replica.address.to_string()]).plaintext();
    let patient = Client::open(options.attempts(8, Duration::from_secs(1))).unwrap();
    until("it is ready", || ready(&patient) == 1).await;
    assert_eq!(allowed(&client, 30).await, 30);
    assert_eq!(allowed(&patient, 30).await, 30);
}

#[tokio::test]
async fn what_callers_who_give_up_leave_behind_is_bounded() {
    let replica = Replica::start().await;
    let client = streaming(&replica).await;
    let calls = || replica.count() - questions(&replica);
    let before = calls();
    replica.state.set_slow(true);
    for _ in 0..1000 {
        let asking = client.authorize("tsend_x", "example.com");
        timeout(Duration::from_millis(1), asking).await.ok();
    }
    assert!(calls() > before, "the stream is never full");
    replica.state.set_slow(false);
    until("it answers again", || ready(&client) == 1).await;
    assert_eq!(allowed(&client, 90).await, 90);
}

#[tokio::test]
async fn a_stream_that_its_server_does_not_end_is_given_up() {
    let replica = Replica::start().await;
    let client = streaming(&replica).await;
    assert_eq!(replica.state.open_streams.load(SeqCst), 1);
    replica.set_hanging(true);
    assert_eq!(allowed(&client, 8).await, 0);
    let open = || replica.state.open_streams.load(SeqCst);
    until("no stream is open", || open() == 0).await;
}
