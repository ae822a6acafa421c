//! A client that asks on streams and takes no answers is read no more, and costs little.

use super::start;
use crate::support::{
    clients::{
        callers::Bearer,
        questions::{self, Questions, framed},
    },
    eventually,
    hostile::frames::{
        DATA, END_HEADERS, GOAWAY, HEADERS, PING, RawClient, WINDOW_UPDATE, frame, headers_of,
    },
    server::{
        Server,
        process::Process,
        scrape::{METRICS, Scrape},
    },
};
use keyservice::grpc::proto::authorize_stream_response::Answer;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use tonic::{Code, Request};

/// As many as one caller may have stalled.
const STREAMS: u64 = 16;

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
    let mut stream = Questions::open(endpoint.connect().await.expect("it listens")).await;
    (0..QUESTIONS).for_each(|id| stream.ask(id, token, "example.com"));
    stream.close();
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

/// What HTTP/2 keeps for it does not become less by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_a_little_now_and_then_is_stalled_too() {
    let (server, _directory) = start(&[METRICS, "--answer-timeout=2s"]).await;
    let mut client = RawClient::connect_with_window(server.port(), 0).await;
    let headers = headers_of(questions::PATH, &[]);
    client.send(&frame(HEADERS, END_HEADERS, 1, &headers)).await;
    // Empty questions, each of which is answered with an error of some two hundred bytes.
    let questions = [0; 5 * QUESTIONS as usize];
    client.send(&frame(DATA, 0, 1, &questions)).await;
    let dripping = tokio::spawn(async move {
        let little = 1024_u32.to_be_bytes();
        loop {
            client.send(&frame(WINDOW_UPDATE, 0, 1, &little)).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    eventually("it is closed", async || {
        Scrape::of(&server).closed_connections("answer_not_taken") == 1.0
    })
    .await;
    dripping.abort();
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

#[tokio::test(flavor = "multi_thread")]
async fn of_the_clients_of_one_caller_that_take_no_answers_few_are_waited_for() {
    let (server, _directory) = start(&[METRICS]).await;
    let (token, _) = server.client().await.create_key().await;
    let mut streams = Vec::new();
    for _ in 0..2 * STREAMS {
        streams.push(ask_all(&server, &token).await);
    }
    let closed = || Scrape::of(&server).closed_connections("answer_not_taken");
    let others = STREAMS as f64;
    eventually("the others are closed", async || closed() >= others).await;
    let mut kept = 0;
    for mut stream in streams {
        let mut answered = 0;
        while let Ok(Some(_)) = stream.next().await {
            answered += 1;
        }
        kept += u64::from(answered == QUESTIONS);
    }
    assert_eq!(kept, STREAMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_two_streams_of_questions() {
    let (server, _directory) = start(&[]).await;
    let channel = server.channel().await;
    let mut first = Questions::open(channel.clone()).await;
    let mut second = Questions::open(channel.clone()).await;
    let refused = Questions::open_with(channel.clone(), Bearer::none(), Request::new(())).await;
    let refused = refused.err().expect("it has two");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(
        refused.message().contains("another connection"),
        "{refused}"
    );

    first.close();
    assert_eq!(first.next().await.expect("OK"), None);
    let mut third = Questions::open(channel).await;
    for stream in [&mut second, &mut third] {
        stream.answer("", "example.com").await;
    }
}

/// As gRPC for Go sends them. h2 counts small frames that are not read, and closes the connection if there are
/// too many.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_each_question_in_a_frame_of_its_own_keeps_its_connection() {
    // What HTTP/2 lets a server read in one go, of a stream and of a connection.
    const WINDOW: i64 = 16 * 1024;
    let (server, _directory) = start(&["--max-streams=2"]).await;
    let (token, _) = server.client().await.create_key().await;
    let question = framed(1, &token, "example.com");
    let mut client = RawClient::connect_with_window(server.port(), 0).await;
    let mut windows = HashMap::from([(0, 65_535), (1, WINDOW), (3, WINDOW)]);
    for stream in [1, 3] {
        let headers = headers_of(questions::PATH, &[]);
        client
            .send(&frame(HEADERS, END_HEADERS, stream, &headers))
            .await;
    }
    let size = question.len() as i64;
    loop {
        let mut sent = false;
        for stream in [1, 3] {
            while windows[&stream] >= size && windows[&0] >= size {
                client.send(&frame(DATA, 0, stream, &question)).await;
                for window in [0, stream] {
                    *windows.get_mut(&window).expect("it is there") -= size;
                }
                sent = true;
            }
        }
        if !sent {
            break;
        }
        client.send(&frame(PING, 0, 0, &[0; 8])).await;
        loop {
            let frame = client.read_frame().await.expect("it is open");
            match (frame.kind, <[u8; 4]>::try_from(&frame.payload[..])) {
                (WINDOW_UPDATE, Ok(more)) => {
                    *windows.get_mut(&frame.stream).expect("it is there") +=
                        i64::from(u32::from_be_bytes(more));
                }
                (PING, _) => break,
                (kind, _) => assert_ne!(kind, GOAWAY),
            }
        }
    }
    client.send(&frame(PING, 0, 0, &[0; 8])).await;
    while client.read_frame().await.expect("it is open").kind != PING {}
}
