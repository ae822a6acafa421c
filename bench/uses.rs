//! Measures what the uses of keys cost PostgreSQL, if all keys are in steady use.
//!
//! `cargo bench --bench uses -- [KEYS]`
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "../tests/support/mod.rs"]
mod support;

use keyservice::{model::key::KeyId, store::NotedUse};
use std::time::Instant;
use support::{postgres::session, stores::Stores, uses::minute};
use tokio_postgres::Client;

/// As `replication/uses.rs` has them.
const BATCH_LEN: usize = 500;
const MINUTES_BETWEEN_TWO: i64 = 58;

#[tokio::main]
async fn main() {
    // Skips `--bench`, which Cargo adds.
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let keys = numbers.next().unwrap_or(1_000_000_usize);
    let stores = Stores::postgres().await;
    stores.insert_active_keys(keys).await;
    let session = session(&stores.address).await;
    session
        .batch_execute("ANALYZE keyservice.keys")
        .await
        .unwrap();
    // As memory has them: in the order in which the keys were loaded.
    let rows = session
        .query("SELECT key_id FROM keyservice.keys", &[])
        .await
        .unwrap();
    let ids: Vec<_> = rows
        .iter()
        .map(|row| KeyId::from_uuid(row.get(0)))
        .collect();
    println!("\n| uses of {keys} keys | s | rows a second | bytes of WAL a row |");
    println!("|---|---:|---:|---:|");
    let mut bytes_a_row = 0.0;
    for (round, name) in ["first", "an hour later", "two hours later"]
        .iter()
        .enumerate()
    {
        session.batch_execute("CHECKPOINT").await.unwrap();
        let (started, written) = (Instant::now(), wal(&session).await);
        let time = minute(round as i64 * MINUTES_BETWEEN_TWO);
        for batch in ids.chunks(BATCH_LEN) {
            let noted = batch.iter().map(|&key_id| NotedUse {
                key_id,
                time,
                unless_since: time,
            });
            let noted: Vec<_> = noted.collect();
            let stored = stores.first.uses.record_uses(&noted).await.unwrap();
            assert_eq!(stored.len(), batch.len());
        }
        let seconds = started.elapsed().as_secs_f64();
        bytes_a_row = (wal(&session).await - written) as f64 / keys as f64;
        let rate = keys as f64 / seconds;
        println!("| {name} | {seconds:.1} | {rate:.0} | {bytes_a_row:.0} |");
    }
    let rows = keys as f64 / (MINUTES_BETWEEN_TWO * 60) as f64;
    println!("\n| on average, all in use | rows a second | kB of WAL a second |");
    println!("|---|---:|---:|");
    println!(
        "| {keys} keys | {rows:.0} | {:.0} |",
        rows * bytes_a_row / 1000.0
    );
}

async fn wal(session: &Client) -> i64 {
    let read = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
    session.query_one(read, &[]).await.unwrap().get(0)
}
