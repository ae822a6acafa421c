//! The upgrade from the release that has keys alone, while a replica of that release goes on.

use crate::support::{
    eventually,
    postgres::{
        Cluster, database_in,
        roles::{create_role_without_rights, grants, role_in},
        session,
    },
    server::Server,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::interval;
use tokio_postgres::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const MIGRATIONS: [&str; 6] = [
    include_str!("../../../../src/store/postgres/migrations/0001_keys.sql"),
    include_str!("../../../../src/store/postgres/migrations/0002_replicas.sql"),
    include_str!("../../../../src/store/postgres/migrations/0003_audit.sql"),
    include_str!("../../../../src/store/postgres/migrations/0004_shared_database.sql"),
    include_str!("../../../../src/store/postgres/migrations/0005_hardening.sql"),
    include_str!("../../../../src/store/postgres/migrations/0006_audit_checks.sql"),
];

/// What `keyservice grants` of that release prints.
const GRANTS: &str = "
    GRANT USAGE ON SCHEMA keyservice TO {};
    GRANT SELECT ON keyservice.migrations, keyservice.digest_key, keyservice.changes TO {};
    GRANT SELECT, INSERT, UPDATE (revoke_time, revision) ON keyservice.keys TO {};
    GRANT SELECT, INSERT ON keyservice.writes TO {};
    GRANT SELECT, INSERT, DELETE,
        UPDATE (applied_revision, renewals, lease_millis, renew_time) ON keyservice.replicas TO {};
    GRANT UPDATE ON keyservice.writers_lock TO {};
    GRANT INSERT ON keyservice.audit TO {}";

/// How often the old replica renews, and how long its lease is.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(20);
const LEASE: Duration = Duration::from_secs(2);

/// The statements of that release, which its sessions have prepared.
const RENEW: &str = "
    SELECT r.history_holds, side_by_side.revision, side_by_side.write_id::text
    FROM keyservice.renew_lease(
        '6c0ffee0-0000-4000-8000-000000000000', 'old', $1, 2000, $2, $2, $3::text::uuid, 1000) r
    LEFT JOIN LATERAL ROWS FROM (unnest(r.changes), unnest(r.replicas)) AS side_by_side (
        key_id, digest, account_id, domain, expire_time, revoked, revision, write_id,
        replica_id, name, applied_revision, renewals, lease_millis, renew_time) ON true
    WHERE side_by_side.revision IS NOT NULL OR NOT r.history_holds";
const CREATE: &str = "
    WITH created AS MATERIALIZED (
        SELECT revision, write_id FROM keyservice.create_key(
            gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), 'acme', 'old', '', NULL, NULL, now(),
            NULL)),
    recorded AS (
        INSERT INTO keyservice.audit (time, caller, method, account_id, outcome, calls)
        SELECT now(), 'old', 'Create', 'acme', 'OK', 1 FROM created)
    SELECT revision, write_id::text FROM created";
const REVOKE: &str = "
    WITH revoked AS MATERIALIZED (
        SELECT (r.revoked).*, r.write_id FROM keyservice.revoke_key(
            (SELECT key_id FROM keyservice.keys WHERE revoke_time IS NULL AND name = 'old' LIMIT 1),
            NULL, NULL, now()) r),
    recorded AS (
        INSERT INTO keyservice.audit (time, caller, method, account_id, key_id, outcome, calls)
        SELECT now(), 'old', 'Revoke', account_id, key_id, 'OK', 1 FROM revoked WHERE write_id IS NOT NULL)
    SELECT revision, write_id::text FROM revoked WHERE write_id IS NOT NULL";
const LOST: &str = "
    SELECT cardinality(l.lost) FROM keyservice.look_at_replicas(ARRAY[$1::bigint], ARRAY[$2::text::uuid]) l";

