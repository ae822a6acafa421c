//! Calls to reflection whose clients take no answers are few, take little, and end.

use super::{SOON, start};
use crate::support::{
    eventually,
    hostile::frames::{DATA, END_HEADERS, HEADERS, RawClient, frame, headers_of},
    server::{
        Server,
        process::Process,
        scrape::{METRICS, Scrape},
    },
};

const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The calls that one caller may have in flight.
const SLOTS: usize = 16;

/// Far less than what waits for these calls would take, if each byte kept the buffer that it came in.
const MOST_MORE_MIB: u64 = 8;

/// A frame of no known type, which HTTP/2 ignores.
const UNKNOWN: u8 = 0x55;

/// A request for the services' names, as it stands in a DATA frame.
const LIST_SERVICES: [u8; 7] = [0, 0, 0, 0, 2, 0x3a, 0];

fn call(stream: u32) -> Vec<u8> {
    let headers = headers_of(&format!("/{REFLECTION}"), &[]);
    let headers = frame(HEADERS, END_HEADERS, stream, &headers);
    [headers, frame(DATA, 0, stream, &LIST_SERVICES)].concat()
}

/// A client that has called reflection this often and takes no answers.
async fn call_without_taking(server: &Server, calls: u32) -> RawClient {
    let mut client = RawClient::connect_with_window(server.port(), 0).await;
    for number in 0..calls {
        client.send(&call(2 * number + 1)).await;
    }
    client
}

fn ended(server: &Server, status: &str) -> f64 {
    Scrape::of(server).calls(REFLECTION, status)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_has_few_streams_in_flight() {
    let (server, _directory) = start(&[METRICS]).await;
    let _client = call_without_taking(&server, 100).await;
    eventually("the others are refused", async || {
        ended(&server, "RESOURCE_EXHAUSTED") == (100 - SLOTS) as f64
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_stalled_stream_takes_little_memory() {
    let (server, _directory) = start(&[METRICS]).await;
    let process = Process(server.pid());
    let mut clients = Vec::new();
    for _ in 0..SLOTS {
        clients.push(call_without_taking(&server, 1).await);
    }
    let before = process.memory();
    let padding = frame(UNKNOWN, 0, 0, &[0; 8100]);
    for client in &mut clients {
        for byte in LIST_SERVICES.repeat(40) {
            let byte = frame(DATA, 0, 1, &[byte]);
            client.send(&[byte, padding.clone()].concat()).await;
        }
        client.send(&padding.repeat(100)).await;
    }
    let highest = process.peak_memory();
    println!("{before} to {highest} MiB");
    assert!(
        highest <= before + MOST_MORE_MIB,
        "{before} to {highest} MiB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_in_time_and_costs_a_client_that_does_not_take_that_its_connection() {
    let (server, _directory) = start(&[METRICS, "--answer-timeout=1s"]).await;
    let mut stalled = call_without_taking(&server, 1).await;
    let mut polite = RawClient::connect_with_preface(server.port()).await;
    polite.send(&call(1)).await;
    stalled.read_kinds_until_closed(SOON).await;
    eventually("the other's call ends", async || {
        ended(&server, "UNAVAILABLE") == 1.0
    })
    .await;
    assert!(polite.is_open());
    let closed = Scrape::of(&server).closed_connections("answer_not_taken");
    assert_eq!(closed, 1.0);
}
