//! A well-behaved client is served beside every flood of garbage, and memory stays bounded.

use crate::support::{
    bystander::Bystander,
    callers::Shown,
    certificates::{self, Authority},
    directory, eventually,
    flood::{self, Aim, Flood},
    frames::RawClient,
    process::{Process, need_open_files},
    server::{Client, Server, command, sqlite_in},
};
use keyservice::grpc::proto::key_service_client::KeyServiceClient;
use std::{process::Command, time::Duration};
use tokio::time::{Instant, sleep};
use tonic::transport::Endpoint;

/// How long a flood goes on at least.
const LENGTH: Duration = Duration::from_millis(1500);

/// Generous, since flood, server and bystander share a machine of two processors with other tests,
/// and a system without room for one more connection makes its client try again after a second.
const SLOWEST: Duration = Duration::from_secs(2);

/// Less than the default, so that going past it takes no seconds.
const MAX_CALLS: &str = "2048";

/// 4096 connections at some 20 KiB and these calls at some 16 KiB come to half of it; the rest is for
/// the program, and for what an allocator keeps.
const MOST_MEMORY_MIB: u64 = 256;

/// Sockets of the largest flood, and files beside them.
const OPEN_FILES: u64 = 11_000;

/// How long a server out of files is looked at.
const OUT_OF_FILES: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_served_beside_every_flood_and_memory_stays_bounded() {
    let directory = directory();
    let args = ["--max-calls", MAX_CALLS];
    let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    stand_all(flood::PLAIN, &server, &server.endpoint()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_served_beside_every_flood_of_a_server_with_tls() {
    let (authority, directory) = (Authority::new(), directory());
    let issued = authority.server("localhost");
    let path = |name| directory.path().join(name).display().to_string();
    let (certificate, key) = (path("tls.crt"), path("tls.key"));
    std::fs::write(&certificate, &issued.certificate).expect("written");
    std::fs::write(&key, &issued.key).expect("written");
    let args = ["--tls-cert", &certificate, "--tls-key", &key];
    let server = Server::spawn(&sqlite_in(&directory), &args, &[]).await;
    let endpoint = certificates::endpoint(server.port(), &authority, None);
    stand_all(flood::TLS, &server, &endpoint).await;
}

async fn stand_all(floods: &[Flood], server: &Server, endpoint: &Endpoint) {
    need_open_files(OPEN_FILES);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let channel = endpoint.connect().await.expect("it is connected");
    let mut client = Client(KeyServiceClient::new(channel));
    let (token, _) = client.create_key().await;
    for flood in floods {
        stand(
            *flood,
            seed,
            server,
            Bystander::start(endpoint.clone(), Shown::none(), token.clone()),
        )
        .await;
    }
}

async fn stand(flood: Flood, seed: u64, server: &Server, bystander: Bystander) {
    let process = Process(server.pid());
    process.forget_highest_memory();
    let before = process.memory();
    let aim = Aim {
        port: server.port(),
        until: Instant::now() + LENGTH,
        seed,
    };
    let started = Instant::now();
    let course = flood.run(aim).await;
    let length = started.elapsed().as_secs_f64();
    let served = bystander.stop();
    let (highest, after) = (process.highest_memory(), process.memory());
    println!("{}: {course} in {length:.1} s", flood.name);
    println!("    beside it {served}");
    println!("    memory before {before} MiB, highest {highest} MiB, after {after} MiB");
    assert!(served.slowest() <= SLOWEST, "{}: {served}", flood.name);
    assert!(highest <= MOST_MEMORY_MIB, "{}: {highest} MiB", flood.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_files_it_serves_on_and_recovers_without_a_spin_or_a_flood_of_log_lines() {
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
    eventually("there are no more files", async || complaints() > 0).await;

    let (lines, cpu_time) = (server.log().lines().count(), process.cpu_time());
    let started = Instant::now();
    while started.elapsed() < OUT_OF_FILES {
        assert!(client.is_granted(&token).await);
        sleep(Duration::from_millis(50)).await;
    }
    let busy = (process.cpu_time() - cpu_time).as_secs_f64() / started.elapsed().as_secs_f64();
    let lines = server.log().lines().count() - lines;
    println!(
        "out of files: {:.0} % of a processor, {lines} lines",
        busy * 100.0
    );
    assert!(busy < 0.2, "it spins");
    assert_eq!((complaints(), lines), (1, 0), "{}", server.log());

    process.limit_open_files(OPEN_FILES);
    let mut new_client = server.client().await;
    assert!(new_client.is_granted(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_the_store_files_to_open() {
    const ALLOWED: usize = 192;
    let directory = directory();
    let mut limited = limited_to_open_files(ALLOWED, &command(&sqlite_in(&directory)));
    let server = Server::listening(&mut limited).await;
    server.health().await.until_serving().await;
    assert!(
        server.log().contains("the system allows 192 open files"),
        "{}",
        server.log()
    );
    let mut idle = Vec::new();
    for _ in 0..2 * ALLOWED {
        idle.push(RawClient::greeting(server.port()).await);
    }
    let (token, _) = server.client().await.create_key().await;
    assert!(server.client().await.is_granted(&token).await);
    let open_files = Process(server.pid()).open_files();
    assert!(open_files < ALLOWED / 2, "{open_files}");
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}

/// The same command, in a system that allows it no more open files than this.
fn limited_to_open_files(count: usize, serve: &Command) -> Command {
    let mut limited = Command::new("bash");
    limited
        .args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\"")])
        .arg(serve.get_program())
        .args(serve.get_args());
    limited
}
