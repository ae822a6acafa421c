//! Measures what it costs that a revocation is complete when it returns.
//!
//! `cargo bench --bench revocation`
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};
use support::{
    postgres::Cluster,
    server::{Client, Server},
};
use tokio_postgres::NoTls;

const REPLICAS: [usize; 3] = [1, 3, 10];
const REVOKES: usize = 300;
const KILLS: usize = 5;
const IDLE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let mut cluster = Cluster::start();
    println!(
        "\n| replicas | Revoke p50 | p99 | most | RemoveDomain p50 | p99 | most | \
         Revoke's statement alone, p50 | p99 |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for replicas in REPLICAS {
        measure_revokes(&cluster, replicas).await;
    }
    measure_idle(&cluster).await;
    measure_killed_replica(&cluster).await;
    measure_restart(&mut cluster).await;
}

async fn measure_revokes(cluster: &Cluster, replicas: usize) {
    let address = cluster.create_database();
    let servers = start(&address, replicas).await;
    let mut client = servers[0].client().await;
    let (database, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    let alone = database
        .prepare("SELECT keyservice.revoke_key($1, NULL, NULL, now())")
        .await
        .unwrap();

    let mut domains = servers[0].domains().await;
    let [mut revokes, mut removals, mut statements] = [(); 3].map(|()| Vec::new());
    // In turns, so that all have the same share of a noisy machine.
    for number in 0..REVOKES {
        let key_id = create(&mut client).await;
        revokes.push(time(client.revoke(&key_id)).await);
        let name = format!("customer-{number}.example");
        domains.add("acme", &name).await.unwrap();
        removals.push(time(domains.remove("acme", &name)).await);
        let key_id = keyservice::model::key::KeyId::parse(&create(&mut client).await).unwrap();
        statements.push(time(database.query(&alone, &[&key_id.as_uuid()])).await);
    }
    for times in [&mut revokes, &mut removals, &mut statements] {
        times.sort();
    }
    let columns = |times: &[Duration]| {
        let [p50, p99] = [50, 99].map(|percent| millis(times[REVOKES * percent / 100]));
        format!("{p50} | {p99}")
    };
    let with_most =
        |times: &[Duration]| format!("{} | {}", columns(times), millis(times[REVOKES - 1]));
    println!(
        "| {replicas} | {} | {} | {} |",
        with_most(&revokes),
        with_most(&removals),
        columns(&statements),
    );
}

/// Measures how often replicas without any calls renew their leases.
async fn measure_idle(cluster: &Cluster) {
    let address = cluster.create_database();
    let replicas = 10;
    let _servers = start(&address, replicas).await;
    let database = address.rsplit('/').next().unwrap().to_owned();
    let renewals = || {
        let sum = "SELECT sum(renewals) FROM keyservice.replicas";
        cluster.psql(&database, sum).parse::<u64>().unwrap()
    };
    let (before, started) = (renewals(), Instant::now());
    tokio::time::sleep(IDLE).await;
    let rate = (renewals() - before) as f64 / started.elapsed().as_secs_f64();
    println!(
        "\nidle, lease 2 s: {:.1} renewals a second and replica",
        rate / replicas as f64
    );
}

async fn measure_killed_replica(cluster: &Cluster) {
    let mut waits = Vec::new();
    for _ in 0..KILLS {
        let address = cluster.create_database();
        let mut servers = start(&address, 3).await;
        let mut client = servers[0].client().await;
        let key_id = create(&mut client).await;
        servers.pop().unwrap().kill().await;
        waits.push(time(client.revoke(&key_id)).await);
    }
    waits.sort();
    println!(
        "one of 3 replicas killed, lease 2 s: Revoke waits {} to {}",
        millis(waits[0]),
        millis(waits[KILLS - 1])
    );
}

/// Measures the longest time without an answer from Authorize while PostgreSQL is killed and
/// started again.
async fn measure_restart(cluster: &mut Cluster) {
    let servers = start(&cluster.create_database(), 1).await;
    let mut client = servers[0].client().await;
    let token = client.create("acme", "bench").await.unwrap().token;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let asking = tokio::spawn(longest_silence(client, token, stopped));
    let down = Instant::now();
    cluster.kill();
    cluster.restart();
    let down = down.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _ = stop.send(());
    let (silence, answers) = asking.await.unwrap();
    println!(
        "PostgreSQL killed and back after {}: Authorize was unavailable for {} at most, in {answers} answers",
        millis(down),
        millis(silence)
    );
}

async fn longest_silence(
    mut client: Client,
    token: String,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) -> (Duration, usize) {
    let (mut longest, mut last_answer, mut answers) = (Duration::ZERO, Instant::now(), 0);
    while stopped.try_recv().is_err() {
        if client.is_granted(&token).await {
            longest = longest.max(last_answer.elapsed());
            last_answer = Instant::now();
            answers += 1;
        }
    }
    (longest.max(last_answer.elapsed()), answers)
}

async fn start(address: &str, replicas: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for _ in 0..replicas {
        servers.push(Server::start(address).await);
    }
    servers
}

async fn create(client: &mut Client) -> String {
    let created = client.create("acme", "bench").await.unwrap();
    created.key.unwrap().key_id
}

async fn time<T, E: std::fmt::Debug>(call: impl Future<Output = Result<T, E>>) -> Duration {
    let started = Instant::now();
    call.await.unwrap();
    started.elapsed()
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
