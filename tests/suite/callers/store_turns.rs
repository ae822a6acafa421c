//! The turns at the store: long searches hold up neither writes nor the calls of others.

use crate::support::{
    clients::callers::{Credential, client},
    eventually,
    mount::Mount,
    postgres::{
        Cluster, session,
        table_lock::{LONG_STATEMENT_TIMEOUT, TableLock, with_schema},
    },
    server::Server,
    stores::Stores,
};
use keyservice::grpc::proto::{
    BatchRevokeRequest, ListRequest, UpdateRequest,
    batch_revoke_request::{Filter, Keys, Selection},
    key::Status,
};
use prost_types::FieldMask;
use std::time::{Duration, Instant};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

/// Enough for each List to search for a second.
const KEYS: usize = 200_000;

#[tokio::test(flavor = "multi_thread")]
async fn searches_of_one_caller_hold_up_no_call_of_another_on_sqlite() {
    let stores = Stores::sqlite();
    stores.insert_active_keys(KEYS).await;
    let last = "INSERT INTO writes (revision, write_time, key_id) \
                SELECT revision, 0, key_id FROM keys ORDER BY revision DESC LIMIT 1";
    stores.sql(last).await.expect("written");
    let address = stores.address.clone();
    let directory = stores.close();
    let limited = |name: &str| Credential::new(name, &["--role", "admin", "--accounts", name]);
    let (acme, globex) = (limited("acme"), limited("globex"));
    let file = Mount::new(&[("callers", &(acme.line + &globex.line))]);
    let credentials = ["--credentials", &file.arg("callers")];
    let server = Server::start_with(&address, &credentials, &[]).await;
    let channel = server.channel().await;
    let mut globex = client(channel.clone(), &globex.secret);
    let searches = (0..16).map(|_| {
        let mut acme = client(channel.clone(), &acme.secret);
        AbortOnDropHandle::new(tokio::spawn(async move {
            // There is none, so that all keys are looked at.
            let request = ListRequest {
                account_id: "acme".into(),
                status: Status::Revoked.into(),
                ..ListRequest::default()
            };
            loop {
                acme.list_with(request.clone()).await.expect("listed");
            }
        }))
    });
    let _searches: Vec<_> = searches.collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let started = Instant::now();
        let created = globex.create("globex", "a key").await.expect("created");
        let key_id = created.key.expect("a key").key_id;
        globex.list("globex").await.expect("listed");
        globex.revoke(&key_id).await.expect("revoked");
        slowest = slowest.max(started.elapsed());
    }
    println!("the slowest Create, List and Revoke took {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    drop(directory);
}

/// The lock of the writers is held, so each write that has its turn waits for it at the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_has_its_turn_while_updates_have_all_others_on_postgres() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let server = Server::start_with(&store, &LONG_STATEMENT_TIMEOUT, &[]).await;
    let (_, key_id) = server.client().await.create_key().await;
    let lock = TableLock::on_table("writers_lock", &store).await;
    let updates = (0..4).map(|_| {
        let update = UpdateRequest {
            key_id: key_id.clone(),
            update_mask: Some(FieldMask {
                paths: vec!["name".into()],
            }),
            name: "another".into(),
            ..UpdateRequest::default()
        };
        let mut client = server.lazy_client();
        AbortOnDropHandle::new(tokio::spawn(async move { client.0.update(update).await }))
    });
    let _updates: Vec<_> = updates.collect();
    eventually("two wait at the database", async || {
        lock.count("replace_key").await == 2
    })
    .await;
    let mut client = server.client().await;
    let revoke = AbortOnDropHandle::new(tokio::spawn(async move { client.revoke(&key_id).await }));
    eventually("it waits there too", async || {
        lock.blocks("revoke_keys").await
    })
    .await;
    assert_eq!(lock.count("replace_key").await, 2);
    drop(lock);
    revoke.await.expect("no panic").expect("revoked");
}

