//! Acknowledged additions and removals of domains survive `kill -9` of the service and of PostgreSQL.

use crate::support::{
    eventually,
    postgres::Cluster,
    server::{Server, command, domains::Domains, sqlite_in},
};
use keyservice::grpc::proto::authorize_response::Decision;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::task::JoinSet;

const ACCOUNT: &str = "acme";
const ROUNDS: usize = 3;
const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_domains_on_sqlite_survive_a_kill_of_the_server() {
    let directory = tempfile::tempdir().expect("a directory");
    kill_the_server_while_it_writes(&sqlite_in(&directory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_domains_on_postgres_survive_a_kill_of_the_server() {
    let cluster = Cluster::shared();
    kill_the_server_while_it_writes(&cluster.create_database()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_domains_survive_a_kill_of_postgres_under_a_running_server() {
    let mut rng = seeded_random();
    let mut cluster = Cluster::start();
    let server = start(&cluster.create_database()).await;
    let token = server.client().await.create_key().await.0;
    let ledger = Ledger::default();
    for _ in 0..ROUNDS {
        let writers = ledger.write_until_a_call_fails(&server, &mut rng).await;
        cluster.kill();
        writers.join_all().await;
        cluster.restart();
        ledger.check(&server, &token).await;
    }
}

async fn kill_the_server_while_it_writes(store: &str) {
    let mut rng = seeded_random();
    let mut server = start(store).await;
    let token = server.client().await.create_key().await.0;
    let ledger = Ledger::default();
    for _ in 0..ROUNDS {
        let writers = ledger.write_until_a_call_fails(&server, &mut rng).await;
        server.kill().await;
        writers.join_all().await;
        server = start(store).await;
        ledger.check(&server, &token).await;
    }
}

async fn start(store: &str) -> Server {
    Server::start_command(command(store).env_remove("KEYSERVICE_VERIFIED_DOMAINS")).await
}

fn seeded_random() -> StdRng {
    let seed = rand::random();
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// What the clients know of each domain. `None` stands for a call that was sent and not answered.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<BTreeMap<String, Option<bool>>>>);

impl Ledger {
    /// Starts clients that add domains and remove some of them, and waits until they have written some.
    async fn write_until_a_call_fails(&self, server: &Server, rng: &mut StdRng) -> JoinSet<()> {
        let before = self.domains().len();
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let rng = StdRng::seed_from_u64(rng.random());
            writers.spawn(self.clone().write(server.domains().await, rng));
        }
        let count = rng.random_range(10..60);
        eventually("the clients write", async || {
            self.domains().len() >= before + count
        })
        .await;
        writers
    }

    async fn write(self, mut client: Domains, mut rng: StdRng) {
        loop {
            let name = format!("d{}.example", rng.random::<u64>());
            let note = |is_verified| self.domains().insert(name.clone(), is_verified);
            note(None);
            if client.add(ACCOUNT, &name).await.is_err() {
                return;
            }
            note(Some(true));
            if rng.random_bool(0.5) {
                note(None);
                if client.remove(ACCOUNT, &name).await.is_err() {
                    return;
                }
                note(Some(false));
            }
        }
    }

    /// Checks that what was acknowledged stands, and that exactly the listed domains are granted.
    async fn check(&self, server: &Server, token: &str) {
        let mut listed = BTreeSet::new();
        eventually("the store answers again", async || {
            let answer = server.domains().await.names(ACCOUNT).await;
            answer.is_ok_and(|names| {
                listed = names;
                true
            })
        })
        .await;
        let mut client = server.client().await;
        let domains = self.domains().clone();
        for (name, known) in domains {
            let is_listed = listed.contains(&name);
            assert!(known.is_none_or(|known| known == is_listed), "{name}");
            // The server learns of a call without an answer as of a write of another replica.
            eventually("Authorize decides by the store", async || {
                let answer = client.authorize(token, &name).await;
                answer.is_ok_and(|answer| matches!(answer, Decision::Grant(_)) == is_listed)
            })
            .await;
        }
    }

    fn domains(&self) -> MutexGuard<'_, BTreeMap<String, Option<bool>>> {
        self.0.lock().expect("unpoisoned")
    }
}
