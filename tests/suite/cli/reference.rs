//! Completions and manual pages, which are made from the definitions of the commands.

use super::Person;
use crate::support::tools::run_with_input;
use std::{fs, process::Command};

#[test]
fn shells_read_their_completions_and_each_command_has_a_manual_page() {
    let person = Person::new();
    let script = person.runs(&["completions", "bash"]).printed();
    assert!(script.contains("batch-revoke"));
    let bash = run_with_input(Command::new("bash").arg("-n"), script.as_bytes());
    assert!(bash.status.success(), "{bash:?}");
    for shell in ["zsh", "fish"] {
        assert!(
            person
                .runs(&["completions", shell])
                .printed()
                .contains("batch-revoke")
        );
    }

    let folder = person.home.path().join("man1");
    person
        .runs(&["man", folder.to_str().expect("a path")])
        .printed();
    for command in [
        "",
        "-serve",
        "-keys-create",
        "-domains-add",
        "-authorize",
        "-audit",
    ] {
        let page = fs::read_to_string(folder.join(format!("keyservice{command}.1")));
        assert!(page.expect(command).contains(".SH NAME"));
    }
}