/// So a Revoke waits for one batch at most, however many replicas have one.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_those_of_other_replicas_before_it_holds_up_a_revoke_on_postgres() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let server = Server::start_with(&store, &LONG_STATEMENT_TIMEOUT, &[]).await;
    let mut client = server.client().await;
    let [(_, first), (_, second)] = [client.create_key().await, client.create_key().await];
    let batch_elsewhere = TableLock::in_mode("SHARE UPDATE EXCLUSIVE", "replicas", &store).await;
    let request = BatchRevokeRequest {
        selection: Some(Selection::Keys(Keys {
            key_ids: vec![first],
            tokens: Vec::new(),
        })),
        account_id: None,
        reason: "compromised".into(),
        dry_run: false,
    };
    let mut other = server.client().await;
    let batch = AbortOnDropHandle::new(tokio::spawn(
        async move { other.0.batch_revoke(request).await },
    ));
    eventually("it waits", async || {
        batch_elsewhere.blocks("keyservice.batch_revoke(").await
    })
    .await;
    client.revoke(&second).await.expect("revoked meanwhile");
    drop(batch_elsewhere);
    batch.await.expect("no panic").expect("revoked");
}

/// A batch takes a second, in which every other write waits. Without turns, several follow one another while
/// others wait for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn batches_of_one_caller_hold_up_no_revoke_of_another_on_postgres() {
    const BATCHES: usize = 3;
    let stores = Stores::postgres().await;
    stores.insert_labelled_keys(BATCHES * 10_000).await;
    let acme = Credential::new("acme", &["--role", "admin", "--accounts", "acme"]);
    let operator = Credential::new("operator", &["--role", "admin"]);
    let file = Mount::new(&[("callers", &(acme.line + &operator.line))]);
    let credentials = ["--credentials", &file.arg("callers")];
    let arguments = [&credentials[..], &LONG_STATEMENT_TIMEOUT].concat();
    let server = Server::start_with(&stores.address, &arguments, &[]).await;
    let channel = server.channel().await;
    let mut operator = client(channel.clone(), &operator.secret);
    let listed = operator.list("acme").await.expect("listed");
    let ids: Vec<_> = listed
        .into_iter()
        .map(|key| key.key_id)
        .take(BATCHES)
        .collect();
    let batches = (0..BATCHES).map(|_| {
        let mut acme = client(channel.clone(), &acme.secret);
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let request = BatchRevokeRequest {
                    selection: Some(Selection::Filter(Filter::default())),
                    account_id: Some("acme".into()),
                    reason: "compromised".into(),
                    dry_run: false,
                };
                // One that waits for too many others may be refused.
                let revoked = acme.0.batch_revoke(request).await;
                if revoked.is_ok_and(|answer| answer.get_ref().revoked_count == 0) {
                    return;
                }
            }
        }))
    });
    let batches: Vec<_> = batches.collect();
    let session = session(&stores.address).await;
    let (at_once, mut batches_at_once) = watch::channel(0);
    let watching = AbortOnDropHandle::new(tokio::spawn(async move {
        let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
                      AND query LIKE '%keyservice.batch_revoke(%' AND pid <> pg_backend_pid()";
        loop {
            let row = session.query_one(active, &[]).await.expect("counted");
            let count: i64 = row.get(0);
            assert!(count <= 1, "{count} batches at once");
            at_once.send_replace(count);
            sleep(Duration::from_millis(10)).await;
        }
    }));
    for id in &ids {
        batches_at_once
            .wait_for(|count| *count == 1)
            .await
            .expect("watched");
        let started = Instant::now();
        let revoked = operator.revoke(id).await;
        assert!(revoked.is_ok(), "{revoked:?}\n{}", server.log());
        println!("a Revoke took {:?}", started.elapsed());
    }
    for batch in batches {
        batch.await.expect("no panic");
    }
    assert!(!watching.is_finished(), "{:?}", watching.await);
}
