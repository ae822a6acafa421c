//! Measures how many keys many callers create in a second, where writes share commits and where they do not.
//!
//! `cargo bench --bench writes`, or `cargo bench --bench writes -- PROGRAM`, which takes another build of the
//! service as that where they do not.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};
use support::{
    postgres::{Cluster, database_in},
    server::{Client, Server, sqlite_in},
};

const REPLICAS: [usize; 3] = [1, 3, 10];
const CALLERS: usize = 32;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const LONE_WRITES: usize = 200;

/// A way to write.
#[derive(Clone, Copy)]
struct Way<'a> {
    program: &'a str,
    args: &'a [&'a str],
}

#[derive(Default)]
struct Measured {
    creates_a_second: Vec<f64>,
    /// Of each replica, for each Create.
    renewals: Vec<f64>,
    lone_writes: Vec<Duration>,
}

#[tokio::main]
async fn main() {
    let program = env!("CARGO_BIN_EXE_keyservice");
    let before = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let before = match &before {
        Some(before) => Way {
            program: before,
            args: &[],
        },
        None => Way {
            program,
            args: &["--writes-per-commit=1"],
        },
    };
    let now = Way { program, args: &[] };
    let cluster = Cluster::start();
    println!(
        "\n| store | replicas | Creates a second, a commit each | commits shared | ratio | each round | \
         renewals a Create and replica, a commit each | shared | lone Create p50, a commit each | shared |"
    );
    println!("|---|---:|---:|---:|---:|---|---:|---:|---:|---:|");
    for replicas in REPLICAS {
        let mut measured = [Measured::default(), Measured::default()];
        // In turns, so that both have the same share of a noisy machine.
        for _ in 0..ROUNDS {
            for (way, measured) in [before, now].into_iter().zip(&mut measured) {
                measure_on_postgres(way, &cluster, replicas, measured).await;
            }
        }
        print("PostgreSQL", replicas, measured);
    }
    let mut measured = [Measured::default(), Measured::default()];
    for _ in 0..ROUNDS {
        for (way, measured) in [before, now].into_iter().zip(&mut measured) {
            let directory = support::directory();
            let servers = [start(way, &sqlite_in(&directory)).await];
            measure(&servers, measured).await;
        }
    }
    print("SQLite", 1, measured);
}

async fn measure_on_postgres(
    way: Way<'_>,
    cluster: &Cluster,
    replicas: usize,
    measured: &mut Measured,
) {
    let address = cluster.create_database();
    let mut servers = Vec::new();
    for _ in 0..replicas {
        servers.push(start(way, &address).await);
    }
    let renewals = || {
        let sum = "SELECT sum(renewals) FROM keyservice.replicas";
        let sum = cluster.psql(database_in(&address), sum);
        sum.parse::<f64>().unwrap()
    };
    let before = renewals();
    let creates = measure(&servers, measured).await;
    let each = (renewals() - before) / replicas as f64;
    measured.renewals.push(each / creates);
}

/// Gives how many keys it has created.
async fn measure(servers: &[Server], measured: &mut Measured) -> f64 {
    let mut client = servers[0].client().await;
    for _ in 0..LONE_WRITES {
        let started = Instant::now();
        create(&mut client, "alone").await;
        measured.lone_writes.push(started.elapsed());
    }
    let started = Instant::now();
    let callers = (0..CALLERS).map(|number| {
        let server = &servers[number % servers.len()];
        async move {
            let (mut client, account) = (server.client().await, format!("caller-{number}"));
            let mut count = 0_u32;
            while started.elapsed() < ROUND {
                create(&mut client, &account).await;
                count += 1;
            }
            count
        }
    });
    let count: u32 = futures::future::join_all(callers).await.iter().sum();
    let rate = f64::from(count) / started.elapsed().as_secs_f64();
    measured.creates_a_second.push(rate);
    f64::from(count) + LONE_WRITES as f64
}

async fn start(way: Way<'_>, store: &str) -> Server {
    let mut command = Command::new(way.program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    command.args(["--verified-domains", "off", "--store", store]);
    Server::start_command(command.args(way.args)).await
}

async fn create(client: &mut Client, account: &str) {
    client.create(account, "bench").await.unwrap();
}

fn print(store: &str, replicas: usize, mut measured: [Measured; 2]) {
    let ratios = measured[1].creates_a_second.iter();
    let mut ratios: Vec<_> = ratios
        .zip(&measured[0].creates_a_second)
        .map(|(now, before)| now / before)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let [before, now] = measured.each_mut().map(|measured| {
        measured.creates_a_second.sort_by(f64::total_cmp);
        measured.lone_writes.sort();
        let renewals = measured.renewals.iter().sum::<f64>() / ROUNDS as f64;
        let p50 = measured.lone_writes[measured.lone_writes.len() / 2];
        let p50 = format!("{:.2} ms", p50.as_secs_f64() * 1000.0);
        (measured.creates_a_second[ROUNDS / 2], renewals, p50)
    });
    let renewals = |renewals: f64| match store {
        "SQLite" => "–".to_owned(),
        _ => format!("{renewals:.2}"),
    };
    println!(
        "| {store} | {replicas} | {:.0} | {:.0} | {:.1} | {:.1}–{:.1} | {} | {} | {} | {} |",
        before.0,
        now.0,
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1],
        renewals(before.1),
        renewals(now.1),
        before.2,
        now.2,
    );
}
