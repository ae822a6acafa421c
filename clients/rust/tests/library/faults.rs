//! Replicas that hang, deadlines, cancelled calls, and the end.

use crate::{client, ready, replica::Replica, until};
use futures::future::join_all;
use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};
use tonic::Status;
use tosend_keyservice::{Client, Decision, Error, Options};

async fn ask(client: &Client) -> Result<Decision, Error> {
    client.authorize("tsend_x", "example.com").await
}

async fn is_allowed(client: &Client) -> bool {
    matches!(ask(client).await, Ok(Decision::Allowed(_)))
}

#[tokio::test]
async fn a_replica_that_hangs_is_asked_once_and_then_left_until_its_health_returns() {
    let (hanging, other) = (Replica::start().await, Replica::start().await);
    let client = client(&[&hanging, &other]).await;
    hanging.set_hanging(true);
    for _ in 0..20 {
        assert!(is_allowed(&client).await);
    }
    assert_eq!(hanging.count(), 1);
    // The old connection may be dead.
    let connections = || hanging.state.connections.load(SeqCst);
    until("it is connected to anew", || connections() > 1).await;

    hanging.set_hanging(false);
    until("it is ready again", || ready(&client) == 2).await;
    for _ in 0..4 {
        assert!(is_allowed(&client).await);
    }
    assert_eq!(hanging.count(), 3);
    let open = || hanging.state.open_connections.load(SeqCst);
    until("one connection is left", || open() == 1).await;
}

#[tokio::test]
async fn a_short_deadline_is_held_beside_a_replica_that_hangs_which_is_asked_once() {
    let (hanging, other) = (Replica::start().await, Replica::start().await);
    let client = client(&[&hanging, &other]).await;
    hanging.set_hanging(true);
    for _ in 0..20 {
        let limit = Duration::from_millis(150);
        let answer = client.authorize_within("tsend_x", "example.com", limit);
        assert!(matches!(answer.await, Ok(Decision::Allowed(_))));
    }
    assert_eq!(hanging.count(), 1);
}

