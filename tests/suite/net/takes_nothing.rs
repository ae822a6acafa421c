//! A client that takes nothing of what the server writes costs little, and is closed.

use super::{SOON, start};
use crate::support::{
    eventually,
    hostile::frames::{PING, PREFACE, RawClient, frame, no_settings},
    server::{
        process::Process,
        scrape::{METRICS, Scrape},
    },
};
use futures::future::join_all;
use tokio::time::timeout;

/// Few, because the server has to write megabytes to each before the system's buffers are full.
const CONNECTIONS: usize = 16;

/// In KiB, as `docs/abuse.md` says.
pub const STALLED_CONNECTION: u64 = 400;

/// More than the buffers of the system take on one connection.
const PINGS: usize = 10_000_000;

/// Sends pings, of which the server has to answer each, until it closes the connection.
async fn ping_until_closed(port: u16) {
    let mut client = RawClient::connect_with_small_buffer(port).await;
    client.send(PREFACE).await;
    client.send(&no_settings()).await;
    let wave = frame(PING, 0, 0, &[0; 8]).repeat(1000);
    for _ in 0..PINGS / 1000 {
        if !client.can_send(&wave).await {
            return;
        }
    }
    panic!("the server reads on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_answers_is_closed_and_costs_little_until_then() {
    let (server, _directory) = start(&[METRICS, "--keepalive-timeout=2s"]).await;
    let process = Process(server.pid());
    let before = process.memory();
    let all = (0..CONNECTIONS).map(|_| ping_until_closed(server.port()));
    timeout(2 * SOON, join_all(all))
        .await
        .expect("all are closed");
    let highest = process.peak_memory();
    let bound = before + CONNECTIONS as u64 * STALLED_CONNECTION / 1024;
    println!("{before} to {highest} MiB");
    assert!(highest <= bound, "{highest} MiB, and {bound} were stated");
    eventually("they are counted", async || {
        Scrape::of(&server).closed_connections("answer_not_taken") == CONNECTIONS as f64
    })
    .await;
}
