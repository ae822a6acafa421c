//! The port for health probes. It is not authenticated, so hostile clients can reach it.

use crate::support::{
    directory,
    hostile::{
        flood::{PROBES, Target},
        frames::RawClient,
    },
    server::{Server, process::Process, sqlite_in},
};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// The memory of the program and about one MiB for each connection of the flood.
const MOST_MEMORY_MIB: u64 = 64;

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
