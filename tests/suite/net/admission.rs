//! Admission: which connection is evicted, and which new one is closed, when a limit is reached.

use super::{SOON, start};
use crate::support::{
    eventually,
    hostile::{
        frames::{END_HEADERS, HEADERS, RawClient, frame, headers_of},
        persistent::{PersistentClient, Work},
    },
    server::{
        Client, Server,
        scrape::{METRICS, Scrape},
    },
};
use keyservice::grpc::proto::key_service_client::KeyServiceClient;
use std::time::Duration;
use tokio::time::timeout;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// A client that has made a call, after the connections of [`Server::start_with`] are closed.
async fn first_client(server: &Server) -> Client {
    let mut first = None;
    eventually("the first connections are closed", async || {
        let mut client = server.client().await;
        let is_served = client.list("acme").await.is_ok();
        first = is_served.then_some(client);
        is_served
    })
    .await;
    first.expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_at_the_limit_evicts_the_one_that_was_idle_longest() {
    let (server, _directory) = start(&["--max-connections", "2"]).await;
    let mut client = first_client(&server).await;
    let mut idle = RawClient::connect_with_preface(server.port()).await;
    idle.read_frame().await.expect("it is admitted");
    client
        .list("acme")
        .await
        .expect("it is active after the idle one");
    let mut new_connection = RawClient::connect_with_preface(server.port()).await;
    new_connection.read_frame().await.expect("it is admitted");
    idle.read_kinds_until_closed(SOON).await;
    client.list("acme").await.expect("its connection is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_at_the_limit_is_closed_when_none_is_idle() {
    let (server, _directory) = start(&["--max-connections", "1"]).await;
    let mut client = first_client(&server).await;
    // On a slow machine, the client may become idle first; a later attempt will be in time.
    eventually("a new connection is closed", async || {
        client = first_client(&server).await;
        let mut raw = RawClient::connect_with_preface(server.port()).await;
        raw.is_closed_within(SOON).await
    })
    .await;
    client.list("acme").await.expect("its connection is open");
}

/// The only slot would be its for ever if PINGs were work.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_only_pings_is_idle() {
    let (server, _directory) = start(&["--max-connections", "1", METRICS]).await;
    // Without credentials, any secret will do.
    let pinging = PersistentClient::start(server.port(), 1, Work::Pings, Some("any")).await;
    eventually("it has called once", async || {
        Scrape::of(&server).calls("Authorize", "OK") > 0.0
    })
    .await;
    let _client = first_client(&server).await;
    pinging.stop().await;
}

const AUTHORIZE: &str = "/tosend.keys.v1.KeyService/Authorize";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// A client that has started this many calls and sends no message for them.
async fn with_unfinished_calls(server: &Server, count: u32, path: &str) -> RawClient {
    let calls = (0..count).flat_map(|call| {
        let headers = headers_of(path, &[]);
        frame(HEADERS, END_HEADERS, 2 * call + 1, &headers)
    });
    let mut raw = RawClient::connect_with_preface(server.port()).await;
    raw.send(&calls.collect::<Vec<u8>>()).await;
    raw
}

/// This holds for authenticated callers and for unauthenticated clients.
#[tokio::test(flavor = "multi_thread")]
async fn past_the_limit_of_calls_the_connection_with_the_most_calls_is_evicted() {
    for path in [AUTHORIZE, WATCH] {
        let (server, _directory) = start(&["--max-calls", "100"]).await;
        let channel = server.channel().await;
        if path == AUTHORIZE {
            let mut client = Client(KeyServiceClient::new(channel.clone()));
            client.list("acme").await.expect("it is authenticated");
        }
        let mut health = HealthClient::new(channel);
        let watch = health.watch(HealthCheckRequest::default()).await;
        let mut watch = watch.expect("a watch").into_inner();
        watch.message().await.expect("a status");
        let mut raw = with_unfinished_calls(&server, 101, path).await;
        raw.read_kinds_until_closed(SOON).await;
        let next = timeout(Duration::from_millis(100), watch.message()).await;
        assert!(next.is_err(), "its watch ended: {next:?}");
        health
            .check(HealthCheckRequest::default())
            .await
            .expect("its connection is open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_call_on_a_connection_counts_as_authenticated() {
    let (server, _directory) = start(&["--max-calls", "100"]).await;
    let mut raw = with_unfinished_calls(&server, 100, AUTHORIZE).await;
    eventually("its connection is evicted", async || {
        let mut new_connection = server.client().await;
        new_connection
            .list("acme")
            .await
            .expect("it is authenticated");
        !raw.is_open()
    })
    .await;
}