#[tokio::test]
async fn a_slow_answer_on_a_live_connection_does_not_cost_the_connection() {
    let (slow, other) = (Replica::start().await, Replica::start().await);
    let client = client(&[&slow, &other]).await;
    slow.state.set_slow(true);
    for _ in 0..2 {
        assert!(is_allowed(&client).await);
    }
    slow.state.set_slow(false);
    until("it is ready again", || ready(&client) == 2).await;
    assert_eq!(slow.state.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn the_deadline_holds_when_all_hang() {
    let replicas = [Replica::start().await, Replica::start().await];
    let client = client(&replicas.each_ref()).await;
    for replica in &replicas {
        replica.set_hanging(true);
    }
    let begun = Instant::now();
    let Err(Error::Unavailable(error)) = ask(&client).await else {
        panic!("nothing is known");
    };
    assert_eq!(error.attempts().len(), 4);
    assert!(
        begun.elapsed() < Duration::from_millis(1150),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        error
            .to_string()
            .contains("DEADLINE_EXCEEDED (no answer within 20"),
        "{error}"
    );

    let (begun, limit) = (Instant::now(), Duration::from_millis(50));
    let result = client
        .authorize_within("tsend_x", "example.com", limit)
        .await;
    assert!(matches!(result, Err(Error::Unavailable(_))));
    assert!(begun.elapsed() < limit + Duration::from_millis(100));
}

#[tokio::test]
async fn a_dropped_future_cancels_the_call_and_says_nothing_about_the_replica() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    replica.state.set_slow(true);
    let asking = tokio::spawn({
        let client = client.clone();
        async move { ask(&client).await }
    });
    until("the call is there", || replica.count() == 1).await;
    asking.abort();
    let cancelled = || replica.state.cancelled.load(SeqCst);
    until("the replica knows", || cancelled() == 1).await;
    assert_eq!(ready(&client), 1);
}

#[tokio::test]
async fn close_lets_calls_finish_and_ends_the_connections() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    replica.state.set_slow(true);
    let asking = tokio::spawn({
        let client = client.clone();
        async move { is_allowed(&client).await }
    });
    until("the call is there", || replica.count() == 1).await;
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    replica.state.set_slow(false);
    assert!(asking.await.unwrap());
    closing.await.unwrap();
    let open = || replica.state.open_connections.load(SeqCst);
    until("the connection has ended", || open() == 0).await;
    let Err(Error::Misused(error)) = ask(&client).await else {
        panic!("it is closed");
    };
    assert_eq!(error.to_string(), "the client is closed");
    assert!(
        client
            .wait_until_ready(Duration::from_secs(1))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn dropping_the_last_clone_ends_the_connections() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    drop(client.clone());
    assert!(is_allowed(&client).await);
    drop(client);
    let open = || replica.state.open_connections.load(SeqCst);
    until("the connection has ended", || open() == 0).await;
}

#[tokio::test]
async fn a_connection_that_ends_is_followed_by_another() {
    let (ending, other) = (Replica::start().await, Replica::start().await);
    let client = client(&[&ending, &other]).await;
    for _ in 0..3 {
        ending.state.end_connections();
        for _ in 0..20 {
            assert!(is_allowed(&client).await);
        }
        until("all are ready", || ready(&client) == 2).await;
    }
    assert!(ending.state.connections.load(SeqCst) >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_no_replica_saw_do_not_count() {
    let replica = Replica::start().await;
    let address = replica.address.to_string();
    let options = Options::new([address]).plaintext();
    let client = Client::open(options.attempts(1, Duration::from_secs(5))).unwrap();
    until("it is ready", || ready(&client) == 1).await;
    let state = replica.state.clone();
    let retiring = tokio::spawn(async move {
        loop {
            state.retire_connections();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    for _ in 0..200 {
        let result = client
            .authorize_within("tsend_x", "example.com", Duration::from_secs(10))
            .await;
        assert!(matches!(result, Ok(Decision::Allowed(_))), "{result:?}");
    }
    retiring.abort();
}

#[tokio::test]
async fn one_that_is_ready_is_asked_again_before_one_that_is_not() {
    let (ready_one, starting) = (Replica::start().await, Replica::start().await);
    let client = client(&[&ready_one, &starting]).await;
    starting.set_serving(false);
    until("it is not ready", || ready(&client) == 1).await;
    for _ in 0..3 {
        ready_one.fail_next(Status::unavailable("words"));
    }
    assert!(is_allowed(&client).await);
    assert_eq!((ready_one.count(), starting.count()), (4, 0));
}

#[tokio::test]
async fn a_very_short_attempt_says_nothing_about_the_replica() {
    let replica = Replica::start().await;
    let client = client(&[&replica]).await;
    replica.state.set_slow(true);
    let limit = Duration::from_millis(50);
    let asked = client.authorize_within("tsend_x", "example.com", limit);
    assert!(matches!(asked.await, Err(Error::Unavailable(_))));
    assert_eq!(ready(&client), 1);
}

#[tokio::test]
async fn a_hundred_attempts_are_in_flight_to_a_replica_and_the_others_wait_their_turn() {
    let replica = Replica::start().await;
    let options = Options::new([replica.address.to_string()]).plaintext();
    let client = Client::open(options.attempts(1, Duration::from_secs(10))).unwrap();
    until("it is ready", || ready(&client) == 1).await;
    replica.state.set_slow(true);
    let within = Duration::from_secs(20);
    let calls = (0..150).map(|_| client.authorize_within("tsend_x", "example.com", within));
    let calls = join_all(calls);
    let answered = async {
        until("a hundred are there", || replica.count() == 100).await;
        replica.state.set_slow(false);
    };
    let (results, ()) = tokio::join!(calls, answered);
    let allowed = results
        .iter()
        .filter(|it| matches!(it, Ok(Decision::Allowed(_))));
    assert_eq!(allowed.count(), 150);
}

#[tokio::test]
async fn a_replica_that_hangs_is_sent_no_more_than_it_may_have_in_flight() {
    let replica = Replica::start().await;
    let options = Options::new([replica.address.to_string()]).plaintext();
    let client = Client::open(options.attempts(4, Duration::from_millis(200))).unwrap();
    until("it is ready", || ready(&client) == 1).await;
    replica.set_hanging(true);
    let calls = (0..300)
        .map(|_| client.authorize_within("tsend_x", "example.com", Duration::from_millis(900)));
    let results = join_all(calls).await;
    assert!(results.iter().all(Result::is_err));
    assert_eq!(replica.count(), 100);
}

#[test]
fn a_client_needs_a_runtime() {
    let error = Client::open(Options::new(["127.0.0.1:1"]).plaintext()).unwrap_err();
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
}
