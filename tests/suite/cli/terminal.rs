//! What a person at a terminal is shown and asked.

use super::Person;
use crate::support::{server::Server, tools::terminal};
use std::{
    io::{Read, Write},
    process::Stdio,
};

/// Runs a command at a terminal, with this typed there once it has shown this prompt.
fn at_a_terminal(person: &Person, line: &str, prompt: &str, typed: &str) -> (Option<i32>, String) {
    in_a_shell(person, &format!("keyservice {line}"), prompt, typed)
}

/// The same for a whole line of bash.
fn in_a_shell(person: &Person, line: &str, prompt: &str, typed: &str) -> (Option<i32>, String) {
    let mut script = terminal(line);
    script.env("HOME", person.home.path());
    script.envs(person.variables.iter().map(|(name, value)| (name, value)));
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = script.spawn().expect("script runs");
    let mut screen = process.stdout.take().expect("it is piped");
    let mut shown = Vec::new();
    while !shown.ends_with(prompt.as_bytes()) {
        let mut byte = [0];
        screen.read_exact(&mut byte).expect("the prompt");
        shown.extend(byte);
    }
    let mut keyboard = process.stdin.take().expect("it is piped");
    keyboard.write_all(typed.as_bytes()).expect("it reads");
    drop(keyboard);
    screen.read_to_end(&mut shown).expect("it ends");
    let shown = String::from_utf8(shown).expect("UTF-8");
    let status = process.wait().expect("it ends");
    (status.code(), shown.replace("\r\n", "\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_tables_and_is_asked_before_a_key_is_revoked() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let (_, shown) = at_a_terminal(
        &person,
        "keys create --account acme --name Newsletter",
        "",
        "",
    );
    assert!(shown.starts_with("tsend_"), "{shown}");
    assert!(shown.contains("It cannot be shown again."), "{shown}");
    let (_, listed) = at_a_terminal(&person, "keys list --account acme", "", "");
    assert!(listed.starts_with("KEY "), "{listed}");
    let id = listed.lines().nth(1).expect("a key").split(' ').next();
    let revoke = format!("keys revoke {}", id.expect("an id"));

    let (exit, shown) = at_a_terminal(&person, &revoke, "[y/N] ", "n\n");
    assert!(
        shown.contains("Newsletter") && shown.contains("Go on? [y/N]"),
        "{shown}"
    );
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_eq!(exit, Some(1));
    let (exit, shown) = at_a_terminal(&person, &revoke, "[y/N] ", "\u{4}");
    let said = "Go on? [y/N] \nkeyservice: nothing was changed\n";
    assert!(shown.ends_with(said), "{shown:?}");
    assert_eq!(exit, Some(1));
    let (exit, shown) = at_a_terminal(&person, &revoke, "[y/N] ", "y\n");
    assert_eq!(exit, Some(0), "{shown}");
    assert!(shown.contains("Status:      REVOKED"), "{shown}");
    let (exit, shown) = at_a_terminal(&person, &revoke, "", "");
    assert_eq!(exit, Some(0), "{shown}");
    assert!(
        !shown.contains("Go on?"),
        "what is revoked is not asked for again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_which_keys_a_batch_may_revoke() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let create = [
        "keys",
        "create",
        "--account",
        "acme",
        "--name",
        "a",
        "--label",
    ];
    let token = person
        .runs(&[&create[..], &["env=test"]].concat())
        .printed();
    let batch = "keys batch-revoke --account acme --label env=test --reason leak";
    let (_, shown) = at_a_terminal(&person, batch, "[y/N] ", "n\n");
    let asked = "this revokes 1 key of the account acme with --label env=test.";
    assert!(shown.contains(asked), "{shown}");
    let file = person.home.path().join("leaked");
    std::fs::write(&file, token).expect("written");
    let batch = format!(
        "keys batch-revoke --tokens-file {} --reason leak",
        file.display()
    );
    let (_, shown) = at_a_terminal(&person, &batch, "[y/N] ", "n\n");
    let asked = r#"this revokes 1 key: the key "a" (tsend_"#;
    assert!(shown.contains(asked), "{shown}");
    assert!(shown.contains("of the account acme, key_"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_typed_is_not_shown() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let token = person
        .runs(&["keys", "create", "--account", "acme", "--name", "a"])
        .printed();
    let (exit, shown) = at_a_terminal(&person, "authorize example.com", "Token: ", &token);
    let body = token.trim().trim_start_matches("tsend_");
    assert!(!shown.contains(body), "{shown}");
    assert!(shown.contains("Token: "), "{shown}");
    assert!(shown.contains("granted"), "{shown}");
    assert_eq!(exit, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_typed_for_a_batch_are_asked_for_and_not_shown() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let create = ["keys", "create", "--account", "acme", "--name", "a"];
    let tokens = [(); 2].map(|()| person.runs(&create).printed());
    let (exit, shown) = at_a_terminal(
        &person,
        "keys batch-revoke --tokens-file - --reason leak --yes",
        "Tokens, one a line; end with Ctrl-D: ",
        &format!("{}\u{4}", tokens.concat()),
    );
    assert_eq!(exit, Some(0), "{shown}");
    assert!(shown.contains("Revoked 2 keys."), "{shown}");
    for token in tokens {
        assert!(!shown.contains(token.trim().trim_start_matches("tsend_")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_that_key_ids_are_waited_for_and_not_asked_about_none() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let (exit, shown) = at_a_terminal(
        &person,
        "keys batch-revoke --key-ids-file - --reason leak",
        "Key ids, one a line; end with Ctrl-D:\r\n",
        "key_00000000000000000000000000\n\u{4}",
    );
    assert_eq!(exit, Some(1), "{shown}");
    assert!(!shown.contains("Go on?"), "{shown}");
    assert!(shown.contains("none of the given keys exists"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_replaces_a_key_at_once_is_asked_about_both_keys() {
    let server = Server::on_sqlite().await;
    let person = Person::of(&server);
    let id = person.create_key("acme");
    let rotate = format!("keys rotate {id} --overlap 0s");
    let (_, shown) = at_a_terminal(&person, &rotate, "[y/N] ", "n\n");
    assert!(
        shown.contains("this makes a new key, and revokes the key"),
        "{shown}"
    );
}

#[test]
fn a_terminal_shows_again_what_is_typed_after_ctrl_c() {
    let person = Person::new();
    for (command, prompt) in [
        ("authorize example.com", "Token: "),
        (
            "keys batch-revoke --tokens-file - --dry-run",
            "Tokens, one a line; end with Ctrl-D: ",
        ),
    ] {
        // The shell itself goes on.
        let line = format!("trap : INT; keyservice {command}; echo \"exit $?\"; stty -a");
        let (_, shown) = in_a_shell(&person, &line, prompt, "tsend_a\u{3}");
        assert!(shown.contains("exit 130"), "{shown}");
        let modes: Vec<_> = shown.split_whitespace().collect();
        assert!(modes.contains(&"echo"), "{shown}");
    }
}
