//! When Create or Revoke returns, every replica that can still answer decides by it.

use crate::support::{
    eventually,
    postgres::{Cluster, database_in},
    server::{Client, Server, audit_command::records, error_reason},
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use keyservice::grpc::proto::{
    RevokeRequest, key::Status, key_service_client::KeyServiceClient, revoke_request::Target,
};
use std::time::{Duration, Instant};
use tonic::{Code, Request};

const LEASE: Duration = Duration::from_secs(1);

/// How much longer a wait may take on a busy machine.
const SLACK: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_decides_by_a_revoke_when_it_returns() {
    let cluster = Cluster::shared();
    let servers = replicas(&cluster.create_database(), 3).await;
    let mut clients = clients_of(&servers).await;
    for round in 0..30 {
        assert_create_and_revoke_apply_everywhere(&mut clients, round).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_notifications_every_replica_still_decides_by_a_revoke_when_it_returns() {
    let cluster = Cluster::shared();
    let address = cluster.create_database();
    let servers = replicas(&address, 3).await;
    cluster.drop_notifications(database_in(&address));
    let mut clients = clients_of(&servers).await;
    for round in 0..3 {
        assert_create_and_revoke_apply_everywhere(&mut clients, round).await;
    }
}

/// Makes a Create and a Revoke on different replicas, and checks all replicas at once after each.
async fn assert_create_and_revoke_apply_everywhere(clients: &mut [Client], round: usize) {
    let count = clients.len();
    let created = clients[round % count].create("acme", "everywhere").await;
    let created = created.expect("created");
    for client in &mut *clients {
        assert!(client.is_granted(&created.token).await);
    }
    let key_id = created.key.expect("a key").key_id;
    let revoked = clients[(round + 1) % count].revoke(&key_id).await;
    revoked.expect("revoked");
    for client in &mut *clients {
        assert!(client.is_revoked(&created.token).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_paused_beyond_its_lease_answers_nothing_until_it_has_caught_up() {
    let cluster = Cluster::shared();
    let servers = replicas(&cluster.create_database(), 2).await;
    let [mut first, mut second] = clients_of(&servers).await.try_into().expect("two");
    let (token, key_id) = new_key(&mut first).await;

    servers[1].signal("STOP");
    first.revoke(&key_id).await.expect("revoked");
    // These calls are sent while the replica is paused, and answered when it continues.
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let (mut client, token) = (second.clone(), token.clone());
            tokio::spawn(async move { client.authorize(&token, "example.com").await })
        })
        .collect();
    servers[1].signal("CONT");
    for answer in asked {
        match answer.await.expect("no panic") {
            Err(status) => assert_eq!(error_reason(&status).as_deref(), Some("LEASE_LAPSED")),
            Ok(decision) => assert!(Client::denies_as_revoked(&decision), "{decision:?}"),
        }
    }
    eventually("it serves again, without a restart", async || {
        servers[1].is_serving().await && second.is_revoked(&token).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_its_database_serves_until_its_lease_lapses() {
    let mut cluster = Cluster::start();
    let servers = replicas(&cluster.create_database(), 1).await;
    let mut client = servers[0].client().await;
    let (token, _) = new_key(&mut client).await;

    cluster.kill();
    assert!(client.is_granted(&token).await, "the lease still holds");
    eventually("the lease lapses", async || {
        let answer = client.authorize(&token, "example.com").await;
        answer.is_err_and(|status| {
            status.code() == Code::Unavailable
                && error_reason(&status).as_deref() == Some("LEASE_LAPSED")
        })
    })
    .await;
    eventually("it reports NOT_SERVING", async || {
        !servers[0].is_serving().await
    })
    .await;
    assert!(servers[0].is_alive().await, "a restart would not help");

    cluster.restart();
    eventually("it serves again, without a restart", async || {
        servers[0].is_serving().await && client.is_granted(&token).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_revoke_waits_for_the_lease_of_a_killed_replica() {
    let cluster = Cluster::shared();
    let mut servers = replicas(&cluster.create_database(), 2).await;
    let mut client = servers[0].client().await;
    let (_, first) = new_key(&mut client).await;
    let (_, second) = new_key(&mut client).await;

    servers.pop().expect("two").kill().await;
    let waited = time_of(client.revoke(&first)).await;
    assert!(waited < LEASE + SLACK, "{waited:?}");
    let waited = time_of(client.revoke(&second)).await;
    assert!(waited < LEASE / 2, "nobody is left to wait for: {waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_writer_waits_for_a_replica_that_was_shut_down() {
    let cluster = Cluster::shared();
    let address = cluster.create_database();
    // So long that the test would notice if a write waited for the lease.
    let long = ["--lease", "30s"];
    let leaving = Server::start_with(&address, &long, &[]).await;
    let staying = Server::start_with(&address, &long, &[]).await;
    let mut client = staying.client().await;
    let (_, key_id) = new_key(&mut client).await;

    assert!(leaving.terminate().await.success());
    let waited = time_of(client.revoke(&key_id)).await;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_wait_of_a_revoke_and_a_repeated_call_continues_it() {
    let cluster = Cluster::shared();
    let address = cluster.create_database();
    let long = ["--lease", "10s"];
    let paused = Server::start_with(&address, &long, &[]).await;
    let server = Server::start_with(&address, &long, &[]).await;
    let mut client = server.client().await;
    let (token, key_id) = new_key(&mut client).await;

    paused.signal("STOP");
    let mut impatient = client_without_own_deadlines(&server);
    for _ in 0..2 {
        let cut_off = impatient.revoke(with_deadline(&key_id)).await;
        let status = cut_off.expect_err("the paused replica has not acknowledged it");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        let message = status.message();
        assert!(
            message.contains("call Revoke again, which waits until every replica denies the key"),
            "{status}"
        );
    }
    assert!(client.is_revoked(&token).await, "the write is committed");
    let listed = client.list("acme").await.expect("listed");
    assert_eq!(listed[0].status(), Status::Revoked);

    let waiting = tokio::spawn({
        let mut client = client.clone();
        async move { client.revoke(&key_id).await }
    });
    paused.signal("CONT");
    let revoked = waiting.await.expect("no panic").expect("acknowledged");
    assert_eq!(revoked.revoke_time, listed[0].revoke_time);
    assert!(paused.client().await.is_revoked(&token).await);
    // Every committed write is recorded as OK, also if its caller got an error.
    let key_id = &listed[0].key_id;
    let created = format!("anyone Create OK acme {key_id} 1");
    let revoked = format!("anyone Revoke OK acme {key_id} 1");
    let expected = [&*created, &revoked, &revoked, &revoked];
    assert_eq!(records(&address, &["--key", key_id]), expected);
}

/// tonic's channel would enforce the deadline itself, at about the same time as the server.
fn client_without_own_deadlines(
    server: &Server,
) -> KeyServiceClient<legacy::Client<HttpConnector, tonic::body::Body>> {
    let http = legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let origin = format!("http://127.0.0.1:{}", server.port());
    KeyServiceClient::with_origin(http, origin.parse().expect("an address"))
}

fn with_deadline(key_id: &str) -> Request<RevokeRequest> {
    let mut request = Request::new(RevokeRequest {
        target: Some(Target::KeyId(key_id.to_owned())),
        account_id: None,
    });
    let timeout = "1S".parse().expect("ASCII");
    request.metadata_mut().insert("grpc-timeout", timeout);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_that_the_database_lost_are_noticed_and_written_again() {
    let mut cluster = Cluster::start();
    let address = cluster.create_database();
    let servers = replicas(&address, 2).await;
    let mut clients = clients_of(&servers).await;
    let (kept, _) = new_key(&mut clients[0]).await;
    let (revoked, revoked_id) = new_key(&mut clients[0]).await;

    cluster.back_up();
    eventually("it serves after the backup", async || {
        clients[0].revoke(&revoked_id).await.is_ok()
    })
    .await;
    let (lost, lost_id) = new_key(&mut clients[1]).await;
    cluster.restore();

    for (server, client) in servers.iter().zip(&mut clients) {
        eventually("it has loaded all keys again", async || {
            server.log().contains("the store lost writes") && client.is_granted(&kept).await
        })
        .await;
        assert!(client.is_revoked(&revoked).await);
        assert!(!client.is_granted(&lost).await);
        let log = server.log();
        let named = |event: &str, id: &str| {
            log.lines()
                .any(|line| line.contains(event) && line.contains(id))
        };
        assert!(named("the store lost this key:", &lost_id), "{log}");
    }
    let logs: String = servers.iter().map(Server::log).collect();
    assert!(
        logs.contains("the store lost this key's revocation"),
        "{logs}"
    );
    let listed = clients[1].list("acme").await.expect("listed");
    let of_revoked = listed.iter().find(|key| key.key_id == revoked_id);
    assert_eq!(of_revoked.expect("listed").status(), Status::Revoked);
    let by_whom = records(&address, &["--key", &revoked_id, "--caller", "keyservice"]);
    let expected = format!("keyservice Revoke OK acme {revoked_id} 1");
    assert_eq!(by_whom.first(), Some(&expected));
    assert_create_and_revoke_apply_everywhere(&mut clients, 0).await;
}

async fn replicas(address: &str, count: usize) -> Vec<Server> {
    let lease = humantime::format_duration(LEASE).to_string();
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(Server::start_with(address, &["--lease", &lease], &[]).await);
    }
    servers
}

async fn clients_of(servers: &[Server]) -> Vec<Client> {
    futures::future::join_all(servers.iter().map(Server::client)).await
}

/// Creates a key and returns its token and its id.
async fn new_key(client: &mut Client) -> (String, String) {
    let created = client
        .create("acme", "to be revoked")
        .await
        .expect("created");
    (created.token, created.key.expect("a key").key_id)
}

/// The duration of a call, which must succeed.
async fn time_of<T: std::fmt::Debug>(
    call: impl Future<Output = Result<T, tonic::Status>>,
) -> Duration {
    let started = Instant::now();
    call.await.expect("it succeeds");
    started.elapsed()
}
