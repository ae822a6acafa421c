//! The upgrade from the release that only creates and revokes keys, while a replica of that release goes on.
//! It would not know that a key was suspended or narrowed. So either it is there, or keys are changed so.

use super::old_replica::{Outdated, Release, Upgrade, create_tables};
use crate::support::{
    eventually,
    postgres::{Cluster, database_in, session},
    server::{Server, error_reason},
};
use keyservice::grpc::proto::{
    ResumeAccountRequest, ResumeRequest, RotateRequest, SuspendAccountRequest, SuspendRequest,
    UpdateRequest, account_service_client::AccountServiceClient, rotate_request, suspend_request,
};
use prost_types::FieldMask;
use tokio::task::JoinHandle;
use tokio_postgres::{Error, error::SqlState};
use tonic::{Code, Status};

/// What `keyservice grants` of that release prints.
const GRANTS: &str = "
    GRANT USAGE ON SCHEMA keyservice TO {};
    GRANT SELECT (number) ON keyservice.migrations TO {};
    GRANT SELECT ON keyservice.digest_key, keyservice.states, keyservice.changes TO {};
    GRANT SELECT, INSERT, UPDATE (revoke_time, revision) ON keyservice.keys TO {};
    GRANT SELECT, INSERT, UPDATE (include_subdomains, verify_time, remove_time, revision)
        ON keyservice.domains TO {};
    GRANT SELECT, INSERT ON keyservice.writes TO {};
    GRANT SELECT, INSERT, DELETE,
        UPDATE (applied_revision, renewals, lease_millis, renew_time) ON keyservice.replicas TO {};
    GRANT UPDATE ON keyservice.writers_lock TO {};
    GRANT INSERT ON keyservice.audit TO {}";

/// The statements of that release.
const RENEW: &str = "
    SELECT r.history_holds, r.head_revision, r.head_write_id, side_by_side.*
    FROM keyservice.renew(
        '6c0ffee0-0000-4000-8000-000000000000', 'old', $1, 2000, $2, $2, $2, $3, 1000) r
    LEFT JOIN LATERAL ROWS FROM (
        pg_catalog.unnest(r.states), pg_catalog.unnest(r.replicas)) AS side_by_side (
        revision, write_id, key_id, digest, expire_time, revoked, account_id, domain,
        include_subdomains, removed,
        replica_id, name, applied_revision, renewals, lease_millis, renew_time) ON true";
const CREATE: &str = "
    WITH created AS MATERIALIZED (
        SELECT revision, write_id FROM keyservice.create_key(
            set_config('old.key', gen_random_uuid()::text, false)::uuid,
            sha256(gen_random_uuid()::text::bytea), 'acme', 'old', '', NULL, NULL, NULL, now(), NULL)),
    recorded AS (
        INSERT INTO keyservice.audit (time, caller, method, account_id, outcome, calls)
        SELECT now(), 'old', 'Create', 'acme', 'OK', 1 FROM created)
    SELECT revision, write_id FROM created";
const REVOKE: &str = "
    WITH revoked AS MATERIALIZED (
        SELECT (r.revoked).*, r.write_id FROM keyservice.revoke_key(
            current_setting('old.key', true)::uuid, NULL, NULL, now()) r),
    recorded AS (
        INSERT INTO keyservice.audit (time, caller, method, account_id, key_id, outcome, calls)
        SELECT now(), 'old', 'Revoke', account_id, key_id, 'OK', 1 FROM revoked WHERE write_id IS NOT NULL)
    SELECT revision, write_id FROM revoked WHERE write_id IS NOT NULL";
const ADD_DOMAIN: &str = "
    WITH added AS MATERIALIZED (
        SELECT (a.added).*, a.write_id, a.is_shared FROM keyservice.add_domain(
            'acme', gen_random_uuid()::text || '.example', true, now()) a),
    recorded AS (
        INSERT INTO keyservice.audit
            (time, caller, method, account_id, domain, include_subdomains, outcome, calls)
        SELECT now(), 'old', 'AddDomain', account_id, domain, true, 'OK', 1 FROM added)
    SELECT revision, write_id FROM added";

const RELEASE: Release = Release {
    renew: RENEW,
    head: ("head_revision", "head_write_id"),
    writes: &[CREATE, ADD_DOMAIN, CREATE, REVOKE],
    lost: "
        SELECT l.lost, r.*
        FROM keyservice.look_at_replicas($1, $2) l
        LEFT JOIN LATERAL pg_catalog.unnest(l.replicas) r ON true",
};

