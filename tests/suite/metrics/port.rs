//! The port that Prometheus scrapes. It is not authenticated, so hostile clients can reach it.

use crate::support::{
    directory, eventually,
    hostile::metrics_connections::{BEHAVIOURS, HostileConnections},
    server::{
        Server,
        process::{Process, reserve_open_files},
        scrape::{METRICS, Scrape, request},
        sqlite_in,
    },
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

/// The hostile connections and some other files.
const OPEN_FILES: u32 = 2000;

/// In MiB. The port has 128 connections, and each holds one page.
const MOST_MEMORY: u64 = 16;

/// How long a scrape may take: half of what Prometheus allows it by default. The page is long, and each of
/// the connections before it may get one.
const SLOWEST_SCRAPE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_port_serves_only_metrics() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    for (method, path, status) in [
        ("GET", "/metrics", "200"),
        ("HEAD", "/metrics", "200"),
        ("GET", "/", "404"),
        ("GET", "/metrics/", "404"),
        ("POST", "/metrics", "405"),
    ] {
        let (head, body) = request(&server, method, path);
        let expected = format!("HTTP/1.1 {status}");
        assert!(head.starts_with(&expected), "{method} {path}: {head}");
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_larger_head_than_any_scrape_needs_is_refused() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let port = server.logged_port("metrics_address").expect("a port");
    for (bytes, is_served) in [(8_000, true), (20_000, false)] {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let more = "x".repeat(bytes);
        let head = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-more: {more}\r\n\r\n");
        // A server that refuses it may close the connection before all is sent, or read.
        let sent = connection.write_all(head.as_bytes());
        let mut answer = String::new();
        let read = sent.and_then(|()| connection.read_to_string(&mut answer));
        assert_eq!(
            answer.starts_with("HTTP/1.1 200"),
            is_served,
            "{read:?}, {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_succeeds_beside_a_thousand_hostile_connections() {
    let _files = reserve_open_files(OPEN_FILES).await;
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let port = server.logged_port("metrics_address").expect("a port");
    let process = Process(server.pid());
    process.reset_peak_memory();
    let before = process.memory();
    for behaviour in BEHAVIOURS {
        let connections = HostileConnections::open(port, behaviour);
        eventually("all connections are open", async || {
            connections.are_all_open()
        })
        .await;
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            block_in_place(|| Scrape::of(&server));
            slowest = slowest.max(started.elapsed());
            sleep(Duration::from_millis(100)).await;
        }
        let highest = process.peak_memory();
        println!(
            "{behaviour:?}: {} connections, slowest scrape {slowest:?}, memory {before} to {highest} MiB",
            connections.opened()
        );
        assert!(highest <= before + MOST_MEMORY, "{highest} MiB");
        assert!(slowest <= SLOWEST_SCRAPE, "{behaviour:?}: {slowest:?}");
    }
}
