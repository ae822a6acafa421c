//! A BatchRevoke revokes all of its keys or none, whatever is killed in its middle.

use super::{ACCOUNT, start};
use crate::support::{
    directory, eventually,
    postgres::{Cluster, batch_gate::BatchGate},
    server::{Client, Server, audit_command::records, sqlite_in},
    stores::accept_restore,
};
use keyservice::grpc::proto::{
    BatchRevokeRequest,
    batch_revoke_request::{Filter, Selection},
    key::Status,
};
use tokio::task::JoinHandle;
use tonic::Status as Refused;

const KEYS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_the_server_on_sqlite_undoes_a_whole_batch() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let server = start_with_keys(&store).await;
    let file = || rusqlite::Connection::open(directory.path().join("keys.db")).expect("it opens");
    // The last record of a batch never comes.
    let endless = "CREATE TRIGGER endless BEFORE INSERT ON audit WHEN NEW.method = 'BatchRevoke' AND NEW.key_id IS NULL \
                   BEGIN SELECT (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) \
                                 SELECT count(*) FROM numbers); END";
    file().execute_batch(endless).expect("made");
    let revoking = revoke_all(server.client().await);
    eventually("the batch is under way", async || {
        let file = file();
        file.busy_timeout(std::time::Duration::ZERO).expect("set");
        file.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_err()
    })
    .await;
    server.kill().await;
    revoking.await.expect("no panic").expect_err("killed");

    file()
        .execute_batch("DROP TRIGGER endless")
        .expect("dropped");
    // SQLite has emptied the log, as it does where it makes a copy.
    accept_restore(&store);
    let server = start(&store).await;
    assert_eq!(revoked(&mut server.client().await, &store).await, 0);
    assert_all_are_revoked(&server, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_postgres_undoes_a_whole_batch() {
    let mut cluster = Cluster::start();
    let store = cluster.create_database();
    let server = start_with_keys(&store).await;
    let gate = BatchGate::shut(&store).await;
    let revoking = revoke_all(server.client().await);
    eventually("the batch is under way", async || {
        gate.holds_a_batch().await
    })
    .await;
    cluster.kill();
    revoking.await.expect("no panic").expect_err("killed");

    cluster.restart();
    let mut client = server.client().await;
    eventually("the store answers again", async || {
        client.list(ACCOUNT).await.is_ok()
    })
    .await;
    assert_eq!(revoked(&mut client, &store).await, 0);
    BatchGate::open_in(&store).await;
    assert_all_are_revoked(&server, &store).await;
}

/// PostgreSQL goes on with the batch, whose caller is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_server_was_killed_is_done_wholly_or_not_at_all() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = start_with_keys(&store).await;
    let gate = BatchGate::shut(&store).await;
    let revoking = revoke_all(server.client().await);
    eventually("the batch is under way", async || {
        gate.holds_a_batch().await
    })
    .await;
    server.kill().await;
    revoking.await.expect("no panic").expect_err("killed");

    gate.open().await;
    eventually("the batch has ended", async || {
        !gate.is_a_batch_under_way().await
    })
    .await;
    let server = start(&store).await;
    let revoked = revoked(&mut server.client().await, &store).await;
    assert!(revoked == 0 || revoked == KEYS, "{revoked}");
    assert_all_are_revoked(&server, &store).await;
}

async fn start_with_keys(store: &str) -> Server {
    let server = start(store).await;
    let mut client = server.client().await;
    for _ in 0..KEYS {
        client
            .create(ACCOUNT, "one of many")
            .await
            .expect("created");
    }
    server
}

fn revoke_all(mut client: Client) -> JoinHandle<Result<i32, Refused>> {
    let request = BatchRevokeRequest {
        account_id: Some(ACCOUNT.into()),
        reason: "compromised".into(),
        selection: Some(Selection::Filter(Filter::default())),
        dry_run: false,
    };
    tokio::spawn(async move {
        let answer = client.0.batch_revoke(request).await?;
        Ok(answer.into_inner().revoked_count)
    })
}

/// How many keys are revoked. Each of them is on record, and no other.
async fn revoked(client: &mut Client, store: &str) -> usize {
    let keys = client.list(ACCOUNT).await.expect("listed");
    let revoked = keys.iter().filter(|key| key.status() == Status::Revoked);
    let count = revoked.count();
    let records = records(store, &[]);
    let recorded = records
        .iter()
        .filter(|it| it.contains("BatchRevoke OK acme key_"));
    assert_eq!(recorded.count(), count);
    count
}

/// When the call is repeated.
async fn assert_all_are_revoked(server: &Server, store: &str) {
    let mut client = server.client().await;
    revoke_all(client.clone())
        .await
        .expect("no panic")
        .expect("revoked");
    assert_eq!(revoked(&mut client, store).await, KEYS);
}