/// A replica of that release, in four sessions.
struct OldReplica {
    renewals: AtomicU64,
    writes: AtomicU64,
    applied: AtomicU64,
    longest_pause: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl OldReplica {
    async fn start(address: &str) -> Arc<Self> {
        let replica = Arc::new(Self {
            renewals: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            longest_pause: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let renewing = replica.clone().renew_until_stopped(session(address).await);
        replica.tasks.spawn(renewing);
        for _ in 0..3 {
            let writing = replica.clone().write_until_stopped(session(address).await);
            replica.tasks.spawn(writing);
        }
        replica
    }

    /// Panics at the first error, as everything here does.
    async fn renew_until_stopped(self: Arc<Self>, session: Client) {
        let statement = session.prepare(RENEW).await.expect("prepared");
        let (mut revision, mut write_id) =
            (0_i64, "6c0ffee0-0000-4000-8000-000000000000".to_owned());
        let (mut ticks, mut renewed) = (interval(RENEWAL_INTERVAL), Instant::now());
        for renewal in 1_i64.. {
            ticks.tick().await;
            let changes = session
                .query(&statement, &[&renewal, &revision, &write_id])
                .await;
            for change in changes.expect("renewed") {
                assert!(change.get::<_, bool>(0), "the history is another one");
                (revision, write_id) = (change.get(1), change.get(2));
            }
            let pause = renewed.elapsed().as_millis() as u64;
            renewed = Instant::now();
            self.longest_pause.fetch_max(pause, Relaxed);
            self.applied.store(revision.unsigned_abs(), Relaxed);
            self.renewals.fetch_add(1, Relaxed);
            if self.stop.is_cancelled() {
                return;
            }
        }
    }

    async fn write_until_stopped(self: Arc<Self>, session: Client) {
        let mut statements = Vec::new();
        for sql in [CREATE, CREATE, REVOKE] {
            statements.push(session.prepare(sql).await.expect("prepared"));
        }
        let lost = session.prepare(LOST).await.expect("prepared");
        for statement in statements.iter().cycle() {
            for write in session.query(statement, &[]).await.expect("written") {
                let write: (i64, String) = (write.get(0), write.get(1));
                let looked = session.query_one(&lost, &[&write.0, &write.1]).await;
                assert_eq!(looked.expect("answered").get::<_, i32>(0), 0);
                self.writes.fetch_add(1, Relaxed);
            }
            if self.stop.is_cancelled() {
                return;
            }
        }
    }

    /// Until all that was begun before this has been done, and some more.
    async fn go_on(&self) {
        let (renewals, writes) = (self.renewals.load(Relaxed), self.writes.load(Relaxed));
        eventually("the old replica renews and writes", async || {
            assert_eq!(self.tasks.len(), 4, "a session has failed");
            self.renewals.load(Relaxed) > renewals + 5 && self.writes.load(Relaxed) > writes + 20
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_the_release_without_domains_renews_and_writes_all_through_the_upgrade() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    let table = "CREATE SCHEMA keyservice; CREATE TABLE keyservice.migrations ( \
                 number integer PRIMARY KEY, name text NOT NULL, apply_time timestamptz NOT NULL DEFAULT now()); \
                 INSERT INTO keyservice.migrations SELECT n, '' FROM generate_series(1, 6) n";
    for sql in [table].into_iter().chain(MIGRATIONS) {
        cluster.psql(database, sql);
    }
    let address = create_role_without_rights("service", &cluster, &store);
    let role = role_in(&address);
    cluster.psql(database, &GRANTS.replace("{}", &role));
    let old = OldReplica::start(&address).await;
    old.go_on().await;

    let server = Server::start(&store).await;
    old.go_on().await;
    cluster.psql(database, &grants(&role, "service", &store));
    old.go_on().await;

    let (mut client, mut domains) = (server.client().await, server.domains().await);
    let listed = client.list("acme").await.expect("listed");
    assert!(listed.iter().any(|key| key.name == "old"), "{listed:?}");
    let added = domains.add_with("acme", "example.com", true).await;
    added.expect("added");
    let (_, key_id) = client.create_key().await;
    client.revoke(&key_id).await.expect("revoked");
    let last = "SELECT max(revision) FROM keyservice.writes WHERE domain IS NOT NULL";
    let last: u64 = cluster.psql(database, last).parse().expect("a revision");
    assert!(
        old.applied.load(Relaxed) >= last,
        "the call has waited for it"
    );

    old.stop.cancel();
    old.tasks.close();
    assert_eq!(old.tasks.len(), 4, "a session has failed");
    old.tasks.wait().await;
    let longest_pause = Duration::from_millis(old.longest_pause.load(Relaxed));
    assert!(longest_pause < LEASE / 2, "{longest_pause:?}");
}
