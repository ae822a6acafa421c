//! Nobody reads standard error: the service goes on, and ends when it is asked to.

use crate::support::{
    directory, eventually,
    postgres::{
        Cluster,
        table_lock::{LONG_STATEMENT_TIMEOUT, TableLock, with_schema},
    },
    server::{
        Server, command,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
};
use rustix::fs::{OFlags, fcntl_setfl};
use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    net::TcpStream,
};
use tonic_health::pb::health_check_response::ServingStatus;

const DROPPED: &str = "keyservice_log_lines_dropped_total";

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_and_the_log_tells_what_it_lost_when_it_is_read_again() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &VERBOSE, &[]).await;
    let mut client = server.client().await;
    server.stop_reading_log();
    log_until_lines_are_dropped(&server).await;

    let (token, key_id) = client.create_key().await;
    assert!(client.is_granted(&token).await);
    client.revoke(&key_id).await.expect("revoked");
    assert!(server.is_serving().await);
    let dropped = Scrape::of(&server).value(DROPPED);

    server.read_log_again();
    eventually("the gap is told", async || told(&server.log()) > 0.0).await;
    client
        .create("acme", "after the gap")
        .await
        .expect("created");
    eventually("it is logged again", async || {
        let log = server.log();
        log.rsplit_once(TOLD)
            .is_some_and(|(_, rest)| rest.contains("key created"))
    })
    .await;
    // Scraping logs too.
    let all = Scrape::of(&server).value(DROPPED);
    assert!(told(&server.log()) >= dropped && told(&server.log()) <= all);
    for line in server.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_calls_in_flight_finish_and_a_second_one_ends_the_process_at_once() {
    let cluster = Cluster::shared();
    for (signals, code) in [(1, 0), (2, 1)] {
        let store = with_schema(cluster.create_database()).await;
        let args = [&VERBOSE[..], &LONG_STATEMENT_TIMEOUT, &["--drain-limit=1h"]].concat();
        let mut server = Server::start_with(&store, &args, &[]).await;
        let mut client = server.client().await;
        let mut health = server.health().await;
        let lock = TableLock::on_keys(&store).await;
        server.stop_reading_log();
        log_until_lines_are_dropped(&server).await;
        let create = tokio::spawn(async move { client.create("acme", "in flight").await });
        eventually("the Create waits", async || lock.blocks_a_create().await).await;

        server.signal("TERM");
        eventually("it drains", async || {
            health.try_check("").await != Some(ServingStatus::Serving)
        })
        .await;
        if signals == 2 {
            server.signal("INT");
        } else {
            drop(lock);
            create.await.expect("no panic").expect("it may finish");
        }
        assert_eq!(server.wait_for_exit_unread().await.code(), Some(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_nobody_reads_ends_the_process() {
    let directory = directory();
    let store = sqlite_in(&directory);
    for flags in [OFlags::empty(), OFlags::NONBLOCK] {
        for (wrong, code) in [("--credentials=/no/such/file", 1), ("--no-such-flag", 2)] {
            let (_reader, writer) = full_pipe(flags);
            let mut process = command(&store)
                .arg(wrong)
                .stderr(writer)
                .spawn()
                .expect("it runs");
            let mut status = None;
            eventually("it ends", async || {
                status = process.try_wait().expect("a child");
                status.is_some()
            })
            .await;
            assert_eq!(status.expect("it ended").code(), Some(code), "{wrong}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_does_not_block_loses_nothing_that_is_read() {
    let directory = directory();
    let (mut reader, writer) = full_pipe(OFlags::NONBLOCK);
    let mut command = command(&sqlite_in(&directory));
    let mut process = command
        .arg("--no-such-flag")
        .stderr(writer)
        .spawn()
        .expect("it runs");
    drop(command);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("UTF-8");
    process.wait().expect("it ends");
    assert!(
        text.contains("--no-such-flag"),
        "{}",
        text.trim_start_matches('x')
    );
}

/// A pipe that takes nothing until it is read.
fn full_pipe(flags: OFlags) -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("set");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).expect("set");
    (reader, writer)
}

/// At this level, each connection that ends before it has begun is a line.
const VERBOSE: [&str; 3] = [METRICS, "--log", "debug"];

/// Connects until the pipe and the queue are full.
async fn log_until_lines_are_dropped(server: &Server) {
    eventually("lines are dropped", async || {
        for _ in 0..1000 {
            TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
        }
        Scrape::of(server).value(DROPPED) > 0.0
    })
    .await;
}

const TOLD: &str = "did not take them in time: ";

/// How many lines the log says were dropped.
fn told(log: &str) -> f64 {
    let counts = log.split(TOLD).skip(1);
    let counts = counts.map(|rest| rest.split('"').next().expect("a number"));
    counts
        .map(|count| count.parse::<f64>().expect("a number"))
        .sum()
}
