//! Calls that end before their message has arrived are recorded and counted as the client's mistake.

use crate::support::{
    clients::callers::Credential,
    directory, eventually,
    hostile::frames::{END_HEADERS, END_STREAM, HEADERS, RST_STREAM, RawClient, frame, headers_of},
    mount::Mount,
    server::{
        Server,
        audit_command::records,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
};

const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_before_its_message_counts_as_the_clients_mistake() {
    let (directory, operator) = (
        directory(),
        Credential::new("operator", &["--role", "admin"]),
    );
    let store = sqlite_in(&directory);
    let callers = Mount::new(&[("callers", &operator.line)]);
    let credentials = format!("--credentials={}", callers.arg("callers"));
    let server = Server::start_with(&store, &[METRICS, &credentials], &[]).await;
    let bearer = format!("Bearer {}", operator.secret);
    let headers = |method: &str, stream, flags| {
        let path = format!("/tosend.keys.v1.KeyService/{method}");
        let block = headers_of(&path, &[("authorization", &bearer)]);
        frame(HEADERS, END_HEADERS | flags, stream, &block)
    };
    let counted = async |method: &str, status: &str, times: f64| {
        eventually(&format!("{method} is {status}"), async || {
            Scrape::of(&server).calls(method, status) == times
        })
        .await;
    };

    let mut client = RawClient::connect_with_preface(server.port()).await;
    for (method, stream) in [("Authorize", 1), ("Revoke", 3)] {
        client.send(&headers(method, stream, 0)).await;
        client.send(&frame(RST_STREAM, 0, stream, &CANCEL)).await;
        counted(method, "CANCELLED", 1.0).await;
    }
    for (method, stream) in [("Authorize", 5), ("Revoke", 7)] {
        client.send(&headers(method, stream, END_STREAM)).await;
        counted(method, "INVALID_ARGUMENT", 1.0).await;
    }
    client.send(&headers("Create", 9, 0)).await;
    // When the next call is answered, the server has read this one.
    client.send(&headers("Authorize", 11, END_STREAM)).await;
    counted("Authorize", "INVALID_ARGUMENT", 2.0).await;
    drop(client);
    counted("Create", "CANCELLED", 1.0).await;

    let recorded = [
        "operator Revoke CANCELLED - - 1",
        "operator Revoke INVALID_ARGUMENT - - 1",
        "operator Create CANCELLED - - 1",
    ];
    eventually("all are recorded", async || {
        records(&store, &[]) == recorded
    })
    .await;
    let lines = server.log().matches("\"message\":\"admin call\"").count();
    assert_eq!(lines, recorded.len(), "{}", server.log());
}

/// Health passes through tonic's router, which copies the status of a failed call.
#[tokio::test(flavor = "multi_thread")]
async fn a_health_call_that_is_given_up_is_cancelled_too() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let mut client = RawClient::connect_with_preface(server.port()).await;
    for (method, stream) in [("Check", 1), ("Watch", 3)] {
        let headers = headers_of(&format!("/grpc.health.v1.Health/{method}"), &[]);
        client
            .send(&frame(HEADERS, END_HEADERS, stream, &headers))
            .await;
        client.send(&frame(RST_STREAM, 0, stream, &CANCEL)).await;
        eventually("it is counted", async || {
            let name = format!("grpc.health.v1.Health/{method}");
            Scrape::of(&server).calls(&name, "CANCELLED") == 1.0
        })
        .await;
    }
}
