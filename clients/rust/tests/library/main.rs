//! The library against replicas in this process.
#![allow(missing_docs, unreachable_pub, clippy::pedantic, clippy::unwrap_used)]

mod admin;
mod authorize;
mod credentials;
mod faults;
mod logs;
mod replica;
mod stream;

use replica::Replica;
use std::time::{Duration, Instant};
use tosend_keyservice::{Client, Options};

/// A client of these replicas, in plain text, of which all are ready.
async fn client(replicas: &[&Replica]) -> Client {
    let addresses = replicas.iter().map(|replica| replica.address.to_string());
    let client = Client::open(Options::new(addresses).plaintext()).unwrap();
    until("all are ready", || ready(&client) == replicas.len()).await;
    client
}

/// How many replicas are ready, as the client prints it.
fn ready(client: &Client) -> usize {
    let printed = format!("{client:?}");
    let (_, rest) = printed.split_once(" ready: ").unwrap();
    rest.trim_end_matches(" }").parse().unwrap()
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "not true in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
