//! Changes, suspensions and rotations of keys.

use super::{
    ACCOUNT, kill_postgres_under_a_running_server, kill_the_server_on_postgres_while_it_writes,
    kill_the_server_on_sqlite_while_it_writes,
};
use crate::support::{
    eventually,
    server::{Client, Server},
};
use keyservice::grpc::proto::{
    GetRequest, ResumeRequest, RotateRequest, Scope, SuspendRequest, UpdateRequest,
    authorize_response::Decision, denial::Reason, get_request, key::Status, rotate_request, scope,
    suspend_request,
};
use prost_types::{Duration, FieldMask};
use rand::{RngExt, rngs::StdRng};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::task::JoinSet;

const DOMAINS: [&str; 2] = ["first.example", "second.example"];

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_changes_on_sqlite_survive_a_kill_of_the_server() {
    kill_the_server_on_sqlite_while_it_writes::<Ledger>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_changes_on_postgres_survive_a_kill_of_the_server() {
    kill_the_server_on_postgres_while_it_writes::<Ledger>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_changes_survive_a_kill_of_postgres_under_a_running_server() {
    kill_postgres_under_a_running_server::<Ledger>().await;
}

/// What the service answers for the second domain.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Granted,
    /// The key is for the first domain alone.
    Narrow,
    Suspended,
    Revoked,
}

/// The id and the state of each key, by its token. `None` stands for a call that was sent and not answered.
type Keys = BTreeMap<String, (String, Option<State>)>;

/// What the clients know of each key.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Keys>>);

impl super::Ledger for Ledger {
    async fn prepare(server: &Server) -> Self {
        for domain in DOMAINS {
            let added = server.domains().await.add(ACCOUNT, domain).await;
            added.expect("added");
        }
        Self::default()
    }

    async fn start_writer(&self, server: &Server, rng: StdRng, writers: &mut JoinSet<()>) {
        let (ledger, client) = (self.clone(), server.client().await);
        writers.spawn(async move { ledger.write(client, rng).await.unwrap_or(()) });
    }

    fn len(&self) -> usize {
        self.keys().len()
    }

    async fn check(&self, server: &Server, _: &str) {
        let mut client = server.client().await;
        let keys = self.keys().clone();
        for (token, (key_id, known)) in keys {
            let mut stored = None;
            eventually("the store answers again", async || {
                stored = stored_state(&mut client, &key_id).await;
                stored.is_some()
            })
            .await;
            assert!(known.is_none() || known == stored, "{known:?}, {stored:?}");
            // The server learns of a call without an answer as of a write of another replica.
            eventually("Authorize decides by the store", async || {
                let answer = client.authorize(&token, DOMAINS[1]).await;
                answer.ok().map(|decision| decided(&decision)) == stored
            })
            .await;
        }
    }
}

impl Ledger {
    /// Ends with the first call that fails.
    async fn write(self, mut client: Client, mut rng: StdRng) -> Option<()> {
        loop {
            let (token, key_id) = {
                let created = client.create(ACCOUNT, "in a stream").await.ok()?;
                (created.token, created.key?.key_id)
            };
            let note = |state| {
                self.keys().insert(token.clone(), (key_id.clone(), state));
            };
            note(None);
            match rng.random_range(0..4) {
                0 => {
                    client.0.update(narrow(&key_id)).await.ok()?;
                    note(Some(State::Narrow));
                }
                1 => {
                    client.0.suspend(suspend(&key_id)).await.ok()?;
                    note(Some(State::Suspended));
                }
                2 => {
                    client.0.suspend(suspend(&key_id)).await.ok()?;
                    client.0.resume(resume(&key_id)).await.ok()?;
                    note(Some(State::Granted));
                }
                _ => {
                    let rotated = client.0.rotate(rotate(&key_id)).await.ok()?.into_inner();
                    note(Some(State::Revoked));
                    let successor = (rotated.key?.key_id, Some(State::Granted));
                    self.keys().insert(rotated.token, successor);
                }
            }
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().expect("unpoisoned")
    }
}

async fn stored_state(client: &mut Client, key_id: &str) -> Option<State> {
    let request = GetRequest {
        target: Some(get_request::Target::KeyId(key_id.into())),
        account_id: None,
    };
    let key = client.0.get(request).await.ok()?.into_inner().key?;
    Some(match (key.status(), key.scope?.kind?) {
        (Status::Revoked, _) => State::Revoked,
        (Status::Suspended, _) => State::Suspended,
        (_, scope::Kind::Domain(_)) => State::Narrow,
        _ => State::Granted,
    })
}

fn decided(decision: &Decision) -> State {
    match decision {
        Decision::Grant(_) => State::Granted,
        Decision::Denial(denial) => match denial.reason() {
            Reason::DomainNotAllowed => State::Narrow,
            Reason::Suspended => State::Suspended,
            Reason::Revoked => State::Revoked,
            reason => panic!("{reason:?}"),
        },
    }
}

fn narrow(key_id: &str) -> UpdateRequest {
    UpdateRequest {
        key_id: key_id.into(),
        scope: Some(Scope {
            kind: Some(scope::Kind::Domain(DOMAINS[0].into())),
        }),
        update_mask: Some(FieldMask {
            paths: vec!["scope".into()],
        }),
        ..UpdateRequest::default()
    }
}

fn suspend(key_id: &str) -> SuspendRequest {
    SuspendRequest {
        target: Some(suspend_request::Target::KeyId(key_id.into())),
        account_id: None,
        reason: "abuse".into(),
    }
}

fn resume(key_id: &str) -> ResumeRequest {
    ResumeRequest {
        key_id: key_id.into(),
        account_id: None,
    }
}

/// The predecessor is revoked in the same write.
fn rotate(key_id: &str) -> RotateRequest {
    RotateRequest {
        target: Some(rotate_request::Target::KeyId(key_id.into())),
        overlap: Some(Duration::default()),
        ..RotateRequest::default()
    }
}
