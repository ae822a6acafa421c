//! The port for health probes. It is not authenticated, so hostile clients can reach it.

use crate::support::{
    directory, eventually,
    hostile::{
        flood::{PROBES, Target},
        frames::RawClient,
        metrics_connections::{Behaviour, HostileConnections},
    },
    server::{
        Server,
        process::{Process, reserve_open_files},
        sqlite_in,
    },
};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// The memory of the program and about one MiB for each connection of the flood.
const MOST_MEMORY_MIB: u64 = 64;

/// The hostile connections and some other files.
const OPEN_FILES: u32 = 2000;

/// How long Kubernetes waits for liveness in the manifests.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

async fn start_with_health_port() -> (Server, u16, TempDir) {
    let directory = directory();
    let args = ["--health-listen", "127.0.0.1:0"];
    let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    let port = server.logged_port("health_address").expect("a port");
    (server, port, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_port_limits_message_size_and_concurrent_calls() {
    let (_server, port, _directory) = start_with_health_port().await;
    let endpoint = Channel::from_shared(format!("http://127.0.0.1:{port}"));
    let channel = endpoint.expect("an address").connect().await;
    let mut health = HealthClient::new(channel.expect("connected"));
    for (length, code) in [
        (200, Code::NotFound),
        (300, Code::ResourceExhausted),
        (4_200_000, Code::ResourceExhausted),
    ] {
        let service = "x".repeat(length);
        let refused = health.check(HealthCheckRequest { service }).await;
        let refused = refused.expect_err("no such service");
        assert_eq!(refused.code(), code);
        // The setting is for the other port.
        assert!(
            !refused.message().contains("--max-message-size"),
            "{refused}"
        );
    }

    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let mut raw = RawClient::connect_with_preface(port).await;
    let settings = raw.read_frame().await.expect("a frame");
    assert_eq!(settings.setting(MAX_CONCURRENT_STREAMS), Some(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_probes_take_little_memory() {
    let (server, port, _directory) = start_with_health_port().await;
    let process = Process(server.pid());
    process.reset_peak_memory();
    let before = process.memory();
    let (until, seed) = (Instant::now(), 0);
    let report = PROBES.run(Target { port, until, seed }).await;
    let highest = process.peak_memory();
    println!("{}: {report}", PROBES.name);
    println!("    memory before {before} MiB, highest {highest} MiB");
    assert!(highest <= MOST_MEMORY_MIB, "{highest} MiB");
}

/// Clients that hold a connection without a word, and connect again as soon as it is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_answered_in_time_beside_a_thousand_silent_connections() {
    let _files = reserve_open_files(OPEN_FILES).await;
    let (_server, port, _directory) = start_with_health_port().await;
    let silent = HostileConnections::open(port, Behaviour::Silent);
    eventually("all connections are open", async || silent.are_all_open()).await;
    for probe in 0..20 {
        // As Kubernetes does, each on a connection of its own.
        let endpoint = Channel::from_shared(format!("http://127.0.0.1:{port}"));
        let endpoint = endpoint.expect("an address");
        let answer = async {
            let mut health = HealthClient::new(endpoint.connect().await?);
            let answer = health.check(HealthCheckRequest::default()).await;
            Ok::<_, tonic::transport::Error>(answer)
        };
        let answer = timeout(PROBE_TIMEOUT, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("probe {probe} is answered in time"));
        answer.expect("connected").expect("answered");
    }
    println!("{} connections", silent.opened());
}
