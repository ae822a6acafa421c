//! What an operator is told who has mistyped something, or asks twice.

use super::Person;
use crate::support::{
    directory,
    server::{Server, sqlite_in},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

const SUSPEND: [&str; 4] = ["accounts", "suspend", "--reason", "spam"];

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_nobody_knows_is_suspended_only_if_it_is_meant() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let doubted = person.runs(&[&SUSPEND[..], &["acmee"]].concat());
    assert_eq!(doubted.exit, 2, "{doubted:?}");
    assert!(
        doubted
            .err
            .contains("no key and no domain belongs to the account acmee")
    );
    let shown = person.runs(&["accounts", "get", "acmee"]).json();
    assert!(shown.get("suspension").is_none(), "{shown}");
    let meant = person.runs(&[&SUSPEND[..], &["acmee", "--yes"]].concat());
    assert_eq!(meant.json()["suspension"]["reason"], "spam");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_a_second_time_says_so_and_a_resume_changes_nothing_then() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    for (kind, name) in [("accounts", "acme"), ("keys", &id)] {
        let suspend = |reason| person.runs(&[kind, "suspend", name, "--reason", reason]);
        assert_eq!(suspend("spam").err, "");
        let again = suspend("fraud");
        assert!(
            again.err.contains("spam. The new reason replaces"),
            "{again:?}"
        );
        assert_eq!(again.json()["suspension"]["reason"], "fraud");
        assert!(suspend("fraud").err.ends_with(", fraud.\n"));
        let resume = || person.runs(&[kind, "resume", name]);
        let first = resume();
        assert_eq!(first.err, "");
        let second = resume();
        assert!(second.err.contains("was not suspended. Nothing was"));
        // Not even the etag.
        assert_eq!(second.json(), first.json());
    }
    let domain = |what| person.runs(&["domains", what, "Example.com", "--account", "acme"]);
    domain("add").printed();
    assert_eq!(domain("remove").err, "");
    assert_eq!(
        domain("remove").err,
        "It was removed already. Nothing was changed.\n"
    );
    person.runs(&["keys", "revoke", "--yes", &id]).printed();
    let refused = person.runs(&["keys", "resume", &id]);
    assert!(
        refused.exit == 1 && refused.err.contains("revoked"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_shows_when_it_expires_and_that_its_account_is_suspended() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    let table = |line: &[&str]| person.runs(&[line, &["-o", "table"]].concat());
    let get = || table(&["keys", "get", &id]).printed();
    assert!(get().contains("Expires:     never\n"), "{}", get());
    person
        .runs(&["keys", "update", &id, "--expires", "2100-01-31"])
        .printed();
    assert!(get().contains("Expires:     2100-01-31T00:00:00Z\n"));
    let rotated = table(&["keys", "rotate", &id]);
    assert!(rotated.err.contains("Expires:     never\n"), "{rotated:?}");

    assert!(get().contains("Status:      ACTIVE\n"));
    person.runs(&[&SUSPEND[..], &["acme"]].concat()).printed();
    assert!(
        get().contains("ACTIVE, but its account is suspended since"),
        "{}",
        get()
    );
    let listed = table(&["keys", "list", "--all-accounts"]).printed();
    assert_eq!(
        listed.matches("ACTIVE, account suspended").count(),
        2,
        "{listed}"
    );
    assert!(
        listed.starts_with("KEY ") && listed.contains("  EXPIRES  "),
        "{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_keys_says_what_it_looked_for() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    person.create_key("acme");
    let none = ["keys", "list", "--account", "acme", "--status", "revoked"];
    let listed = person.runs(&[&none[..], &["-o", "table"]].concat());
    let said = "No keys match --account acme --status revoked; the connection is that of the variable KEYSERVICE_SERVER,";
    assert_eq!(listed.err, format!("{said} 127.0.0.1:{}.\n", server.port()));
    assert_eq!(listed.printed(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_needs_no_reason_and_shows_the_keys() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let (id, revoked) = (person.create_key("acme"), person.create_key("acme"));
    person
        .runs(&["keys", "revoke", "--yes", &revoked])
        .printed();
    let given = person.home.path().join("ids");
    fs::write(&given, format!("{id}\n{revoked}\n")).expect("written");
    let given = given.to_str().expect("a path");
    let dry = ["keys", "batch-revoke", "--dry-run", "-o", "table"];
    for which in [["--account", "acme"], ["--key-ids-file", given]] {
        let shown = person.runs(&[&dry[..], &which].concat()).printed();
        assert!(shown.contains(&id) && !shown.contains(&revoked), "{shown}");
        assert!(shown.contains("\nWould revoke 1 key."), "{shown}");
    }
    let none = [
        &dry[..],
        &["--account", "acme", "--created-before", "2020-01-31"],
    ]
    .concat();
    let none = person.runs(&none);
    assert!(!none.out.contains(&id) && none.exit == 1, "{none:?}");
    let real = ["keys", "batch-revoke", "--account", "acme", "--yes"];
    assert!(person.runs(&real).err.contains("--reason"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_understood_in_the_words_of_this_program() {
    let directory = directory();
    let mut command = crate::support::server::command(&sqlite_in(&directory));
    let command = command.env_remove("KEYSERVICE_VERIFIED_DOMAINS");
    let server = Server::start_command(command).await;
    let person = Person::of(&server);
    let create = ["keys", "create", "--account", "acme", "--name", "a"];
    let with = |flags: &[&str]| person.runs(&[&create, flags].concat());
    let unverified = with(&["--domain", "example.com"]);
    assert!(
        unverified.err.contains("call `keyservice domains add`"),
        "{unverified:?}"
    );
    let past = with(&["--expires", "2020-01-31"]);
    assert!(past.err.contains("wrong: --expires "), "{past:?}");
    assert_eq!(with(&["--request-id", "once"]).exit, 0);
    let again = with(&["--request-id", "once"]);
    assert_eq!(again.exit, 1);
    assert!(
        again.err.contains("--request-id was used before, for key_"),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_into_a_new_file_that_only_its_owner_can_read() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let path = person.home.path().join("token");
    let file = path.to_str().expect("a path");
    let create = [
        "keys",
        "create",
        "--name",
        "a",
        "--token-out",
        file,
        "--account",
    ];
    let create = |account| person.runs(&[&create[..], &[account]].concat());
    // The service refuses this name, and no empty file is left.
    let reserved = [
        "keys",
        "create",
        "--name",
        "",
        "--token-out",
        file,
        "--account",
        "a",
    ];
    assert_eq!(person.runs(&reserved).exit, 2);
    assert!(!path.exists());
    assert_eq!(create("acme").printed(), "");
    let token = fs::read_to_string(&path).expect("written");
    assert!(
        token.starts_with("tsend_") && token.len() == 56,
        "{}",
        token.len()
    );
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = create("globex");
    assert_eq!(again.exit, 2, "{again:?}");
    assert_eq!(fs::read_to_string(&path).expect("there"), token);
    let keys = person
        .runs(&["keys", "list", "--account", "globex"])
        .printed();
    assert_eq!(keys, "", "no key whose token would be lost was made");
}

#[test]
fn nobody_waits_for_a_host_that_does_not_exist() {
    let person = Person::new();
    let begun = Instant::now();
    let done = person.runs(&[
        "keys",
        "list",
        "--account",
        "acme",
        "--server",
        "nosuchhost.invalid:1",
        "--timeout",
        "60s",
    ]);
    assert_eq!(done.exit, 4, "{done:?}");
    assert!(
        done.err
            .contains("no address was found for nosuchhost.invalid:1"),
        "{done:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_command_never_takes_the_file_of_this_folder_for_the_store_of_a_service() {
    let directory = directory();
    Server::start(&sqlite_in(&directory))
        .await
        .terminate()
        .await;
    fs::rename(
        directory.path().join("keys.db"),
        directory.path().join("keyservice.db"),
    )
    .expect("moved");
    let mut person = Person::new();
    let audit = |person: &Person, flags: &[&str]| {
        let mut command = person.command(&[&["audit"], flags].concat());
        let ran = command
            .current_dir(directory.path())
            .output()
            .expect("it runs");
        (
            ran.status.code(),
            String::from_utf8(ran.stderr).expect("UTF-8"),
        )
    };
    let (exit, said) = audit(&person, &[]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(
        said.contains("the records of sqlite:keyservice.db"),
        "{said}"
    );
    let named = ["--store", "sqlite:keyservice.db"];
    person.variables = vec![("KEYSERVICE_SERVER", "keys.example.org:50051".to_owned())];
    assert_eq!(audit(&person, &[]).0, Some(2));
    assert_eq!(audit(&person, &named), (Some(0), String::new()));
    person.variables.clear();
    let set = [
        "contexts",
        "set",
        "production",
        "--server",
        "keys.example.org:50051",
    ];
    person.runs(&set).printed();
    let (exit, said) = audit(&person, &[]);
    assert_eq!(exit, Some(2));
    assert!(
        said.contains("production") && said.contains("--store"),
        "{said}"
    );
    assert_eq!(audit(&person, &named), (Some(0), String::new()));
}

/// All that the words of a command line, and the files that they name, decide is one kind of mistake.
#[test]
fn each_mistake_of_a_command_line_has_the_same_exit_code() {
    let mut person = Person::new();
    let there = person.home.path().join("there");
    fs::write(&there, "").expect("written");
    let there = there.to_str().expect("UTF-8");
    let key = "key_00000000000000000000000000";
    for line in [
        "credential new a --role admin --secret-out THERE",
        "keys create --account a --name b --token-out THERE",
        "keys create --account a --name b --domain a..b",
        "keys create --account a --name b --expires soon",
        "keys create --account +a --name b",
        "keys get key_1",
        "keys get KEY --token-file THERE",
        "keys get --token-file THERE",
        "keys get --token-file MISSING",
        "keys revoke KEY",
        "keys batch-revoke --account a --reason b",
        "keys batch-revoke --tokens-file THERE --dry-run",
        "keys list --account a --limit 0",
        "domains add a..b --account a",
        "authorize a..b",
        "contexts use nobody",
        "contexts set a",
        "audit --since soon",
        "audit --limit 0",
        "audit --store sqlite:MISSING",
        "accept-restore --store sqlite:MISSING",
        "backup THERE --store sqlite:THERE",
        "backup new --store sqlite:MISSING",
        "backup new --store postgres://a@b/c",
        "restore new --store postgres://a@b/c",
        "restore MISSING --store sqlite:new",
        "replay MISSING --store sqlite:MISSING",
        "grants --role a --for b",
    ] {
        let line = line.replace("THERE", there).replace("KEY", key);
        let line = line.replace("MISSING", &there.replace("there", "missing"));
        let done = person.runs(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((done.exit, &*done.out), (2, ""), "{line}: {done:?}");
    }
    // Such a command works on a store, and no service.
    person.variables = vec![("KEYSERVICE_SERVER", "a:1".to_owned())];
    for line in [
        &["audit"][..],
        &["backup", "a"],
        &["restore", "a"],
        &["accept-restore"],
    ] {
        assert_eq!(person.runs(line).exit, 2, "{line:?}");
    }
}
