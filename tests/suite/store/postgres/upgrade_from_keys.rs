//! The upgrade from the release that has keys alone, while a replica of that release goes on.

use super::old_replica::{Outdated, Release, Upgrade};

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

/// The statements of that release, which its sessions have prepared.
const RENEW: &str = "
    SELECT r.history_holds, side_by_side.revision, side_by_side.write_id
    FROM keyservice.renew_lease(
        '6c0ffee0-0000-4000-8000-000000000000', 'old', $1, 2000, $2, $2, $3, 1000) r
    LEFT JOIN LATERAL ROWS FROM (unnest(r.changes), unnest(r.replicas)) AS side_by_side (
        key_id, digest, account_id, domain, expire_time, revoked, revision, write_id,
        replica_id, name, applied_revision, renewals, lease_millis, renew_time) ON true
    WHERE side_by_side.revision IS NOT NULL OR NOT r.history_holds";
const CREATE: &str = "
    WITH created AS MATERIALIZED (
        SELECT revision, write_id FROM keyservice.create_key(
            set_config('old.key', gen_random_uuid()::text, false)::uuid,
            sha256(gen_random_uuid()::text::bytea), 'acme', 'old', '', NULL, NULL, now(), NULL)),
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
const LOST: &str = "SELECT l.lost FROM keyservice.look_at_replicas($1, $2) l";

const RELEASE: Release = Release {
    renew: RENEW,
    head: ("revision", "write_id"),
    writes: &[CREATE, CREATE, REVOKE],
    lost: LOST,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_the_release_without_domains_renews_and_writes_all_through_the_upgrade() {
    let upgrade = Upgrade::from(6, GRANTS, &RELEASE).await;
    let (old, server) = (&upgrade.old, &upgrade.server);

    let (mut client, mut domains) = (server.client().await, server.domains().await);
    let listed = client.list("acme").await.expect("listed");
    assert!(listed.iter().any(|key| key.name == "old"), "{listed:?}");
    let added = domains.add_with("acme", "example.com", true).await;
    added.expect("added");
    let (_, key_id) = client.create_key().await;
    client.revoke(&key_id).await.expect("revoked");
    let last = "SELECT max(revision) FROM keyservice.writes WHERE domain IS NOT NULL";
    let last: u64 = upgrade.psql(last).parse().expect("a revision");
    assert!(old.applied() >= last, "the call has waited for it");

    // The migrations have changed the columns of two statements.
    let Outdated(sessions) = old.stop().await;
    assert!(sessions <= 4, "{sessions}");
}
