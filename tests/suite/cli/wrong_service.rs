//! What a person is told who may have asked the wrong service, or does more than is meant.

use super::Person;
use crate::support::server::Server;

/// Who calls this server by the context `production`.
fn person_at_production(server: &Server) -> Person {
    let person = Person::new();
    let address = format!("127.0.0.1:{}", server.port());
    let set = ["contexts", "set", "production", "--plaintext", "--server"];
    person.runs(&[&set[..], &[&address]].concat()).printed();
    person
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_nothing_is_told_which_service_was_asked() {
    let server = Server::on_sqlite().await;
    let person = person_at_production(&server);
    let none = "key_00000000000000000000000000";
    for line in [
        &["keys", "get", none][..],
        &["keys", "revoke", "--yes", "--reason", "a leak", none],
        &["keys", "list", "--account", "acme", "-o", "table"],
        &["keys", "batch-revoke", "--account", "acme", "--dry-run"],
        &["domains", "list", "--account", "acme", "-o", "table"],
        &["accounts", "get", "acme"],
    ] {
        let done = person.runs(line);
        let said = "; the connection is that of the current context, production";
        assert!(done.err.contains(said), "{done:?}");
    }
    let suspend = ["accounts", "suspend", "acme", "--reason", "spam"];
    let doubted = person.runs(&suspend);
    let production = format!("production (127.0.0.1:{})", server.port());
    let no_key = format!("At {production}, no key");
    assert!(doubted.err.contains(&no_key), "{doubted:?}");
    let id = person.create_key("acme");
    let of_key = ["keys", "suspend", &id, "--reason", "spam"];
    for (line, what) in [
        (&suspend[..], "account acme"),
        (&of_key, &format!("key {id}")),
    ] {
        assert_eq!(person.runs(line).err.matches("at production").count(), 0);
        let told = person.runs(&[line, &["-o", "table"]].concat()).err;
        let said = format!("Suspended the {what} at {production}.\n");
        assert!(told.starts_with(&said), "{told}");
    }
}

#[test]
fn a_file_of_a_context_that_is_not_there_is_named() {
    let person = Person::new();
    let set = ["contexts", "set", "a", "--server", "a:1", "--ca", "no.crt"];
    let done = person.runs(&set);
    assert_eq!(done.exit, 0, "{done:?}");
    assert!(
        done.err.contains("keyservice: ca: no.crt does not exist\n"),
        "{done:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_gets_a_key_is_told_that_its_account_is_suspended() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    assert_eq!(person.runs(&["keys", "get", &id]).err, "");
    person
        .runs(&["accounts", "suspend", "acme", "--reason", "fraud"])
        .printed();
    let key = person.runs(&["keys", "get", &id]);
    let said = "The account acme itself is suspended since ";
    assert!(key.err.starts_with(said), "{key:?}");
    assert_eq!(key.json()["status"], "STATUS_ACTIVE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_what_a_change_takes_away_unseen() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    let expires = ["keys", "update", &id, "--expires", "2090-01-31"];
    person.runs(&expires).printed();
    let rotated = person.runs(&["keys", "rotate", &id, "-o", "table"]);
    let said = "The old key was to expire at 2090-01-31T00:00:00Z, but the new one never does";
    assert!(rotated.err.contains(said), "{rotated:?}");

    let add = [
        "domains",
        "add",
        "example.com",
        "--account",
        "acme",
        "-o",
        "table",
    ];
    let said = "Names below it are not verified any more";
    assert!(!person.runs(&add).err.contains(said));
    person
        .runs(&[&add[..], &["--include-subdomains"]].concat())
        .printed();
    let narrowed = person.runs(&add);
    assert!(narrowed.err.contains(said), "{narrowed:?}");
}
