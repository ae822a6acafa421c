//! What a role without the right to connect cannot hold up from another database of the server.

use crate::support::{
    eventually,
    postgres::{Cluster, session},
    server::Server,
};
use std::time::{Duration, Instant};

/// All databases share the lock of a commit with a notification. Here such a commit holds it while it
/// waits for a standby to apply what it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_a_notification_that_never_ends_holds_up_nothing() {
    let cluster = Cluster::start();
    let standby = cluster.start_standby();
    cluster.set_setting("synchronous_standby_names", "*");
    let store = cluster.create_database();
    let writer = Server::start_with(&store, &["--lease=1s"], &[]).await;
    let reader = Server::start_with(&store, &["--lease=1s"], &[]).await;
    let (mut writer, mut reader) = (writer.client().await, reader.client().await);
    let (token, _) = writer.create_key().await;
    let roles = "CREATE ROLE stranger LOGIN; CREATE TABLE mine (number int); ALTER TABLE mine OWNER TO stranger";
    cluster.psql("postgres", roles);
    standby.psql("postgres", "SELECT pg_wal_replay_pause()");
    let stranger = session(&cluster.address_for("stranger", "postgres")).await;
    let stuck = tokio::spawn(async move {
        let commit = "SET synchronous_commit = remote_apply; BEGIN; INSERT INTO mine VALUES (1); NOTIFY x; COMMIT";
        stranger.batch_execute(commit).await
    });
    eventually("its commit waits", async || {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'stranger' AND wait_event = 'SyncRep'";
        cluster.psql("postgres", waits) == "1"
    })
    .await;

    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        let (new, key_id) = writer.create_key().await;
        assert!(reader.is_granted(&new).await);
        writer.revoke(&key_id).await.expect("revoked");
        assert!(reader.is_revoked(&new).await);
        assert!(reader.is_granted(&token).await);
    }
    assert!(!stuck.is_finished());
    stuck.abort();
}
