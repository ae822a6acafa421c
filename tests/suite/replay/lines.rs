//! Which lines a replay takes, and which it refuses.

use super::calls::{Clients, DOMAIN, Made, OTHER, Place, run, whole_log};
use crate::support::server::audit_command::audit_output;
use serde_json::{Value, json};

/// A restored store, the log from before and after its backup, and keys that were revoked after it.
async fn restored(
    revoke: impl AsyncFnOnce(&mut Clients, &[Made; 3]),
) -> (Place, String, [Made; 3]) {
    let mut place = Place::sqlite();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    let keys = clients.create_three().await;
    let before = whole_log(server).await;
    let copy = place.copy();
    let server = place.serve().await;
    revoke(&mut Clients::of(&server).await, &keys).await;
    let log = before + &whole_log(server).await;
    place.write("records", &audit_output(&place.store, &[]));
    place.restore(copy);
    (place, log, keys)
}

async fn revoke_each(clients: &mut Clients, keys: &[Made; 3]) {
    for key in keys {
        clients.keys.revoke(&key.id).await.expect("revoked");
    }
}

const THREE: [&str; 3] = ["revoke written"; 3];

/// The number of the line that tells that this key was revoked, from 0.
fn line_of(log: &str, key: &Made) -> usize {
    let is_it = |line: &str| line.contains("\"Revoke\"") && line.contains(&key.id);
    log.lines().position(is_it).expect("a line")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_off_is_refused_by_its_number_and_nothing_is_written() {
    let (place, log, keys) = restored(revoke_each).await;
    let at = line_of(&log, &keys[1]);
    let mut lines: Vec<_> = log.lines().collect();
    lines[at] = &lines[at][..lines[at].len() - 10];
    let file = place.write("log", &lines.join("\n"));
    let refused = place.replay(&[&file]);
    assert_eq!(refused.code(), Some(2));
    let errors = refused.errors();
    assert!(
        errors.contains(&format!("{file}, line {}: ", at + 1)),
        "{errors}"
    );
    assert!(errors.contains("nothing was written"), "{errors}");
    assert!(
        !errors.contains(&keys[1].id),
        "no line is printed: {errors}"
    );
    assert_eq!(place.replayed_records().len(), 0);

    // What the other lines tell is written if that is asked for. A write that is then missing still fails the command.
    let taken = place.replay(&["--incomplete", &file]);
    assert_eq!(taken.code(), Some(1), "{}", taken.errors());
    assert_eq!(taken.findings(), THREE[..2]);
    assert!(
        taken.errors().contains("no line tells of write 5"),
        "{}",
        taken.errors()
    );
    let whole = place.write("whole", &log);
    let covered = place.replay(&["--incomplete", &file, &whole]);
    assert_eq!(covered.code(), Some(0), "{}", covered.errors());
}

/// The lines of one log, with what common commands print around them.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_another_form_is_refused_with_the_way_to_print_it() {
    let (place, log, _) = restored(revoke_each).await;
    type Form = fn(&str) -> String;
    let forms: [(Form, &str); 8] = [
        (
            |line| format!("Nov 27 18:07:59 host keyservice[7]: {line}"),
            "`journalctl --output cat`",
        ),
        (
            |line| format!("MESSAGE={line}"),
            "`journalctl --output cat`",
        ),
        (
            |line| json!({"__CURSOR": "s=1", "MESSAGE": line}).to_string(),
            "`journalctl --output cat`",
        ),
        (
            |line| json!({"MESSAGE": line.as_bytes()}).to_string(),
            "`journalctl --output cat`",
        ),
        (
            |line| format!("[pod/keyservice-0/keyservice] {line}"),
            "without --prefix",
        ),
        (
            |line| format!("[pod/keyservice-0/keyservice] 2030-01-31T15:00:00.1Z {line}"),
            "without --prefix",
        ),
        (
            |line| format!("2030-01-31T15:00:00.1Z {line}"),
            "without --timestamps",
        ),
        (|line| format!("keyservice-1  | {line}"), "--no-log-prefix"),
    ];
    for (form, cure) in forms {
        let printed: Vec<_> = log.lines().map(form).collect();
        let refused = place.replay(&[&place.write("log", &printed.join("\n"))]);
        assert_eq!(refused.code(), Some(2), "{}", printed[0]);
        assert!(refused.errors().contains(cure), "{}", refused.errors());
    }
    let other = json!({"__CURSOR": "s=1", "MESSAGE": "something else of the system"});
    let none = place.write("log", &other.to_string());
    let errors = place.replay(&[&none]).errors();
    assert!(
        errors.contains("none of 1 line tells of a write"),
        "{errors}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_a_line_is_named_and_fails_the_command_which_has_written_the_others() {
    let (place, log, keys) = restored(revoke_each).await;
    let at = line_of(&log, &keys[1]);
    let lines: Vec<_> = log
        .lines()
        .enumerate()
        .filter(|(line, _)| *line != at)
        .collect();
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    let file = place.write("log", &lines.join("\n"));
    let replayed = place.replay(&[&file]);
    assert_eq!(replayed.code(), Some(1));
    assert_eq!(replayed.findings(), THREE[..2]);
    let errors = replayed.errors();
    assert!(
        errors.contains("no line tells of write 5, and what it took away may be granted"),
        "{errors}"
    );
    // It has not written all again.
    let accepted = run(&[
        "accept-restore",
        "--yes",
        "--output",
        "json",
        "--store",
        &place.store,
    ]);
    assert!(accepted.contains("\"replayed_until\":null"), "{accepted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_from_before_the_input_begins_are_named_however_often_the_store_was_read_since() {
    let mut place = Place::sqlite();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    let keys = [clients.create(None).await, clients.create(None).await];
    for _ in 0..1001 {
        clients.keys.list("acme").await.expect("listed");
    }
    whole_log(server).await;
    let copy = place.copy();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.keys.revoke(&keys[0].id).await.expect("revoked");
    clients.keys.revoke(&keys[1].id).await.expect("revoked");
    let log = whole_log(server).await;
    place.restore(copy);
    let rotated: Vec<_> = log.lines().skip(line_of(&log, &keys[0]) + 1).collect();
    let rotated = place.write("rotated", &rotated.join("\n"));
    let whole = place.write("whole", &log);

    let replayed = place.replay(&["--dry-run", &rotated]);
    assert_eq!(replayed.code(), Some(1));
    let errors = replayed.errors();
    assert!(errors.contains("no line tells of write 3, "), "{errors}");
    let replayed = place.replay(&["--dry-run", &whole]);
    assert_eq!(replayed.code(), Some(0), "{}", replayed.errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_were_only_counted_are_named_unless_every_write_up_to_them_is_told() {
    let (place, log, keys) = restored(revoke_each).await;
    let at = line_of(&log, &keys[1]);
    let lines: Vec<_> = log.lines().collect();
    let told: Value = serde_json::from_str(lines[at]).expect("JSON");
    let counted_at = |time: &str| {
        let message = "admin calls that have no line of their own";
        json!({"timestamp": time, "message": message, "method": "Revoke", "outcome": "OK"})
            .to_string()
    };
    let before = counted_at(told["time"].as_str().expect("a time"));
    let after = counted_at("9999-01-01T00:00:00Z");
    let without = [&lines[..at], &lines[at + 1..]].concat().join("\n");
    for (log, line, is_named) in [
        (&log, &before, false),
        (&log, &after, true),
        (&without, &before, true),
    ] {
        let file = place.write("log", &format!("{log}\n{line}\n"));
        let replayed = place.replay(&["--dry-run", &file]);
        let errors = replayed.errors();
        assert_eq!(replayed.code(), Some(i32::from(is_named)), "{errors}");
        assert_eq!(
            errors.contains("calls that have no line"),
            is_named,
            "{errors}"
        );
    }
}

async fn a_call_that_found_its_work_done_tells_of_no_write_in(mut place: Place) {
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    let keys = [clients.create(None).await, clients.create(None).await];
    clients.domains.add("acme", DOMAIN).await.expect("added");
    clients.domains.add("acme", OTHER).await.expect("added");
    clients
        .domains
        .remove("acme", OTHER)
        .await
        .expect("removed");
    clients.keys.revoke(&keys[0].id).await.expect("revoked");
    let before = whole_log(server).await;
    let copy = place.copy();
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.keys.revoke(&keys[0].id).await.expect("revoked");
    clients.batch_revoke(&[&keys[0]]).await;
    clients.domains.add("acme", DOMAIN).await.expect("added");
    clients
        .domains
        .remove("acme", OTHER)
        .await
        .expect("removed");
    let repeated = whole_log(server).await;
    let server = place.serve().await;
    let mut clients = Clients::of(&server).await;
    clients.keys.revoke(&keys[1].id).await.expect("revoked");
    let log = whole_log(server).await;
    place.restore(copy);
    for line in repeated
        .lines()
        .filter(|line| line.contains("\"admin call\""))
    {
        assert!(!line.contains("\"revision\""), "{line}");
    }
    assert!(!repeated.contains("keys revoked"), "{repeated}");
    for told in [repeated.clone() + &log, before + &repeated + &log] {
        let told = place.write("told", &told);
        let replayed = place.replay(&["--dry-run", &told]);
        assert_eq!(replayed.findings(), ["revoke would_be_written"]);
        assert_eq!(replayed.code(), Some(0), "{}", replayed.errors());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_found_its_work_done_tells_of_no_write_in_a_file() {
    a_call_that_found_its_work_done_tells_of_no_write_in(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_found_its_work_done_tells_of_no_write_in_postgres() {
    a_call_that_found_its_work_done_tells_of_no_write_in(Place::postgres()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_collectors_in_any_order_and_more_than_once_are_taken() {
    let (place, log, _) = restored(revoke_each).await;
    let time = "2030-01-31T15:00:00.000000001Z";
    let mut kubernetes: Vec<_> = log
        .lines()
        .map(|line| {
            let (one, other) = line.split_at(line.len() / 2);
            format!("{time} stderr P {one}\n{time} stderr F {other}\n{time} stdout F {{}}")
        })
        .collect();
    kubernetes.reverse();
    let docker = log.lines().map(|line| {
        let wrapped = json!({"log": format!("{line}\n"), "stream": "stderr", "time": time});
        wrapped.to_string()
    });
    let docker: Vec<_> = docker.collect();
    let files = [
        place.write("kubernetes", &kubernetes.join("\n")),
        // As some editors save it.
        place.write("docker", &format!("\u{feff}{}", docker.join("\r\n"))),
    ];
    let tried = place.replay(&["--dry-run", &files[1]]);
    assert_eq!(tried.findings(), ["revoke would_be_written"; 3]);
    let replayed = place.replay(&[&files[0], &files[1]]);
    assert_eq!(replayed.code(), Some(0), "{}", replayed.errors());
    assert_eq!(replayed.findings(), THREE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_taken_whole_or_what_is_missing_of_it_is_named() {
    let (place, log, _) = restored(async |clients, keys| {
        clients.batch_revoke(&[&keys[0], &keys[1], &keys[2]]).await;
    })
    .await;
    let without = log.lines().filter(|line| !line.contains("keys revoked"));
    let without: Vec<_> = without.collect();
    let file = place.write("without", &without.join("\n"));
    let missing = place.replay(&["--dry-run", &file]);
    assert_eq!(missing.code(), Some(1));
    assert_eq!(missing.findings(), [""; 0]);
    let errors = missing.errors();
    assert!(errors.contains("keys of a BatchRevoke"), "{errors}");
    let records = place.file("records");
    let covered = place.replay(&["--dry-run", &file, &records]);
    assert_eq!(covered.code(), Some(0), "{}", covered.errors());

    let file = place.write("log", &log);
    let replayed = place.replay(&[&file]);
    assert_eq!(replayed.code(), Some(0), "{}", replayed.errors());
    assert_eq!(replayed.findings(), THREE);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_an_earlier_release_and_wrapped_ones_are_refused_and_those_of_others_are_not() {
    let (place, log, keys) = restored(revoke_each).await;
    let line = log.lines().nth(line_of(&log, &keys[0])).expect("a line");
    let mut old: Value = serde_json::from_str(line).expect("JSON");
    let fields = old.as_object_mut().expect("an object");
    fields.remove("time");
    fields.remove("revision");
    for (line, why) in [
        (old.to_string(), "earlier release"),
        (format!("Jan 31 15:00:00 host {line}"), "stands before"),
        (json!({"text": line}).to_string(), "another object"),
        (format!("{{\"log\":{line}}}"), "another object"),
        (
            "INFO admin call store_id=x revision=4".to_owned(),
            "no JSON",
        ),
        (line.replace("\"Revoke\"", "\"Reverse\""), "does not know"),
    ] {
        let file = place.write("log", &format!("{log}\n{line}\n"));
        let refused = place.replay(&[&file]);
        assert_eq!(refused.code(), Some(2), "{why}");
        assert!(refused.errors().contains(why), "{}", refused.errors());
    }
    let others =
        "Starting keyservice.service...\nkeyservice: cannot open the store x: it is no database\n";
    let file = place.write("log", &format!("{others}{log}"));
    assert_eq!(place.replay(&["--dry-run", &file]).code(), Some(0));
    let compressed = place.file("log.gz");
    std::fs::write(&compressed, b"\x1f\x8b\x08\0").expect("written");
    let refused = place.replay(&[&compressed]);
    assert_eq!(refused.code(), Some(2));
    assert!(refused.errors().contains("gunzip"), "{}", refused.errors());
    let empty = place.write("empty", "{\"message\":\"serving\"}\n");
    let refused = place.replay(&[&empty]);
    assert_eq!(refused.code(), Some(2));
    assert!(
        refused.errors().contains("none of 1 line "),
        "{}",
        refused.errors()
    );
    assert_eq!(place.replayed_records().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_not_created() {
    let place = Place::sqlite();
    let line = "{\"time\":\"2030-01-31T15:00:00Z\",\"revision\":1,\"caller\":\"ops\",\"method\":\"SuspendAccount\",\
                \"account_id\":\"acme\",\"outcome\":\"OK\",\"calls\":1}";
    let file = place.write("records", line);
    let refused = place.replay(&[&file]);
    assert_eq!(refused.code(), Some(2), "{}", refused.errors());
    assert!(!place.directory.path().join("keys.db").exists());
}
