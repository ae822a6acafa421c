//! The limits of HTTP/2 itself.

use super::{SOON, start};
use crate::support::{
    eventually,
    hostile::frames::{
        DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, RawClient, frame,
        headers_of,
    },
    server::scrape::{METRICS, Scrape},
};

/// As many as `--max-streams` admits by default.
const STREAMS: u32 = 256;

/// The streams that a connection may break.
pub const MOST_BROKEN: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_streams_without_end_is_closed() {
    // `accept-encoding` and `:method` in HPACK's static table: a pseudo-header must come first.
    const MISPLACED: [u8; 2] = [0x90, 0x83];
    let (server, _directory) = start(&[]).await;
    let mut client = RawClient::connect_with_preface(server.port()).await;
    for number in 0..=MOST_BROKEN {
        let stream = 2 * number + 1;
        let broken = frame(HEADERS, END_HEADERS | END_STREAM, stream, &MISPLACED);
        client.send(&broken).await;
    }
    let kinds = client.read_kinds_until_closed(SOON).await;
    assert!(kinds.contains(&GOAWAY), "{kinds:?}");
}

/// h2 counts small frames that the server has not read, and closes the connection if there are too many.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_messages_and_ends_come_apart_may_use_all_streams_at_once() {
    let (server, _directory) = start(&[METRICS]).await;
    let path = "tosend.keys.v1.KeyService/Authorize";
    let headers = headers_of(&format!("/{path}"), &[]);
    let message = [0; 5];
    let streams = (0..STREAMS).map(|number| 2 * number + 1);
    let begin = streams.clone().flat_map(|stream| {
        let call = frame(HEADERS, END_HEADERS, stream, &headers);
        [call, frame(DATA, 0, stream, &message)].concat()
    });
    let end = streams.flat_map(|stream| frame(DATA, END_STREAM, stream, &[]));
    let mut client = RawClient::connect_with_preface(server.port()).await;
    client.send(&begin.chain(end).collect::<Vec<_>>()).await;
    eventually("all are answered", async || {
        Scrape::of(&server).calls("Authorize", "INVALID_ARGUMENT") == f64::from(STREAMS)
    })
    .await;
    assert!(client.is_open());
}

/// h2 resets a stream that is answered before its message came, and counts a message that comes later as a
/// fault of the client.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_calls_are_refused_before_their_messages_came_keeps_its_connection() {
    let many = [("x-field", "1"); 100];
    let refused = [
        headers_of("/tosend.keys.v1.KeyService/NoSuchMethod", &[]),
        headers_of("/tosend.keys.v1.KeyService/Authorize", &many),
    ];
    let (server, _directory) = start(&[]).await;
    let mut client = RawClient::connect_with_preface(server.port()).await;
    let mut kinds = Vec::new();
    let mut numbers = (0..).map(|number| 2 * number + 1);
    for round in 0..4 {
        let streams: Vec<u32> = numbers.by_ref().take(STREAMS as usize).collect();
        let headers = &refused[round as usize % refused.len()];
        let each = |kind, flags, payload| {
            let frames = streams.iter();
            frames.flat_map(move |stream| frame(kind, flags, *stream, payload))
        };
        let ping = frame(PING, 0, 0, &[0; 8]);
        let begin = each(HEADERS, END_HEADERS, headers).chain(ping);
        client.send(&begin.collect::<Vec<_>>()).await;
        read_until(&mut client, PING, 1, &mut kinds).await;
        let end = each(DATA, END_STREAM, &[0; 5]);
        client.send(&end.collect::<Vec<_>>()).await;
        read_until(&mut client, HEADERS, streams.len(), &mut kinds).await;
    }
    assert!(!kinds.contains(&RST_STREAM) && !kinds.contains(&GOAWAY));
}

/// The length of a message is known before the rest of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_messages_are_too_large_keeps_its_connection() {
    const SIZE: u16 = 10_000;
    let (server, _directory) = start(&[]).await;
    let headers = headers_of("/tosend.keys.v1.KeyService/Authorize", &[]);
    let length = u32::from(SIZE).to_be_bytes();
    let beginning = [&[0][..], &length].concat();
    let mut client = RawClient::connect_with_preface(server.port()).await;
    let mut kinds = Vec::new();
    for stream in (0..2 * MOST_BROKEN).map(|number| 2 * number + 1) {
        let call = frame(HEADERS, END_HEADERS, stream, &headers);
        let begin = frame(DATA, 0, stream, &beginning);
        let ping = frame(PING, 0, 0, &[0; 8]);
        client.send(&[call, begin, ping].concat()).await;
        read_until(&mut client, PING, 1, &mut kinds).await;
        let rest = frame(DATA, END_STREAM, stream, &[0; SIZE as usize]);
        client.send(&rest).await;
        read_until(&mut client, HEADERS, 1, &mut kinds).await;
    }
    assert!(!kinds.contains(&RST_STREAM) && !kinds.contains(&GOAWAY));
}

/// As a client does whose calls all run out of time while the server hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_all_its_calls_at_once_keeps_its_connection() {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let (server, _directory) = start(&[]).await;
    let headers = headers_of("/tosend.keys.v1.KeyService/Authorize", &[]);
    let mut client = RawClient::connect_with_preface(server.port()).await;
    let calls = (0..STREAMS)
        .map(|number| 2 * number + 1)
        .flat_map(|stream| {
            let call = frame(HEADERS, END_HEADERS, stream, &headers);
            [call, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
        });
    let ping = frame(PING, 0, 0, &[0; 8]);
    client.send(&calls.chain(ping).collect::<Vec<_>>()).await;
    let mut kinds = Vec::new();
    read_until(&mut client, PING, 1, &mut kinds).await;
    assert!(!kinds.contains(&GOAWAY), "{kinds:?}");
}

/// Reads until so many frames of a kind have come.
async fn read_until(client: &mut RawClient, kind: u8, mut count: usize, kinds: &mut Vec<u8>) {
    while count > 0 {
        let frame = client.read_frame().await.expect("the connection is open");
        count -= usize::from(frame.kind == kind);
        kinds.push(frame.kind);
    }
}
