//! A replay takes the lines of its own store, also in a copy, and of no other one.

use super::calls::{Clients, Place, whole_log};
use crate::support::server::audit_command::audit_output;
use serde_json::Value;

fn line(log: &str, of: &str) -> Value {
    let line = log.lines().find(|line| line.contains(of)).expect("a line");
    serde_json::from_str(line).expect("JSON")
}

/// The same lines as a release without ids has written them.
fn without_id(log: &str, id: &str) -> String {
    log.replace(&format!("\"store_id\":\"{id}\""), "\"other\":0")
}

async fn lines_of_another_store_are_refused_in(mut own: Place, other: &Place) {
    let server = own.serve().await;
    let keys = {
        let mut clients = Clients::of(&server).await;
        [clients.create(None).await, clients.create(None).await]
    };
    whole_log(server).await;
    let copy = own.copy();
    let server = own.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.keys.revoke(&keys[0].id).await.expect("revoked");
    clients.batch_revoke(&[&keys[1]]).await;
    let log = whole_log(server).await;
    let records = audit_output(&own.store, &[]);
    let id = line(&log, "\"Revoke\"")["store_id"].clone();
    let id = id.as_str().expect("an id").to_owned();
    for told in [line(&log, "keys revoked"), line(&records, "\"Revoke\"")] {
        assert_eq!(told["store_id"], id, "{told}");
    }

    let server = other.serve().await;
    Clients::of(&server).await.create_for("globex", None).await;
    whole_log(server).await;
    for (lines, why) in [
        (log.clone(), id.as_str()),
        (records.clone(), id.as_str()),
        (without_id(&log, &id), "which store"),
        (without_id(&records, &id), "which store"),
    ] {
        let file = other.write("lines", &lines);
        let refused = other.replay(&[&file]);
        assert_eq!(refused.code(), Some(1), "{}", refused.errors());
        assert!(refused.errors().contains(why), "{}", refused.errors());
        assert_eq!(refused.findings(), [""; 0]);
        let taken = other.replay(&["--any-store", &file]);
        assert!(!taken.errors().contains(why), "{}", taken.errors());
    }

    own.restore(copy);
    for (lines, code) in [(&log, 0), (&without_id(&log, &id), 0)] {
        let file = own.write("lines", lines);
        let taken = own.replay(&["--dry-run", &file]);
        assert_eq!(taken.code(), Some(code), "{}", taken.errors());
        assert_eq!(taken.findings(), ["revoke would_be_written"; 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_another_store_are_refused_in_a_file() {
    lines_of_another_store_are_refused_in(Place::sqlite(), &Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_another_store_are_refused_in_postgres() {
    lines_of_another_store_are_refused_in(Place::postgres(), &Place::postgres()).await;
}
