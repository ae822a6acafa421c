//! What a replay makes of what an earlier replay has written.

use super::calls::{Clients, DOMAIN, OTHER, Place, whole_log};
use crate::support::{server::audit_command::audit_output, stores::accept_restore};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_suspended_for_two_writes_and_resumed_stays_so() {
    let mut place = Place::sqlite();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    for domain in [DOMAIN, OTHER] {
        clients.domains.add("acme", domain).await.expect("added");
    }
    let key = clients.create(Some(DOMAIN)).await;
    whole_log(server).await;
    let copy = place.copy();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.set_scope(&key, Some(OTHER)).await;
    clients.suspend(&key).await;
    let log = place.write("log", &whole_log(server).await);
    place.restore(copy);
    let first = place.replay(&[&log]);
    assert_eq!(
        first.findings(),
        ["suspend written", "suspend_unclear written"]
    );
    let second = place.replay(&[&log]);
    assert_eq!(second.findings(), [""; 0], "{}", second.errors());
    accept_restore(&place.store);
    let server = place.serve().await;
    Clients::of(&server).await.resume(&key).await;
    server.terminate().await;
    let third = place.replay(&[&log]);
    assert_eq!(third.findings(), [""; 0], "{}", third.errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replay_wrote_before_the_backup_is_a_write_like_any_other() {
    let mut place = Place::sqlite();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    let keys = [clients.create(None).await, clients.create(None).await];
    whole_log(server).await;
    let copy = place.copy();
    let server = place.serve().await;
    Clients::of(&server).await.suspend(&keys[0]).await;
    let log = place.write("log", &whole_log(server).await);
    place.restore(copy);
    assert_eq!(place.replay(&[&log]).findings(), ["suspend written"]);
    accept_restore(&place.store);
    let server = place.serve().await;
    Clients::of(&server).await.resume(&keys[0]).await;
    whole_log(server).await;

    let copy = place.copy();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.keys.revoke(&keys[1].id).await.expect("revoked");
    let log = whole_log(server).await;
    let all_records = audit_output(&place.store, &[]);
    place.restore(copy);
    for (name, told) in [("log", log), ("records", all_records)] {
        let told = place.write(name, &told);
        let replayed = place.replay(&["--dry-run", &told]);
        assert_eq!(replayed.findings(), ["revoke would_be_written"], "{name}");
        assert_eq!(replayed.code(), Some(0), "{name}: {}", replayed.errors());
    }
}

async fn writes_since_a_restore_hide_no_lost_ones_in(mut place: Place) {
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    let keys = clients.create_three().await;
    let before = whole_log(server).await;
    let copy = place.copy();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    for key in &keys {
        clients.keys.revoke(&key.id).await.expect("revoked");
    }
    let log = whole_log(server).await;
    place.restore(copy);
    accept_restore(&place.store);
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    for _ in 0..3 {
        clients.create(None).await;
    }
    let since = whole_log(server).await;
    // Revisions 4 to 6 are those of lost writes, and of writes since.
    let last = log
        .lines()
        .find(|line| line.contains("\"Revoke\"") && line.contains(&keys[2].id));
    let last = place.write(
        "last",
        &format!("{before}{}\n{since}", last.expect("a line")),
    );
    let whole = place.write("whole", &(before + &log + &since));

    let gap = place.replay(&["--dry-run", &last]);
    assert_eq!(gap.code(), Some(1));
    let errors = gap.errors();
    assert!(
        errors.contains("no line tells of the writes 4 to 5"),
        "{errors}"
    );
    let replayed = place.replay(&[&whole]);
    assert_eq!(replayed.findings(), ["revoke written"; 3]);
    assert!(
        !replayed.errors().contains("no line tells"),
        "{}",
        replayed.errors()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_since_a_restore_hide_no_lost_ones_in_a_file() {
    writes_since_a_restore_hide_no_lost_ones_in(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_since_a_restore_hide_no_lost_ones_in_postgres() {
    writes_since_a_restore_hide_no_lost_ones_in(Place::postgres()).await;
}
