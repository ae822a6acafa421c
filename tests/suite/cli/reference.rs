//! Completions and manual pages, which are made from the definitions of the commands.

use super::Person;
use crate::support::tools::{path, run_with_input};
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
    let file = person.home.path().join("file");
    fs::write(&file, "").expect("written");
    let path = file.to_str().expect("a path");
    assert!(person.runs(&["man", path]).err.contains(path));
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
    let page = fs::read_to_string(folder.join("keyservice-keys-create.1")).expect("a page");
    let usage = "[OPTIONS] \\-\\-account <ACCOUNT> \\-\\-name <NAME>";
    assert!(page.contains(usage), "{page}");
    for command in [
        "keys-create",
        "domains-add",
        "accounts-get",
        "authorize",
        "contexts-check",
    ] {
        let page = fs::read_to_string(folder.join(format!("keyservice-{command}.1")));
        assert!(
            page.expect(command).contains("Exit codes: 0 done"),
            "{command}"
        );
    }
}

/// Neither shell is on every machine, so this looks at what they would read.
#[test]
fn zsh_and_fish_ask_for_the_names_of_contexts_where_one_is_to_be_given() {
    let person = Person::new();
    let script = |shell| person.runs(&["completions", shell]).printed();
    let zsh = script("zsh");
    assert!(zsh.starts_with("#compdef keyservice\n\n_keyservice_context_names() {"));
    let asks = |line: &&str| line.contains(":_keyservice_context_names'");
    let of_flags = zsh
        .lines()
        .filter(asks)
        .filter(|it| it.starts_with("'--context="));
    // A flag of each command that calls a service, and the argument of three that work on a context.
    assert!(of_flags.count() > 20, "{zsh}");
    let names = zsh
        .lines()
        .filter(asks)
        .filter(|it| it.contains(":name -- "));
    assert_eq!(names.count(), 3, "{zsh}");
    assert!(!zsh.contains("_users"), "{zsh}");

    let fish = script("fish");
    let of_flags = fish.lines().filter(|it| it.contains("-l context "));
    for line in of_flags {
        assert!(
            line.contains("-a \"(__keyservice_context_names)\""),
            "{line}"
        );
    }
    assert!(
        fish.contains("function __keyservice_context_names"),
        "{fish}"
    );
    assert!(
        fish.contains("seen_subcommand_from use check remove"),
        "{fish}"
    );
}

#[test]
fn bash_completes_the_names_of_contexts() {
    let person = Person::new();
    for name in ["production", "staging"] {
        let set = ["contexts", "set", name, "--server", "a.example:1"];
        person.runs(&set).printed();
    }
    let script = person.runs(&["completions", "bash"]).printed();
    for (line, names) in [
        ("keyservice contexts use p", "production\n"),
        ("keyservice keys list --context s", "staging\n"),
        ("keyservice keys batch", "batch-revoke\n"),
        ("keyservice credential new a --role au", "authorizer\n"),
        ("keyservice audit --method AddD", "AddDomain\n"),
    ] {
        let complete = format!(
            "{script}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _keyservice_with_contexts keyservice \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let mut bash = Command::new("bash");
        bash.env("HOME", person.home.path()).env("PATH", path());
        let ran = run_with_input(&mut bash, complete.as_bytes());
        assert_eq!(
            String::from_utf8_lossy(&ran.stdout),
            names,
            "{line}: {ran:?}"
        );
    }
}
