//! Calls that were made twice, and what was given back after the loss.

use super::calls::{Clients, DOMAIN, Place, whole_log};
use crate::support::{server::audit_command::audit_output, stores::accept_restore};

async fn a_call_that_found_its_work_done_is_no_second_write_in(mut place: Place) {
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    for domain in [DOMAIN, "removed.example"] {
        clients.domains.add("acme", domain).await.expect("added");
    }
    whole_log(server).await;
    let copy = place.copy();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    // The store has the write of the first, and not that of the second.
    for _ in 0..2 {
        clients.domains.add("acme", DOMAIN).await.expect("added");
        let removed = clients.domains.remove("acme", "removed.example").await;
        removed.expect("removed");
    }
    let log = whole_log(server).await;
    let since = log.lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["message"] == "admin call").then(|| line["time"].as_str().map(str::to_owned))?
    });
    let records = audit_output(&place.store, &["--since", &since.expect("a time")]);
    place.restore(copy);
    for told in [log, records] {
        let told = place.write("told", &told);
        let replayed = place.replay(&["--dry-run", &told]);
        assert_eq!(replayed.findings(), ["remove_domain would_be_written"]);
        assert_eq!(replayed.code(), Some(0), "{}", replayed.errors());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_found_its_work_done_is_no_second_write_in_a_file() {
    a_call_that_found_its_work_done_is_no_second_write_in(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_found_its_work_done_is_no_second_write_in_postgres() {
    a_call_that_found_its_work_done_is_no_second_write_in(Place::postgres()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_since_the_loss_stays_so_whether_a_line_tells_it_or_the_store() {
    let mut place = Place::sqlite();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    let key = clients.create(None).await;
    for domain in [DOMAIN, "again.example"] {
        clients.domains.add("acme", domain).await.expect("added");
    }
    whole_log(server).await;
    let copy = place.copy();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.suspend(&key).await;
    clients.suspend_account("acme").await;
    for domain in [DOMAIN, "again.example"] {
        clients
            .domains
            .remove("acme", domain)
            .await
            .expect("removed");
    }
    let lost = whole_log(server).await;
    place.restore(copy);
    accept_restore(&place.store);
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.suspend(&key).await;
    clients.resume(&key).await;
    clients
        .domains
        .remove("acme", DOMAIN)
        .await
        .expect("removed");
    clients.domains.add("acme", DOMAIN).await.expect("added");
    let since = whole_log(server).await;
    for lines in [lost.clone(), lost + &since] {
        let lines = place.write("lines", &lines);
        let replayed = place.replay(&["--dry-run", &lines]);
        assert_eq!(
            replayed.findings(),
            [
                "remove_domain would_be_written",
                "suspend_account would_be_written"
            ]
        );
        let of_again = String::from_utf8_lossy(&replayed.0.stdout);
        assert!(of_again.contains("again.example"), "{of_again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_from_before_the_last_write_of_a_restored_store_do_not_suffice() {
    let mut place = Place::sqlite();
    let server = place.serve().await;
    let key = Clients::of(&server).await.create(None).await;
    let before = whole_log(server).await;
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.suspend(&key).await;
    whole_log(server).await;
    let copy = place.copy();
    place.restore(copy);
    let before = place.write("before", &before);
    let replayed = place.replay(&[&before]);
    assert_eq!(replayed.code(), Some(1), "{}", replayed.errors());
    assert!(
        replayed.errors().contains("end before the last write"),
        "{}",
        replayed.errors()
    );
}
