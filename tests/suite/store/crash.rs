//! Acknowledged writes survive `kill -9` of the service and of PostgreSQL.

use crate::support::{
    eventually,
    postgres::Cluster,
    server::{Client, Server, audit_command::records, sqlite_in},
};
use keyservice::grpc::proto::{Key, key::Status};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

const ACCOUNT: &str = "acme";
const ROUNDS: usize = 3;
const WRITERS: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_on_sqlite_survive_a_kill_of_the_server() {
    let directory = tempfile::tempdir().expect("a directory");
    kill_the_server_while_it_writes(&sqlite_in(&directory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_on_postgres_survive_a_kill_of_the_server() {
    let cluster = Cluster::start();
    kill_the_server_while_it_writes(&cluster.create_database()).await;
}

async fn kill_the_server_while_it_writes(store: &str) {
    let mut rng = seeded_random();
    let ledger = Ledger::default();
    for _ in 0..ROUNDS {
        let server = Server::start(store).await;
        let writers = ledger.start_writers(&server, &mut rng).await;
        ledger.wait_for_more_keys(rng.random_range(10..100)).await;
        server.kill().await;
        writers.await;

        let server = Server::start(store).await;
        ledger.check(&mut server.client().await, store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_a_kill_of_postgres_under_a_running_server() {
    let mut rng = seeded_random();
    let mut cluster = Cluster::start();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let ledger = Ledger::default();
    for _ in 0..ROUNDS {
        let writers = ledger.start_writers(&server, &mut rng).await;
        ledger.wait_for_more_keys(rng.random_range(10..100)).await;
        cluster.kill();
        writers.await;

        cluster.restart();
        ledger.check(&mut server.client().await, &store).await;
    }
}

fn seeded_random() -> StdRng {
    let seed = rand::random();
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// The answers that the clients got, by token.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Clone)]
struct Entry {
    key_id: String,
    revocation: Revocation,
}

#[derive(Clone, Copy, PartialEq)]
enum Revocation {
    NotAsked,
    /// The Revoke was sent and not answered, so it may or may not have been committed.
    InDoubt,
    Acknowledged,
}

impl Ledger {
    /// Starts clients that create keys and revoke some of them until a call fails. The returned future
    /// waits until all clients have ended.
    async fn start_writers(
        &self,
        server: &Server,
        rng: &mut StdRng,
    ) -> impl Future<Output = ()> + use<> {
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let (ledger, client) = (self.clone(), server.client().await);
            let rng = StdRng::seed_from_u64(rng.random());
            writers.push(tokio::spawn(ledger.write(client, rng)));
        }
        async {
            for writer in writers {
                writer.await.expect("no panic");
            }
        }
    }

    async fn write(self, mut client: Client, mut rng: StdRng) {
        while let Ok(created) = client.create(ACCOUNT, "in a stream").await {
            let key_id = created.key.expect("a key").key_id;
            let note = |revocation| {
                let key_id = key_id.clone();
                let entry = Entry { key_id, revocation };
                self.entries().insert(created.token.clone(), entry);
            };
            note(Revocation::NotAsked);
            if rng.random_bool(0.5) {
                note(Revocation::InDoubt);
                if client.revoke(&key_id).await.is_err() {
                    break;
                }
                note(Revocation::Acknowledged);
            }
        }
    }

    async fn wait_for_more_keys(&self, count: usize) {
        let before = self.entries().len();
        eventually("the clients write", async || {
            self.entries().len() >= before + count
        })
        .await;
    }

    /// Checks that every key is listed, that exactly the revoked keys are denied, and that exactly the
    /// committed writes are recorded.
    async fn check(&self, client: &mut Client, store: &str) {
        let mut listed = Vec::new();
        eventually("the store answers again", async || {
            let answer = client.list(ACCOUNT).await;
            answer.is_ok_and(|keys| {
                listed = keys;
                true
            })
        })
        .await;
        eventually("the replica has a lease again", async || {
            client.authorize("", "example.com").await.is_ok()
        })
        .await;
        assert_recorded(&listed, store);
        let entries = self.entries().clone();
        assert!(entries.len() >= 10);
        for (token, entry) in entries {
            let key = listed.iter().find(|key| key.key_id == entry.key_id);
            let is_revoked = key.expect("it is listed").status() == Status::Revoked;
            match entry.revocation {
                Revocation::NotAsked => assert!(!is_revoked),
                Revocation::Acknowledged => assert!(is_revoked),
                Revocation::InDoubt => {}
            }
            if entry.revocation == Revocation::InDoubt {
                // If it was committed, the server learns of it as of a write of another replica.
                eventually("Authorize decides by the store", async || {
                    client.is_revoked(&token).await == is_revoked
                })
                .await;
            }
            assert_eq!(client.is_revoked(&token).await, is_revoked);
            assert_eq!(client.is_granted(&token).await, !is_revoked);
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().expect("unpoisoned")
    }
}

/// Asserts that exactly the creations and revocations of these keys are recorded.
fn assert_recorded(listed: &[Key], store: &str) {
    assert!(listed.len() < 1000, "the keys fit on one page");
    let mut expected = BTreeSet::new();
    for key in listed {
        expected.insert(format!("anyone Create OK acme {} 1", key.key_id));
        if key.status() == Status::Revoked {
            expected.insert(format!("anyone Revoke OK acme {} 1", key.key_id));
        }
    }
    let records = records(store, &[]).into_iter();
    let recorded = records.filter(|record| record.contains(" OK acme key_"));
    assert_eq!(recorded.collect::<BTreeSet<_>>(), expected);
}
