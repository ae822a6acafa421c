//! A burst of writes costs the database a few commits and renewals, and not one for each write.

use crate::support::{
    eventually,
    postgres::{Cluster, database_in, table_lock::TableLock},
    server::{
        Server,
        scrape::{METRICS, Scrape},
    },
};
use futures::future::join_all;

/// With these settings, no replica renews its lease unless there is a write.
const NO_POLLING: [&str; 3] = ["--lease=60s", "--renewal-interval=20s", METRICS];

const WRITES: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_writes_costs_each_replica_at_most_two_renewals_a_commit() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let start = || Server::start_with(&store, &NO_POLLING, &[]);
    let servers = [start().await, start().await, start().await];
    let mut client = servers[0].client().await;
    client.create_key().await;
    let count = |sql| {
        let count = cluster.psql(database_in(&store), sql);
        count.parse::<usize>().expect("a count")
    };
    let renewals = || count("SELECT sum(renewals) FROM keyservice.replicas");
    let commits = || count("SELECT count(DISTINCT xmin::text) FROM keyservice.writes");
    let before = (renewals(), commits());

    let lock = TableLock::against_writes("keys", &store).await;
    let creates = (0..WRITES).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.create("acme", "one of many").await })
    });
    let creates: Vec<_> = creates.collect();
    eventually("most of them wait for their turn", async || {
        Scrape::of(&servers[0]).value("keyservice_pool_waiting") >= 3.0 / 4.0 * WRITES as f64
    })
    .await;
    drop(lock);
    for created in join_all(creates).await {
        created.expect("no panic").expect("created");
    }
    let (renewals, commits) = (renewals() - before.0, commits() - before.1);
    println!("{WRITES} writes: {commits} commits, {renewals} renewals of 3 replicas");
    assert!(commits <= WRITES / 4, "{commits}");
    assert!(renewals <= 2 * commits * servers.len(), "{renewals}");
}
