//! Creations and revocations of keys.

use super::{
    ACCOUNT, kill_postgres_under_a_running_server, kill_the_server_on_postgres_while_it_writes,
    kill_the_server_on_sqlite_while_it_writes,
};
use crate::support::{
    eventually,
    server::{Client, Server, audit_command::records},
};
use keyservice::grpc::proto::{Key, key::Status};
use rand::{RngExt, rngs::StdRng};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_on_sqlite_survive_a_kill_of_the_server() {
    kill_the_server_on_sqlite_while_it_writes::<Ledger>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_on_postgres_survive_a_kill_of_the_server() {
    kill_the_server_on_postgres_while_it_writes::<Ledger>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_a_kill_of_postgres_under_a_running_server() {
    kill_postgres_under_a_running_server::<Ledger>().await;
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

impl super::Ledger for Ledger {
    async fn prepare(server: &Server) -> Self {
        let added = server.domains().await.add(ACCOUNT, "example.com").await;
        added.expect("added");
        Self::default()
    }

    async fn start_writer(&self, server: &Server, rng: StdRng, writers: &mut JoinSet<()>) {
        writers.spawn(self.clone().write(server.client().await, rng));
    }

    fn len(&self) -> usize {
        self.entries().len()
    }

    /// Every key is listed, exactly the revoked keys are denied, and exactly the committed writes are
    /// recorded.
    async fn check(&self, server: &Server, store: &str) {
        let mut client = server.client().await;
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
}

impl Ledger {
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
