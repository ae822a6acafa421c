//! After the second restore of one backup, with the log of both periods.

use super::calls::{Clients, DOMAIN, Made, Place, Replayed, whole_log};
use crate::support::{
    postgres::database_in, server::audit_command::audit_output, stores::accept_restore,
};
use serde_json::Value;

/// Keys from before the backup, by what becomes of them in each period after it.
struct Keys {
    kept: Made,
    /// Revoked in the first, and in the second.
    revoked: [Made; 2],
    /// Suspended in the first.
    suspended: Made,
    /// The same, and resumed in the second.
    resumed: Made,
}

impl Keys {
    async fn create(clients: &mut Clients) -> Self {
        Self {
            kept: clients.create(None).await,
            revoked: [clients.create(None).await, clients.create(None).await],
            suspended: clients.create(None).await,
            resumed: clients.create(None).await,
        }
    }

    async fn assert_denied(&self, clients: &mut Clients) {
        for key in [&self.revoked[0], &self.revoked[1], &self.suspended] {
            assert!(!clients.is_granted(key, DOMAIN).await, "{}", key.id);
        }
        for key in [&self.kept, &self.resumed] {
            assert!(clients.is_granted(key, DOMAIN).await, "{}", key.id);
        }
    }
}

/// Has a copy in the store's place, and keeps it too.
fn restore(place: &mut Place, copy: &str) {
    let Some(cluster) = &place.cluster else {
        return place.restore(copy.to_owned());
    };
    let restored = cluster.create_copy(database_in(copy));
    // As rows that another server has written.
    let sql = "UPDATE keyservice.origin SET written_by = '0'";
    cluster.psql(database_in(&restored), sql);
    place.store = restored;
}

/// The keys that are gone.
fn gone(replayed: &Replayed) -> Vec<String> {
    let text = String::from_utf8_lossy(&replayed.0.stdout).into_owned();
    let findings = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    let gone = findings.filter(|finding: &Value| finding["result"] == "gone");
    gone.map(|finding| finding["key_id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The log without the line about the revocation of a key, and how that write is named.
fn without(log: &str, revoked: &Made) -> (String, String) {
    let is_it = |line: &&str| line.contains("\"Revoke\"") && line.contains(&revoked.id);
    let line = log.lines().find(is_it).expect("a line");
    let line: Value = serde_json::from_str(line).expect("JSON");
    let history = line["history_id"].as_str().expect("an id");
    let others: Vec<_> = log.lines().filter(|line| !is_it(line)).collect();
    let name = format!("write {} of the history {history}, ", line["revision"]);
    (others.join("\n") + "\n", name)
}

async fn the_log_of_both_periods_tells_everything_in(mut place: Place) {
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.domains.add("acme", DOMAIN).await.expect("added");
    let keys = Keys::create(&mut clients).await;
    let before = whole_log(server).await;
    let copy = place.copy();

    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.suspend(&keys.resumed).await;
    clients
        .keys
        .revoke(&keys.revoked[0].id)
        .await
        .expect("revoked");
    clients.suspend(&keys.suspended).await;
    let gone_first = clients.create(None).await;
    let first = whole_log(server).await;
    let records = audit_output(&place.store, &[]);
    restore(&mut place, &copy);
    let log = place.write("first", &(before.clone() + &first));
    let replayed = place.replay(&[&log]);
    assert_eq!(replayed.code(), Some(0), "{}", replayed.errors());
    assert_eq!(gone(&replayed), [gone_first.id]);
    accept_restore(&place.store);

    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.resume(&keys.resumed).await;
    clients
        .keys
        .revoke(&keys.revoked[1].id)
        .await
        .expect("revoked");
    let gone_second = clients.create(None).await;
    keys.assert_denied(&mut clients).await;
    let second = whole_log(server).await;
    let records = records + &audit_output(&place.store, &[]);

    restore(&mut place, &copy);
    let (without_one, of_first) = without(&first, &keys.revoked[0]);
    let (without_other, of_second) = without(&second, &keys.revoked[1]);
    for (log, missing) in [
        (before.clone() + &without_one + &second, of_first.as_str()),
        (before.clone() + &first + &without_other, of_second.as_str()),
        (before.clone() + &second, "A replay made them"),
        (second.clone(), "A replay made them"),
    ] {
        let log = place.write("incomplete", &log);
        let tried = place.replay(&["--dry-run", &log]);
        let errors = tried.errors();
        assert_eq!(tried.code(), Some(1), "{errors}");
        let lines = errors
            .lines()
            .filter(|line| line.contains("no line tells of "));
        let lines: Vec<_> = lines.collect();
        assert!(
            lines.len() == 1 && lines[0].contains(missing),
            "{missing}: {errors}"
        );
    }

    let records = place.write("records", &records);
    let tried = place.replay(&["--dry-run", &records]);
    assert_eq!(tried.code(), Some(0), "{}", tried.errors());
    assert_eq!(gone(&tried), [gone_second.id.as_str()]);
    let log = place.write("both", &(before + &first + &second));
    let replayed = place.replay(&[&log]);
    assert_eq!(replayed.code(), Some(0), "{}", replayed.errors());
    assert_eq!(gone(&replayed), [gone_second.id]);
    let written = ["revoke written", "revoke written", "suspend written"];
    assert_eq!(replayed.findings()[1..], written, "{}", replayed.errors());
    accept_restore(&place.store);
    let server = place.serve().await;
    keys.assert_denied(&mut Clients::of(&server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_both_periods_tells_everything_in_a_file() {
    the_log_of_both_periods_tells_everything_in(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_both_periods_tells_everything_in_postgres() {
    the_log_of_both_periods_tells_everything_in(Place::postgres()).await;
}
