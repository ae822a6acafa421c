//! PostgreSQL is stopped, hangs, is busy or is read-only: calls end in time, Authorize still answers,
//! and everything recovers.

use crate::support::{
    eventually,
    postgres::{Cluster, address, database_in, proxy::Proxy, signal, table_lock::TableLock},
    server::{Client, Server, assert_refused, audit_command::records, command, error_reason},
};
use keyservice::grpc::proto::{CreateResponse, ListRequest};
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status};

/// Short limits for short tests, and a lease that is longer than the tests.
const LIMITS: [&str; 5] = [
    "--connect-timeout=300ms",
    "--acquire-timeout=300ms",
    "--statement-timeout=500ms",
    "--renewal-interval=100ms",
    "--lease=60s",
];

/// The sum of [`LIMITS`] and the grace for the server's own timeout, with time for a busy machine. Far
/// below the default limits.
const IN_TIME: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn the_service_recovers_from_a_database_crash_without_a_restart() {
    let mut cluster = Cluster::start();
    let store = cluster.create_database();
    let steady = ["--lease=60s", "--renewal-interval=100ms"];
    let servers = [
        Server::start_with(&store, &steady, &[]).await,
        Server::start_with(&store, &steady, &[]).await,
    ];
    let [mut first, mut second] = [servers[0].client().await, servers[1].client().await];
    let (token, key_id) = first.create_key().await;
    let (_lock, waiting) = start_blocked_create("keys", &store, &first).await;

    cluster.kill();
    let aborted = waiting
        .await
        .expect("no panic")
        .expect_err("the connection broke");
    assert_store_unavailable(&aborted);
    for replica in [&mut first, &mut second] {
        assert_calls_fail_in_time(replica, &key_id).await;
        assert!(replica.is_granted(&token).await);
    }

    cluster.restart();
    eventually("one writes again", async || {
        second.revoke(&key_id).await.is_ok()
    })
    .await;
    assert!(first.is_revoked(&token).await);
    first.create_key().await;
    assert_eq!(first.list("acme").await.expect("listed").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_in_time_while_the_database_hangs_and_the_service_recovers() {
    let cluster = Cluster::start();
    let server = Server::start_with(&cluster.create_database(), &LIMITS, &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    let (_, other_id) = client.create_key().await;

    cluster.freeze();
    // The first calls use open connections; the second ones open new connections.
    for _ in 0..2 {
        assert_calls_fail_in_time(&mut client, &other_id).await;
        assert!(client.is_granted(&token).await);
    }

    cluster.thaw();
    eventually("it writes again", async || {
        client.revoke(&other_id).await.is_ok()
    })
    .await;
    client.create_key().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_disconnected_replica_and_it_catches_up_later() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let role = format!("cut_off_{}", database_in(&store));
    cluster.psql("postgres", &format!("CREATE ROLE {role} LOGIN SUPERUSER"));
    let address = cluster.address_for(&role, database_in(&store));
    let remote = Server::start(&store).await;
    let server = Server::start_with(&address, &["--lease=1s"], &[]).await;
    let (mut remote, mut client) = (remote.client().await, server.client().await);
    let (token, key_id) = client.create_key().await;

    cluster.psql("postgres", &format!("ALTER ROLE {role} NOLOGIN"));
    cluster.end_sessions(&format!("usename = '{role}'"));
    assert_calls_fail_in_time(&mut client, &key_id).await;
    remote.revoke(&key_id).await.expect("revoked");
    assert!(!client.is_granted(&token).await);

    cluster.psql("postgres", &format!("ALTER ROLE {role} LOGIN"));
    eventually("it has caught up", async || client.is_revoked(&token).await).await;
    client.create_key().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_fails_in_time_when_the_database_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("an address");
    let started = Instant::now();

    let mut command = command(&format!("postgres://someone@{address}/keys"));
    let parts = ["no answer within 300ms", "check that the server runs"];
    assert_refused(command.args(LIMITS), &parts).await;
    assert!(started.elapsed() < IN_TIME);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_fails_in_time_when_an_answer_of_the_database_is_lost() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await;
    let proxy = Proxy::start(cluster.port(), 0).await;
    let through_proxy = address(proxy.port(), database_in(&store)) + "?sslmode=disable";

    for (table, question) in [("migrations", "max(number)"), ("digest_key", "fingerprint")] {
        let lock = TableLock::on_table(table, &store).await;
        let mut command = command(&through_proxy);
        command.arg("--statement-timeout=2s");
        let parts = ["no answer within 2s 500ms", "check the server and the way"];
        let lose_the_answer = async {
            eventually("the start asks", async || lock.blocks(question).await).await;
            proxy.change_conditions(|conditions| conditions.drops_packets = true);
            drop(lock);
        };
        tokio::join!(assert_refused(&mut command, &parts), lose_the_answer);
        proxy.change_conditions(|conditions| conditions.drops_packets = false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_cancels_a_statement_that_waits_too_long_and_nothing_is_written() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &LIMITS, &[]).await;
    let mut client = server.client().await;
    let (_, key_id) = client.create_key().await;

    let lock = TableLock::on_keys(&store).await;
    assert_calls_fail_in_time(&mut client, &key_id).await;
    let line = "canceling statement due to statement timeout";
    eventually("the log says so", async || server.log().contains(line)).await;

    drop(lock);
    let keys = client.list("acme").await.expect("listed");
    assert_eq!(keys.len(), 1);
    assert!(keys[0].revoke_time.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_gets_no_connection_fails_while_its_caller_still_waits() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let limits = ["--pool-size=1", "--acquire-timeout=300ms", "--lease=60s"];
    let server = Server::start_with(&store, &limits, &[]).await;
    let mut client = server.client().await;

    let (lock, waiting) = start_blocked_create("keys", &store, &client).await;
    let started = Instant::now();
    let refusal = client
        .list("acme")
        .await
        .expect_err("no connection is free");
    assert_store_unavailable(&refusal);
    assert!(started.elapsed() < IN_TIME);
    let line = "no connection came free within 300ms";
    eventually("the log says so", async || server.log().contains(line)).await;

    drop(lock);
    waiting.await.expect("no panic").expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_or_abandoned_call_delays_neither_other_replicas_nor_other_calls() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    // So long that the test would notice if anything waited for the hanging call or for a lease.
    let patient = [
        "--pool-size=4",
        "--acquire-timeout=1m",
        "--statement-timeout=1h",
        "--lease=60s",
    ];
    let server = Server::start_with(&store, &patient, &[]).await;
    let remote = Server::start(&store).await;
    let (mut client, mut remote) = (server.client().await, remote.client().await);
    let (token, key_id) = client.create_key().await;

    let backend = "SELECT pid FROM pg_stat_activity \
                   WHERE (query LIKE '%create_key%' OR query LIKE '%announce_writes%') AND pid <> pg_backend_pid()";
    let backend = cluster.psql(database_in(&store), backend);
    let backend = [backend.parse().expect("one process")];
    signal("STOP", &backend);
    let mut caller = client.clone();
    let hanging = tokio::spawn(async move { caller.list("acme").await });
    let started = Instant::now();
    remote.revoke(&key_id).await.expect("revoked");
    assert!(started.elapsed() < IN_TIME);
    assert!(client.is_revoked(&token).await);
    assert!(!hanging.is_finished());

    hanging.abort();
    client.list("acme").await.expect("on another connection");
    signal("CONT", &backend);
    let cancelled = "anyone List CANCELLED acme - 1".to_owned();
    eventually("the abandoned call is recorded", async || {
        records(&store, &[]).contains(&cancelled)
    })
    .await;
}

/// Otherwise a caller could have the server open connections as fast as it begins and gives up calls.
#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_list_keeps_its_connection_and_its_turn_until_it_is_answered() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let long = [
        "--statement-timeout=60s",
        "--acquire-timeout=60s",
        "--lease=60s",
    ];
    let server = Server::start_with(&store, &long, &[]).await;
    let client = server.client().await;
    let waiting = || {
        let sessions = "SELECT coalesce(string_agg(pid::text, ',' ORDER BY pid), '') \
                        FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%, ordinality, is_selected %' \
                        AND datname = current_database()";
        cluster.psql(database_in(&store), sessions)
    };
    let lock = TableLock::on_keys(&store).await;
    let mut lists = Vec::new();
    let mut all = String::new();
    for round in 0..3 {
        for _ in 0..6 {
            let mut client = client.clone();
            lists.push(tokio::spawn(async move { client.list("acme").await }));
        }
        eventually("all connections that a List may use are used", async || {
            waiting().split(',').count() == 4
        })
        .await;
        lists.drain(..).for_each(|list| list.abort());
        if round == 0 {
            all = waiting();
        }
        assert_eq!(waiting(), all, "round {round}");
    }
    drop(lock);
    eventually("all of them are recorded", async || {
        let cancelled = records(&store, &[]);
        let cancelled = cancelled
            .iter()
            .filter(|record| record.contains("List CANCELLED"));
        cancelled.count() == 18
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_recorded_while_others_have_every_connection_that_calls_may_use() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let few = [
        "--pool-size=4",
        "--statement-timeout=60s",
        "--acquire-timeout=60s",
        "--lease=60s",
    ];
    let server = Server::start_with(&store, &few, &[]).await;
    let mut client = server.client().await;
    let (_, key_id) = client.create_key().await;
    // Both wait for this table, and a record does not.
    let lock = TableLock::on_table("key_labels", &store).await;
    let labelled = ListRequest {
        account_id: "acme".into(),
        labels: [("environment".to_owned(), "test".to_owned())].into(),
        ..ListRequest::default()
    };
    let calls = (0..8).map(|_| {
        let (mut lister, mut revoker) = (client.clone(), client.clone());
        let (labelled, key_id) = (labelled.clone(), key_id.clone());
        // A write waits for a lock for a limited time, so there is always another one.
        let revoke = async move {
            loop {
                let _ = revoker.revoke(&key_id).await;
            }
        };
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::join!(lister.list_with(labelled), revoke).0
        }))
    });
    let calls: Vec<_> = calls.collect();
    eventually("three of them wait for the lock", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                       AND datname = current_database()";
        cluster
            .psql(database_in(&store), waiting)
            .parse::<u32>()
            .is_ok_and(|waiting| waiting >= 3)
    })
    .await;
    let invalid = client.list("").await.expect_err("there is no such account");
    assert_eq!(invalid.code(), Code::InvalidArgument);
    let refused = "anyone List INVALID_ARGUMENT - - 1".to_owned();
    eventually("it is recorded while the others wait", async || {
        records(&store, &[]).contains(&refused)
    })
    .await;
    drop((calls, lock));
}

#[tokio::test(flavor = "multi_thread")]
async fn authorize_still_answers_while_a_lock_blocks_all_writes() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &["--lease=1s"], &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;

    for table in ["keys", "audit"] {
        let (lock, waiting) = start_blocked_create(table, &store, &client).await;
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(1500) {
            assert!(client.is_granted(&token).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(lock);
        waiting.await.expect("no panic").expect("created");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_fail_while_the_database_is_read_only_and_succeed_afterwards() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    let server = Server::start_with(&store, &["--lease=1s"], &[]).await;
    let mut client = server.client().await;

    let setting = "default_transaction_read_only";
    let read_only = format!("ALTER DATABASE {database} SET {setting} = on");
    cluster.psql("postgres", &read_only);
    cluster.end_sessions(&format!("datname = '{database}'"));
    eventually("no lease is written", async || !server.is_serving().await).await;
    let refusal = client.create("acme", "a key").await;
    assert_store_unavailable(&refusal.expect_err("read-only"));
    // A List must be recorded, and the record could not be written.
    let refusal = client.list("acme").await;
    assert_store_unavailable(&refusal.expect_err("read-only"));

    let writable = format!("ALTER DATABASE {database} RESET {setting}");
    cluster.psql("postgres", &writable);
    eventually("it serves again", async || server.is_serving().await).await;
    eventually("it writes again", async || {
        client.create("acme", "a key").await.is_ok()
    })
    .await;
}

/// PostgreSQL's codes for its errors: those that may pass, and those that somebody must mend.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_may_pass_is_unavailable_and_any_other_is_internal() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    for (codes, expected) in [
        (
            "08006 08P01 0A000 23505 25006 25P02 25P03 25P04 26000 28P01 3D000 40001 40P01 42P05 \
             53100 53200 53300 55P03 57014 57P01 57P03 57P05 58030 72000",
            Code::Unavailable,
        ),
        (
            "22001 22021 23502 3F000 42501 42703 42P01 54001 P0001 XX000 XX001 ZZ999",
            Code::Internal,
        ),
    ] {
        for code in codes.split_whitespace() {
            let fail = format!(
                "CREATE OR REPLACE FUNCTION keyservice.begin_long_write() \
                 RETURNS bigint LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE 'made up' USING ERRCODE = '{code}'; END $$"
            );
            cluster.psql(database_in(&store), &fail);
            let refused = client.create("acme", "a key").await.expect_err("it fails");
            assert_eq!(refused.code(), expected, "{code}: {refused}");
        }
    }
}

/// Asserts that Create, List and Revoke fail in time with STORE_UNAVAILABLE.
async fn assert_calls_fail_in_time(client: &mut Client, key_id: &str) {
    let mut clients = [client.clone(), client.clone(), client.clone()];
    let [creator, lister, revoker] = &mut clients;
    let started = Instant::now();
    let (created, listed, revoked) = tokio::join!(
        creator.create("acme", "another key"),
        lister.list("acme"),
        revoker.revoke(key_id),
    );
    assert!(started.elapsed() < IN_TIME);
    for refusal in [created.err(), listed.err(), revoked.err()] {
        assert_store_unavailable(&refusal.expect("it is refused"));
    }
}

/// Starts a Create, which is blocked while the lock on the table is held.
async fn start_blocked_create(
    table: &str,
    store: &str,
    client: &Client,
) -> (TableLock, JoinHandle<Result<CreateResponse, Status>>) {
    let lock = TableLock::against_writes(table, store).await;
    let mut client = client.clone();
    let create = tokio::spawn(async move { client.create("acme", "a key that waits").await });
    eventually("the Create waits", async || lock.blocks_a_create().await).await;
    (lock, create)
}

fn assert_store_unavailable(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(error_reason(status).as_deref(), Some("STORE_UNAVAILABLE"));
}
