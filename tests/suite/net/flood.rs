//! A well-behaved client is served beside every flood of garbage, and memory stays bounded.

use crate::support::{
    certificates::{self, Authority},
    clients::{callers::Bearer, well_behaved::WellBehavedClient},
    directory, eventually,
    hostile::{
        flood::{self, Flood, Target},
        frames::RawClient,
    },
    server::{
        Client, Server, command,
        process::{Process, reserve_open_files},
        sqlite_in,
    },
};
use keyservice::grpc::proto::key_service_client::KeyServiceClient;
use std::{process::Command, time::Duration};
use tokio::time::{Instant, sleep};
use tonic::transport::Endpoint;

/// The least time for which a flood lasts.
const LENGTH: Duration = Duration::from_millis(1500);

/// Generous, since the flood, the server and the client share two processors with other tests. Also,
/// when the backlog of the system is full, a client tries to connect again after a second, and then after two.
const SLOWEST: Duration = Duration::from_secs(4);

/// Less than the default, so that a flood exceeds it quickly.
const MAX_CALLS: &str = "2048";

/// 4096 connections of about 20 KiB each and 2048 calls of about 16 KiB each take half of this. The
/// rest is for the program and for memory that the allocator keeps.
const MOST_MEMORY_MIB: u64 = 256;

/// The sockets of the largest flood and some other files.
const OPEN_FILES: u32 = 11_000;

/// How long the test observes a server that can open no more files.
const OBSERVATION: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_served_beside_every_flood_and_memory_stays_bounded() {
    let directory = directory();
    let args = ["--max-calls", MAX_CALLS];
    let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    run_floods(flood::PLAIN, &server, &server.endpoint()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_client_is_served_beside_every_flood_and_memory_stays_bounded() {
    let (authority, directory) = (Authority::new(), directory());
    let issued = authority.server("localhost");
    let path = |name| directory.path().join(name).display().to_string();
    let (certificate, key) = (path("tls.crt"), path("tls.key"));
    std::fs::write(&certificate, &issued.certificate).expect("written");
    std::fs::write(&key, &issued.key).expect("written");
    let args = ["--tls-cert", &certificate, "--tls-key", &key];
    let server = Server::start_listening(&sqlite_in(&directory), &args, &[]).await;
    let endpoint = certificates::endpoint(server.port(), &authority, None);
    run_floods(flood::TLS, &server, &endpoint).await;
}

async fn run_floods(floods: &[Flood], server: &Server, endpoint: &Endpoint) {
    let _files = reserve_open_files(OPEN_FILES).await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let channel = endpoint.connect().await.expect("it is connected");
    let mut client = Client(KeyServiceClient::new(channel));
    let (token, _) = client.create_key().await;
    for flood in floods {
        run_flood(
            *flood,
            seed,
            server,
            WellBehavedClient::start(endpoint.clone(), Bearer::none(), token.clone()),
        )
        .await;
    }
}

async fn run_flood(flood: Flood, seed: u64, server: &Server, well_behaved: WellBehavedClient) {
    let process = Process(server.pid());
    process.reset_peak_memory();
    let before = process.memory();
    let target = Target {
        port: server.port(),
        until: Instant::now() + LENGTH,
        seed,
    };
    let started = Instant::now();
    let report = flood.run(target).await;
    let length = started.elapsed().as_secs_f64();
    let served = well_behaved.stop();
    let (highest, after) = (process.peak_memory(), process.memory());
    println!("{}: {report} in {length:.1} s", flood.name);
    println!("    beside it {served}");
    println!("    memory before {before} MiB, highest {highest} MiB, after {after} MiB");
    assert!(served.slowest() <= SLOWEST, "{}: {served}", flood.name);
    assert!(highest <= MOST_MEMORY_MIB, "{}: {highest} MiB", flood.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_free_file_descriptors_serves_open_connections_and_recovers() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    let process = Process(server.pid());
    process.limit_open_files(process.open_files() as u64 + 4);
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(RawClient::connect(server.port()).await);
    }
    let complaints = || server.log().matches("cannot accept connections").count();
    eventually("the server can open no more files", async || {
        complaints() > 0
    })
    .await;

    let (lines, cpu_time) = (server.log().lines().count(), process.cpu_time());
    let started = Instant::now();
    while started.elapsed() < OBSERVATION {
        assert!(client.is_granted(&token).await);
        sleep(Duration::from_millis(50)).await;
    }
    let busy = (process.cpu_time() - cpu_time).as_secs_f64() / started.elapsed().as_secs_f64();
    let lines = server.log().lines().count() - lines;
    println!(
        "out of files: {:.0} % of a processor, {lines} lines",
        busy * 100.0
    );
    assert!(busy < 0.2, "it retries without a pause");
    assert_eq!((complaints(), lines), (1, 0), "{}", server.log());

    process.limit_open_files(OPEN_FILES.into());
    let mut new_connection = server.client().await;
    assert!(new_connection.is_granted(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_file_descriptors_for_the_store() {
    const ALLOWED: usize = 192;
    let directory = directory();
    let mut limited = with_open_file_limit(ALLOWED, &command(&sqlite_in(&directory)));
    let server = Server::start_command_listening(&mut limited).await;
    server.health().await.wait_until_serving().await;
    assert!(
        server.log().contains("the system allows 192 open files"),
        "{}",
        server.log()
    );
    let mut idle = Vec::new();
    for _ in 0..2 * ALLOWED {
        idle.push(RawClient::connect_with_preface(server.port()).await);
    }
    let (token, _) = server.client().await.create_key().await;
    // A connection that was just made may be the next to go, while strangers' are still set up.
    eventually("a caller is answered", async || {
        server.client().await.is_granted(&token).await
    })
    .await;
    let open_files = Process(server.pid()).open_files();
    assert!(open_files < ALLOWED / 2, "{open_files}");
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}

/// The same command with a limit on open files.
fn with_open_file_limit(count: usize, serve: &Command) -> Command {
    let mut limited = Command::new("bash");
    limited
        .args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\"")])
        .arg(serve.get_program())
        .args(serve.get_args())
        .envs(
            serve
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    limited
}
