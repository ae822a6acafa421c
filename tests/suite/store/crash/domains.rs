//! Additions and removals of domains.

use super::{
    ACCOUNT, kill_postgres_under_a_running_server, kill_the_server_on_postgres_while_it_writes,
    kill_the_server_on_sqlite_while_it_writes,
};
use crate::support::{
    eventually,
    server::{Server, domains::Domains},
};
use keyservice::grpc::proto::authorize_response::Decision;
use rand::{RngExt, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_domains_on_sqlite_survive_a_kill_of_the_server() {
    kill_the_server_on_sqlite_while_it_writes::<Ledger>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_domains_on_postgres_survive_a_kill_of_the_server() {
    kill_the_server_on_postgres_while_it_writes::<Ledger>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_domains_survive_a_kill_of_postgres_under_a_running_server() {
    kill_postgres_under_a_running_server::<Ledger>().await;
}

/// What the clients know of each domain. `None` stands for a call that was sent and not answered.
#[derive(Clone)]
struct Ledger {
    domains: Arc<Mutex<BTreeMap<String, Option<bool>>>>,
    token: String,
}

impl super::Ledger for Ledger {
    async fn prepare(server: &Server) -> Self {
        Self {
            domains: Arc::default(),
            token: server.client().await.create_key().await.0,
        }
    }

    async fn start_writer(&self, server: &Server, rng: StdRng, writers: &mut JoinSet<()>) {
        writers.spawn(self.clone().write(server.domains().await, rng));
    }

    fn len(&self) -> usize {
        self.domains().len()
    }

    /// Exactly the listed domains are granted.
    async fn check(&self, server: &Server, _: &str) {
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
                let answer = client.authorize(&self.token, &name).await;
                answer.is_ok_and(|answer| matches!(answer, Decision::Grant(_)) == is_listed)
            })
            .await;
        }
    }
}

impl Ledger {
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

    fn domains(&self) -> MutexGuard<'_, BTreeMap<String, Option<bool>>> {
        self.domains.lock().expect("unpoisoned")
    }
}