/// Makes each change that the release before does not know.
async fn make_changes(server: &Server, key_id: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let mut keys = server.client().await.0;
    let mut accounts = AccountServiceClient::new(server.channel().await);
    let update = UpdateRequest {
        key_id: key_id.into(),
        name: "renamed".into(),
        update_mask: Some(FieldMask {
            paths: vec!["name".into()],
        }),
        ..UpdateRequest::default()
    };
    let suspend = SuspendRequest {
        target: Some(suspend_request::Target::KeyId(key_id.into())),
        account_id: None,
        reason: "abuse".into(),
    };
    let resume = ResumeRequest {
        key_id: key_id.into(),
        account_id: None,
    };
    let rotate = RotateRequest {
        target: Some(rotate_request::Target::KeyId(key_id.into())),
        ..RotateRequest::default()
    };
    let suspend_account = SuspendAccountRequest {
        account_id: "acme".into(),
        reason: "unpaid".into(),
    };
    let resume_account = ResumeAccountRequest {
        account_id: "acme".into(),
    };
    vec![
        ("Update", keys.update(update).await.map(drop)),
        ("Suspend", keys.suspend(suspend).await.map(drop)),
        ("Resume", keys.resume(resume).await.map(drop)),
        ("Rotate", keys.rotate(rotate).await.map(drop)),
        (
            "SuspendAccount",
            accounts.suspend_account(suspend_account).await.map(drop),
        ),
        (
            "ResumeAccount",
            accounts.resume_account(resume_account).await.map(drop),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_changed_once_no_replica_of_the_release_before_is_there_which_then_gets_no_lease()
{
    let upgrade = Upgrade::from(8, GRANTS, &RELEASE).await;
    let (old, server) = (&upgrade.old, &upgrade.server);
    let mut client = server.client().await;
    let (token, key_id) = client.create_key().await;
    let changed = "SELECT (SELECT count(*) FROM keyservice.keys WHERE version > 1 AND revoke_time IS NULL) \
                   + (SELECT count(*) FROM keyservice.accounts) + (SELECT count(*) FROM keyservice.first_change)";
    for (call, changed) in make_changes(server, &key_id).await {
        let refused = changed.expect_err(call);
        assert_eq!(refused.code(), Code::Unavailable, "{call}: {refused}");
        let reason = error_reason(&refused);
        assert_eq!(reason.as_deref(), Some("OLDER_REPLICA"), "{call}");
    }
    assert_eq!(upgrade.psql(changed), "0");
    assert!(client.is_granted(&token).await);
    old.go_on().await;

    // The migration has changed the columns of two statements.
    let Outdated(sessions) = old.stop().await;
    assert!(sessions <= 4, "{sessions}");
    eventually("its lease has lapsed", async || {
        let there = "SELECT count(*) FROM keyservice.replicas WHERE NOT reads_feed";
        upgrade.psql(there) == "0"
    })
    .await;
    for (call, changed) in make_changes(server, &key_id).await {
        changed.expect(call);
    }
    assert_eq!(
        upgrade.psql("SELECT count(*) FROM keyservice.first_change"),
        "1"
    );
    assert!(client.is_granted(&token).await);

    let refused = renew_as_the_old(&upgrade.address).await;
    assert_eq!(
        refused.code(),
        Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
    );
    let message = refused.as_db_error().expect("an answer").message();
    assert!(message.contains("run the newer release"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_migration_waits_for_a_renewal_that_has_read_some_tables() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    create_tables(&cluster, database_in(&store), 8);
    let renewal = session(&store).await;
    let begin =
        "BEGIN; LOCK TABLE keyservice.writers_lock IN ROW SHARE MODE; TABLE keyservice.writes";
    renewal.batch_execute(begin).await.expect("begun");
    let read_the_rest = async {
        eventually("the migration waits", async || {
            let waiting = "SELECT count(*) FROM pg_locks WHERE mode ~ 'Exclusive' AND NOT granted \
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            cluster.psql(database_in(&store), waiting) == "1"
        })
        .await;
        let rest = "TABLE keyservice.keys; COMMIT";
        renewal.batch_execute(rest).await.expect("no deadlock");
    };
    tokio::join!(Server::start(&store), read_the_rest);
}

/// The error of a renewal, by another replica of that release.
async fn renew_as_the_old(address: &str) -> Error {
    let renewed = session(address).await.batch_execute(RENEW_ANOTHER).await;
    renewed.expect_err("it would not know the change")
}

const RENEW_ANOTHER: &str = "SELECT keyservice.renew(gen_random_uuid(), 'another', 1, 2000, 0, 0, 0, gen_random_uuid(), 10)";
const SUSPEND: &str = "SELECT keyservice.set_suspension('acme', 'abuse', now())";

/// Runs two statements, each in its session. The second one waits until the first has been committed.
async fn run_one_after_the_other(first: &str, second: &'static str) -> (Result<(), Error>, String) {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await.terminate().await;
    let one = session(&store).await;
    one.batch_execute("BEGIN").await.expect("begun");
    one.batch_execute(first).await.expect("done");
    let other = session(&store).await;
    let waiting: JoinHandle<_> = tokio::spawn(async move { other.batch_execute(second).await });
    eventually("the second waits", async || {
        let waiting = "SELECT count(*) FROM pg_locks \
                       WHERE relation = 'keyservice.writers_lock'::regclass AND NOT granted";
        cluster.psql(database_in(&store), waiting) == "1"
    })
    .await;
    one.batch_execute("COMMIT").await.expect("committed");
    let second = waiting.await.expect("no panic");
    let left = "SELECT (SELECT count(*) FROM keyservice.replicas) || ' replicas, ' || \
                (SELECT count(*) FROM keyservice.accounts) || ' suspended'";
    (second, cluster.psql(database_in(&store), left))
}

fn message(refused: Result<(), Error>) -> String {
    let refused = refused.expect_err("the second is refused");
    refused
        .as_db_error()
        .expect("an answer")
        .message()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_change_that_meets_a_renewal_of_the_release_before_is_refused() {
    let (refused, left) = run_one_after_the_other(RENEW_ANOTHER, SUSPEND).await;
    assert!(message(refused).contains("a replica of the release before is running"));
    assert_eq!(left, "1 replicas, 0 suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_of_the_release_before_that_meets_the_first_change_is_refused() {
    let (refused, left) = run_one_after_the_other(SUSPEND, RENEW_ANOTHER).await;
    assert!(message(refused).contains("run the newer release"));
    assert_eq!(left, "0 replicas, 1 suspended");
}
