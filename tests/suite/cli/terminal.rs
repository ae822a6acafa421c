//! What a person at a terminal is shown and asked.

use super::Person;
use crate::support::{
    server::Server,
    tools::{run_with_input, terminal},
};
use std::process::Output;

/// Runs a command at a terminal, with this typed there.
fn at_a_terminal(person: &Person, line: &str, typed: &str) -> (Option<i32>, String) {
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_keyservice"));
    let mut script = terminal(&line);
    script.env("HOME", person.home.path());
    script.envs(person.variables.iter().map(|(name, value)| (name, value)));
    let Output { status, stdout, .. } = run_with_input(&mut script, typed.as_bytes());
    let shown = String::from_utf8(stdout).expect("UTF-8");
    (status.code(), shown.replace("\r\n", "\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_tables_and_is_asked_before_a_key_is_revoked() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let (_, shown) = at_a_terminal(&person, "keys create --account acme --name Newsletter", "");
    assert!(shown.starts_with("tsend_"), "{shown}");
    assert!(shown.contains("It cannot be shown again."), "{shown}");
    let (_, listed) = at_a_terminal(&person, "keys list --account acme", "");
    assert!(listed.starts_with("KEY "), "{listed}");
    let id = listed.lines().nth(1).expect("a key").split(' ').next();
    let revoke = format!("keys revoke {}", id.expect("an id"));

    let (exit, shown) = at_a_terminal(&person, &revoke, "n\n");
    assert!(
        shown.contains("Newsletter") && shown.contains("Go on? [y/N]"),
        "{shown}"
    );
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_eq!(exit, Some(1));
    let (exit, shown) = at_a_terminal(&person, &revoke, "y\n");
    assert_eq!(exit, Some(0), "{shown}");
    assert!(shown.contains("Status:      revoked"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_typed_is_not_shown() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let token = person
        .runs(&["keys", "create", "--account", "acme", "--name", "a"])
        .printed();
    let (exit, shown) = at_a_terminal(&person, "authorize example.com", &token);
    assert!(shown.contains("Token: "), "{shown}");
    assert!(shown.contains("granted"), "{shown}");
    assert_eq!(exit, Some(0));
}
