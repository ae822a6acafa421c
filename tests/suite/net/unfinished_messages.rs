//! Messages that begin and do not end take little memory, whichever method they are for.

use super::{start, untaken_answers::wait_until_at_rest};
use crate::support::{
    eventually,
    hostile::unfinished::UnfinishedCalls,
    server::{
        process::Process,
        scrape::{METRICS, Scrape},
    },
};
use keyservice::grpc::method_names;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const CONNECTIONS: usize = 2;

/// On each connection, and what each sends of a message: as much as a gateway's question may take.
const CALLS: usize = 256;
const MESSAGE: u32 = 80_000;

/// In KiB, of each such call, as `docs/abuse.md` says.
const UNFINISHED_CALL: u64 = 40;

/// The questions of a gateway have a bound of their own, which `hostile_caller` tests.
const CHECK: &str = "envoy.service.auth.v3.Authorization/Check";

/// However large the messages of a gateway may be. Strangers may call some of these methods.
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_messages_take_little_memory_whatever_method_they_are_for() {
    let args = [
        METRICS,
        "--max-message-size=1048576",
        "--message-timeout=1h",
    ];
    let (server, _directory) = start(&args).await;
    let process = Process(server.pid());
    let wait_until_closed = async || {
        eventually("all connections are closed", async || {
            Scrape::of(&server).value("keyservice_connections") == 0.0
        })
        .await;
    };
    wait_until_closed().await;
    let bound = process.memory() + (CONNECTIONS * CALLS) as u64 * UNFINISHED_CALL / 1024;
    for method in method_names().filter(|method| *method != CHECK) {
        let mut hostile = Vec::new();
        for _ in 0..CONNECTIONS {
            let (channel, path) = (server.channel().await, format!("/{method}"));
            let mut calls = UnfinishedCalls::open(&channel, &path, None, CALLS, MESSAGE);
            calls.wait_until_sent().await;
            hostile.push(calls);
        }
        wait_until_at_rest(process).await;
        let after = process.memory();
        println!("{method}: {after} MiB of at most {bound}");
        assert!(after <= bound, "{method}: {after} MiB, {bound} were stated");
        drop(hostile);
        wait_until_closed().await;
    }
}

/// No setting lets strangers send more.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_larger_than_any_of_its_method_is_refused_whatever_the_setting() {
    let (server, _directory) = start(&["--max-message-size=1048576"]).await;
    let mut health = HealthClient::new(server.channel().await);
    let long = HealthCheckRequest {
        service: "x".repeat(300),
    };
    let mut client = server.client().await;
    let refusals: [(Option<Status>, _); 2] = [
        (health.check(long).await.err(), "256"),
        (client.create("acme", &"x".repeat(9000)).await.err(), "8192"),
    ];
    for (refused, limit) in refusals {
        let refused = refused.expect("too large");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        let said = format!("the limit is {limit}: send less");
        assert!(refused.message().contains(&said), "{refused}");
    }
}
