//! A client that asks on streams and takes no answers is read no more, and costs little.

use super::start;
use crate::support::{
    clients::questions::Questions,
    eventually,
    server::{
        Server,
        process::Process,
        scrape::{METRICS, Scrape},
    },
};
use keyservice::grpc::proto::authorize_stream_response::Answer;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const STREAMS: u64 = 50;

/// Far more than HTTP/2's windows hold.
const QUESTIONS: u64 = 3000;

/// In KiB, of a stream, as `docs/abuse.md` says, and of an idle connection.
const STREAM: u64 = 64;
const CONNECTION: u64 = 20;

/// What HTTP/2 begins with. tonic's default is 2 MiB.
const WINDOW: u32 = 65_535;

/// Asks questions, of which each is granted, on a connection of its own.
async fn ask_all(server: &Server, token: &str) -> Questions {
    let endpoint = server.endpoint().initial_stream_window_size(WINDOW);
    let endpoint = endpoint.initial_connection_window_size(WINDOW);
    let stream = Questions::open(endpoint.connect().await.expect("it listens")).await;
    (0..QUESTIONS).for_each(|id| stream.ask(id, token, "example.com"));
    stream
}

/// Waits until the server decides no more.
async fn wait_until_stalled(decisions: impl Fn() -> f64) -> f64 {
    let mut before = (decisions(), Instant::now());
    while before.1.elapsed() < Duration::from_millis(500) {
        sleep(Duration::from_millis(50)).await;
        let now = decisions();
        if now > before.0 {
            before = (now, Instant::now());
        }
    }
    before.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_answers_is_read_no_more_until_it_takes_them() {
    let (server, _directory) = start(&[METRICS]).await;
    let (token, _) = server.client().await.create_key().await;
    let decisions = || Scrape::of(&server).decisions();
    // What the process needs once for all streams.
    let mut first = ask_all(&server, &token).await;
    for _ in 0..QUESTIONS {
        first.next().await.expect("no error").expect("no end");
    }
    let process = Process(server.pid());
    let (decided, before) = (decisions(), process.memory());

    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(ask_all(&server, &token).await);
    }
    let stalled = wait_until_stalled(decisions).await - decided;
    let (after, bound) = (
        process.memory(),
        before + STREAMS * (STREAM + CONNECTION) / 1024 + 2,
    );
    println!(
        "{stalled} of {} decided, {before} to {after} MiB",
        STREAMS * QUESTIONS
    );
    assert!(
        stalled < (STREAMS * QUESTIONS / 2) as f64,
        "{stalled} are decided"
    );
    assert!(after <= bound, "{after} MiB, and {bound} were stated");

    for stream in &mut streams {
        for id in 0..QUESTIONS {
            let (answered, answer) = stream.next().await.expect("no error").expect("no end");
            assert!(
                answered == id && matches!(answer, Answer::Grant(_)),
                "{answer:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_taken_in_time_cost_their_client_the_connection() {
    let (server, _directory) = start(&[METRICS, "--answer-timeout=1s"]).await;
    let (token, _) = server.client().await.create_key().await;
    let _stalled = ask_all(&server, &token).await;
    let mut quiet = Questions::open(server.channel().await).await;
    quiet.answer(&token, "example.com").await;
    eventually("it is closed", async || {
        Scrape::of(&server).closed_connections("answer_not_taken") == 1.0
    })
    .await;
    quiet.answer(&token, "example.com").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_takes_nothing_holds_up_no_shutdown() {
    let (mut server, _directory) = start(&[METRICS]).await;
    let (token, _) = server.client().await.create_key().await;
    let _stalled = ask_all(&server, &token).await;
    let decided = wait_until_stalled(|| Scrape::of(&server).decisions()).await;
    assert!(decided < QUESTIONS as f64, "{decided} are decided");
    let began = Instant::now();
    server.signal("TERM");
    assert!(server.wait_for_exit().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(!server.log().contains("cut off"), "{}", server.log());
}
