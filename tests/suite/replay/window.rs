//! From when on writes may be missing, by a command and by a service that waits, after a replay.

use super::calls::{Clients, Place, whole_log};
use crate::support::{
    postgres::database_in,
    server::{self, Server, audit_command::audit_output},
};
use serde_json::Value;
use std::process::Command;

async fn it_begins_at_the_last_write_that_no_replay_has_made(mut place: Place) {
    let server = place.serve().await;
    let key = Clients::of(&server).await.create(None).await;
    whole_log(server).await;
    let last: Value = serde_json::from_str(&audit_output(&place.store, &[])).expect("one record");
    let last = last["time"].as_str().expect("a time").to_owned();
    let copy = place.copy();
    let server = place.serve().await;
    Clients::of(&server)
        .await
        .keys
        .revoke(&key.id)
        .await
        .expect("revoked");
    let log = whole_log(server).await;
    let revoked = log.lines().find(|line| line.contains("\"Revoke\""));
    let revoked: Value = serde_json::from_str(revoked.expect("a line")).expect("JSON");
    let log = place.write("log", &log);
    place.restore(copy);
    if let Some(cluster) = &place.cluster {
        // As rows that another server has written.
        let restored = "UPDATE keyservice.origin SET written_by = '0'";
        cluster.psql(database_in(&place.store), restored);
    }
    assert_eq!(place.replay(&[&log]).findings(), ["revoke written"]);

    let mut refused =
        Server::launch(server::command(&place.store).args(["--store-wait-limit", "0s"]));
    refused.wait_for_exit().await;
    assert!(refused.log().contains(&last), "{last}: {}", refused.log());
    let accepted = Command::new(env!("CARGO_BIN_EXE_keyservice"))
        .args(["accept-restore", "--yes", "--output", "json", "--store"])
        .arg(&place.store)
        .output()
        .expect("it runs");
    let accepted: Value = serde_json::from_slice(&accepted.stdout).expect("JSON");
    assert_eq!(accepted["missing_since"], last, "{accepted}");
    assert_eq!(accepted["replayed_until"], revoked["time"], "{accepted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_at_the_last_write_that_no_replay_has_made_in_a_file() {
    it_begins_at_the_last_write_that_no_replay_has_made(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_at_the_last_write_that_no_replay_has_made_in_postgres() {
    it_begins_at_the_last_write_that_no_replay_has_made(Place::postgres()).await;
}
