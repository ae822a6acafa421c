//! The address comes to lead to another database while the service runs.

use crate::{
    store::conformance::rights::{Write, every_write},
    support::{
        directory, eventually, new_key,
        postgres::{
            Cluster, database_in,
            roles::{create_role_for, grants, role_in},
            session,
        },
        server::{Server, error_reason},
        stores::{Stores, load, open},
        tools::postgres_tool,
    },
};
use keyservice::{
    model::{
        audit_record::{AdminMethod, AuditRecord, Outcome},
        key::KeyId,
        time::{LeaseTerm, Timestamp},
    },
    store::{
        NewKey, NotedUse, Old, Position, Progress, Renewal, ReplicaId, ReplicationError, Revision,
        StillAllowed, Store, StoreError,
    },
};
use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};
use tokio_postgres::error::SqlState;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_serves_to_the_end_of_its_lease_and_then_nothing_until_it_is_restarted() {
    let cluster = Cluster::shared();
    let other = cluster.create_database();
    Server::start(&other).await.terminate().await;

    let store = cluster.create_database();
    let server = Server::start_with(&store, &["--lease", "10s"], &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    take_place(&cluster, database_in(&other), database_in(&store)).await;
    eventually("the log says why", async || {
        let log = server.log();
        log.contains("not serving when the lease has lapsed") && log.contains("expected the store")
    })
    .await;
    let granted = client.authorize(&token, "example.com").await;
    granted.expect("the lease still holds");
    let refused = client.create("acme", "elsewhere").await;
    let refused = refused.expect_err("it is another store");
    assert_eq!(error_reason(&refused).as_deref(), Some("STORE_UNAVAILABLE"));
    eventually("it answers no more", async || !server.is_serving().await).await;
    let lapsed = client.authorize(&token, "example.com").await;
    let reason = error_reason(&lapsed.expect_err("it has no lease"));
    assert_eq!(reason.as_deref(), Some("LEASE_LAPSED"));
    let written = "SELECT (SELECT count(*) FROM keyservice.writes), (SELECT count(*) FROM keyservice.replicas), \
                   (SELECT count(*) FROM keyservice.audit)";
    assert_eq!(cluster.psql(database_in(&store), written), "0|0|0");
    server.terminate().await;
    let (_, key_id) = Server::start(&store)
        .await
        .client()
        .await
        .create_key()
        .await;
    assert!(key_id.starts_with("key_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_does_not_follow_a_database_whose_keys_it_could_not_find() {
    let (directory, cluster) = (directory(), Cluster::shared());
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "another ".repeat(32)).expect("a file");
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let fingerprint =
        "UPDATE keyservice.digest_key SET fingerprint = decode(repeat('ab', 16), 'hex')";
    cluster.psql(database_in(&store), fingerprint);
    // So that it loads anew.
    let lost = "SET session_replication_role = replica; UPDATE keyservice.writes SET write_id = gen_random_uuid()";
    server.client().await.create_key().await;
    cluster.psql(database_in(&store), lost);
    eventually("the log says why", async || {
        server
            .log()
            .contains("whose keys were made with another digest secret")
    })
    .await;
    eventually("it answers no more", async || !server.is_serving().await).await;
}

/// A dump carries the identity.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_goes_on_with_a_restored_dump_of_its_store() {
    let cluster = Cluster::shared();
    let (store, restored) = (cluster.create_database(), cluster.create_database());
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    restore_into(&restored, &store);
    take_place(&cluster, database_in(&restored), database_in(&store)).await;
    eventually("it writes there", async || {
        client.create("acme", "after the restore").await.is_ok()
    })
    .await;
    let granted = client.authorize(&token, "example.com").await;
    granted.expect("the key is in the dump");
    let name = "SELECT name FROM keyservice.keys ORDER BY create_revision DESC LIMIT 1";
    assert_eq!(cluster.psql(database_in(&store), name), "after the restore");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_does_not_follow_an_empty_database() {
    let cluster = Cluster::shared();
    let (store, empty) = (cluster.create_database(), cluster.create_database());
    let server = Server::start(&store).await;
    take_place(&cluster, database_in(&empty), database_in(&store)).await;
    eventually("the log says why", async || {
        server
            .log()
            .contains("found none, or one of an earlier release")
    })
    .await;
    eventually("it answers no more", async || !server.is_serving().await).await;
}

/// As behind a pooler, or when the dump of another store is restored in place.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_changes_another_store_through_a_session_that_is_open_already() {
    let stores = Stores::postgres().await;
    let writes = every_write(&stores, &StillAllowed::always()).await;
    let (_, key) = new_key("acme", "in use");
    let created = stores.first.keys.create(&key).await.expect("answered");
    created.expect("on record").position();
    for (statement, made) in every_other_statement(&stores.first, &key, 1) {
        let error = made.await;
        assert!(error.is_none(), "{statement}: {error:?}");
    }
    let state = "SELECT array_agg(t::text) FROM (SELECT * FROM keyservice.writes) t";
    let (cluster, _) = stores.cluster.clone().expect("it is PostgreSQL");
    let look = || cluster.psql(database_in(&stores.address), state);
    let before = look();
    let identity = "SELECT store_id FROM keyservice.store_identity";
    let own = cluster.psql(database_in(&stores.address), identity);
    let own = format!("'{}'", own.trim());
    let become_store = async |id: &str| {
        let change = format!("UPDATE keyservice.store_identity SET store_id = {id}");
        stores.sql(&change).await.expect("changed");
    };
    let others = every_other_statement(&stores.first, &key, 2);
    for (statement, made) in writes.into_iter().chain(others) {
        // A statement that fails closes its session, and the next one would be refused when it begins.
        become_store(&own).await;
        open_sessions(&stores.first).await;
        become_store("gen_random_uuid()").await;
        assert_other(statement, made.await.as_ref());
    }
    assert_eq!(look(), before);
    // As after a restart.
    let again = Store::from(open(&stores.address).await);
    load(&*again.changes).await.expect("loaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_the_service_cannot_change_the_identity() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await.terminate().await;
    let service = create_role_for("service", &cluster, &store);
    let thief = session(&service).await;
    for refused in [
        "UPDATE keyservice.store_identity SET store_id = gen_random_uuid()",
        "DELETE FROM keyservice.store_identity",
        "TRUNCATE keyservice.store_identity",
        "INSERT INTO keyservice.store_identity VALUES (false, gen_random_uuid())",
    ] {
        let refused = thief.batch_execute(refused).await.expect_err(refused);
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    }
    // Whatever else it may need, grants of this release give.
    cluster.psql(
        database_in(&store),
        &grants(&role_in(&service), "service", &store),
    );
    Server::start(&service)
        .await
        .client()
        .await
        .create_key()
        .await;
}

fn assert_other(what: &str, error: Option<&StoreError>) {
    let is_other = matches!(error, Some(StoreError::OtherStore(_)));
    assert!(is_other, "{what}: {error:?}");
}

/// Leaves an open session in each of the two pools.
async fn open_sessions(store: &Store) {
    let start = store.retention.history_start().await;
    start.expect("for calls");
    let changes = store.changes.changes(Progress::at(Position::START), 10);
    changes.await.expect("for leases");
}

/// What writes or what a lease depends on, beside the writes of callers. Gives the error of each.
fn every_other_statement<'a>(store: &'a Store, key: &NewKey, renewals: i64) -> Vec<Write<'a>> {
    let registry = store.replicas.as_ref().expect("PostgreSQL has replicas");
    let start = Progress::at(Position::START);
    let renewal = Renewal {
        id: ReplicaId::from_uuid(uuid::Uuid::from_u128(1)),
        name: "a replica".to_owned(),
        renewals,
        term: LeaseTerm::new(Duration::from_secs(2)),
        applied: Revision::ZERO,
        since: start,
        limit: 10,
    };
    let now = Timestamp::now();
    let noted = NotedUse {
        key_id: key.key.id,
        time: now,
        unless_since: now,
    };
    let old = Old {
        before: now,
        now: Timestamp::now(),
        applied: Revision::ZERO,
    };
    let record = AuditRecord {
        time: now,
        caller: key.caller.clone(),
        method: AdminMethod::List.into(),
        account_id: None,
        key_id: None,
        domain: None,
        include_subdomains: None,
        key_end: None,
        revision: None,
        outcome: Outcome::named("OK"),
        calls: 1,
    };
    let replication = |error: ReplicationError| match error {
        ReplicationError::Store(error) => error,
        other => panic!("{other}"),
    };
    let after = KeyId::from_uuid(uuid::Uuid::nil());
    let retention = &store.retention;
    vec![
        (
            "load",
            Box::pin(async move { load(&*store.changes).await.err() }),
        ),
        (
            "changes",
            Box::pin(async move {
                let changes = store.changes.changes(start, 10).await;
                changes.err().map(replication)
            }),
        ),
        (
            "renew",
            Box::pin(async move { registry.renew(&renewal).await.err().map(replication) }),
        ),
        (
            "replicas",
            Box::pin(async move { registry.replicas(&[]).await.err() }),
        ),
        (
            "append_records",
            Box::pin(async move { store.audit.append_records(&[record]).await.err() }),
        ),
        (
            "record_uses",
            Box::pin(async move { store.uses.record_uses(&[noted]).await.err() }),
        ),
        (
            "raise_history_start",
            Box::pin(async move {
                let raised = retention.raise_history_start(&old, Revision::ZERO).await;
                raised.err()
            }),
        ),
        (
            "forget_keys",
            Box::pin(async move {
                let forgotten = retention.forget_keys(&old, Revision::ZERO, after).await;
                forgotten.err()
            }),
        ),
        (
            "forget_writes",
            Box::pin(async move {
                let forgotten = retention
                    .forget_writes(&old, Revision::ZERO, Revision::ZERO)
                    .await;
                forgotten.err()
            }),
        ),
    ]
}

/// Restores a dump of the one database into the other.
fn restore_into(restored: &str, store: &str) {
    let dumped = Command::new(postgres_tool("pg_dump")).arg(store).output();
    let dumped = dumped.expect("pg_dump runs");
    assert!(dumped.status.success(), "{dumped:?}");
    let mut psql = Command::new(postgres_tool("psql"))
        .args(["-Xq", "-v", "ON_ERROR_STOP=1", restored])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql runs");
    let mut input = psql.stdin.take().expect("piped");
    input.write_all(&dumped.stdout).expect("written");
    drop(input);
    assert!(psql.wait().expect("it ends").success());
}

/// Gives a database the name of another one, which is in use.
async fn take_place(cluster: &Cluster, database: &str, of: &str) {
    let sql = |text: String| cluster.psql("postgres", &text);
    sql(format!("ALTER DATABASE {of} ALLOW_CONNECTIONS false"));
    eventually("nobody is connected", async || {
        sql(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{of}'"
        ));
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname =";
        sql(format!("{count} '{of}'")).trim() == "0"
    })
    .await;
    sql(format!("ALTER DATABASE {of} RENAME TO {of}_before"));
    sql(format!("ALTER DATABASE {database} RENAME TO {of}"));
}
