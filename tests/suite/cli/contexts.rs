//! The contexts of a person: which one counts, and what cannot be one.

use super::Person;
use crate::support::server::Server;
use serde_json::Value;

/// Who has the contexts `production`, which is the current one, and `staging`.
fn person_with_two() -> Person {
    let person = Person::new();
    for (name, server) in [("production", "127.0.0.1:1"), ("staging", "127.0.0.1:2")] {
        let set = ["contexts", "set", name, "--plaintext", "--server", server];
        person.runs(&set).printed();
    }
    person
}

#[test]
fn flags_of_a_connection_are_refused_where_they_would_do_nothing() {
    let person = person_with_two();
    for (command, flag, value) in [
        ("use", "--server", Some("127.0.0.1:3")),
        ("use", "--plaintext", None),
        ("use", "--timeout", Some("1s")),
        ("remove", "--context", Some("production")),
        ("remove", "--ca", Some("ca.crt")),
    ] {
        let line = ["contexts", command, "staging", flag];
        let refused = person.runs(&[&line[..], value.as_slice()].concat());
        assert_eq!(refused.exit, 2, "{refused:?}");
        let said = format!("{flag} is no part of `keyservice contexts {command}`");
        assert!(refused.err.contains(&said), "{refused:?}");
    }
    let listed = person.runs(&TABLE).printed();
    assert!(
        listed.contains("staging") && listed.contains("* "),
        "{listed}"
    );
    assert!(!listed.contains("*        staging"), "{listed}");
}

const LIST: [&str; 2] = ["contexts", "list"];
const TABLE: [&str; 4] = ["contexts", "list", "-o", "table"];

#[test]
fn the_context_that_commands_use_is_marked_and_what_goes_before_it_is_named() {
    let mut person = person_with_two();
    let used = |person: &Person| {
        let listed = person.runs(&LIST).printed();
        let lines = listed.lines().map(serde_json::from_str);
        let lines = lines.map(|line| line.expect("JSON"));
        let used = lines.filter(|line: &Value| line["used"] == true);
        used.map(|line| line["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(used(&person), ["production"]);
    assert_eq!(person.runs(&TABLE).err, "");
    assert_eq!(
        person.runs(&["contexts", "use", "production"]).err,
        "The current context is production now.\n"
    );
    for (variable, value, is_used, listed, marked) in [
        (
            "KEYSERVICE_CONTEXT",
            "staging",
            &["staging"][..],
            "commands use the context staging, which KEYSERVICE_CONTEXT names, and not the current context",
            &["* unused  production", "used      staging"][..],
        ),
        (
            "KEYSERVICE_CONTEXT",
            "other",
            &[],
            "has no context other; it has: production, staging",
            &["* unused  production", "          staging"],
        ),
        (
            "KEYSERVICE_SERVER",
            "127.0.0.1:3",
            &[],
            "no context is used, because the server is that of the variable KEYSERVICE_SERVER, 127.0.0.1:3",
            &["* unused  production", "          staging"],
        ),
    ] {
        person.variables = vec![(variable, value.to_owned())];
        assert_eq!(used(&person), is_used);
        for line in [&LIST[..], &TABLE] {
            let said = person.runs(line).err;
            assert!(said.contains(listed), "{said}");
        }
        let table = person.runs(&TABLE).printed();
        assert!(marked.iter().all(|row| table.contains(row)), "{table}");
        let chosen = person.runs(&["contexts", "use", "production"]).err;
        let said = format!(
            "The current context is production now.\nkeyservice: the variable {variable} ({value}) goes before it: \
             unset {variable} to use production\n"
        );
        assert_eq!(chosen, said);
    }
    person.variables = vec![("KEYSERVICE_CONTEXT", "staging".to_owned())];
    let same = person.runs(&["contexts", "use", "staging"]).err;
    assert!(!same.contains("goes before"), "{same}");
    person
        .variables
        .push(("KEYSERVICE_SERVER", "a:1".to_owned()));
    let both = person.runs(&LIST).err;
    assert!(both.contains("of which only one can be meant"), "{both}");
}

#[test]
fn who_has_no_context_or_none_that_is_current_is_told_so() {
    let person = person_with_two();
    let removed = person.runs(&["contexts", "remove", "production"]).err;
    let said = "It was the current one. None is now: choose one by `keyservice contexts use`.\n";
    assert!(removed.ends_with(said), "{removed}");
    let listed = person.runs(&TABLE).err;
    assert!(listed.contains("no context is the current one"), "{listed}");
    let removed = person.runs(&["contexts", "remove", "staging"]).err;
    assert_eq!(removed, "Removed the context staging.\n");
    let none = "There are no contexts yet: `keyservice contexts set` adds one.\n";
    assert_eq!(person.runs(&TABLE).err, none);
    assert_eq!(person.runs(&LIST).err, "");
}

#[test]
fn who_calls_the_default_is_told_so_and_why_if_contexts_have_no_place() {
    let person = Person::new();
    let keys = [
        "keys",
        "list",
        "--account",
        "acme",
        "--timeout",
        "1s",
        "-o",
        "table",
    ];
    let is_default = "the connection is the default, 127.0.0.1:50051";
    let at_home = person.runs(&keys).err;
    assert!(!at_home.contains("has no place"), "{at_home}");
    assert!(at_home.contains(is_default), "{at_home}");
    for (home, why) in [
        (None, "neither HOME nor XDG_CONFIG_HOME is set"),
        (Some(""), "neither HOME nor XDG_CONFIG_HOME is set"),
        (Some("/nowhere"), "HOME is /nowhere, which does not exist"),
    ] {
        let said = |line: &[&str]| {
            let mut command = person.command(line);
            match home {
                Some(home) => command.env("HOME", home),
                None => command.env_remove("HOME"),
            };
            let ran = command.output().expect("it runs");
            String::from_utf8(ran.stderr).expect("UTF-8")
        };
        let called = said(&keys);
        let warned = format!(
            "{why}; name the file by --config or KEYSERVICE_CONFIG; no server is named, so"
        );
        let warned = called
            .replace(", and XDG_CONFIG_HOME is not set", "")
            .contains(&warned);
        assert!(warned, "{called}");
        let listed = said(&LIST);
        assert!(
            listed.contains(why) && listed.contains("the default, 127.0.0.1:50051"),
            "{listed}"
        );
        for line in [
            &["contexts", "use", "a"][..],
            &["contexts", "set", "a", "--server", "a:1"],
        ] {
            let refused = said(line);
            assert!(refused.contains(why), "{refused}");
        }
        let named = said(&[&keys[..], &["--plaintext", "--server", "127.0.0.1:1"]].concat());
        assert!(
            !named.contains("has no place") && !named.contains(is_default),
            "{named}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_are_refused_unless_a_flag_goes_before_both() {
    let server = Server::on_sqlite().await;
    let mut person = Person::of(&server);
    let file = person.home.path().join("secret");
    std::fs::write(&file, "tsop_a").expect("written");
    let file = file.to_str().expect("UTF-8").to_owned();
    let list = ["keys", "list", "--account", "acme"];
    person
        .variables
        .push(("KEYSERVICE_SECRET", "tsop_b".to_owned()));
    person
        .variables
        .push(("KEYSERVICE_SECRET_FILE", file.clone()));
    let refused = person.runs(&list);
    assert_eq!(refused.exit, 2, "{refused:?}");
    let both =
        "the variables KEYSERVICE_SECRET and KEYSERVICE_SECRET_FILE are set, of which only one";
    assert!(refused.err.contains(both), "{refused:?}");
    let by_flag = [&["contexts", "check", "--secret-file", &file][..]].concat();
    let checked = person.runs(&by_flag).json();
    assert_eq!(checked["credential"]["place"], file);
    // A variable with a secret goes before a certificate, as it does at the service.
    person.variables.pop();
    let checked = person.runs(&["contexts", "check"]).json();
    assert_eq!(checked["credential"]["place"], "KEYSERVICE_SECRET");
}

#[test]
fn what_can_never_work_or_is_dropped_does_not_become_a_context() {
    const TOKEN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
    let mut person = Person::new();
    let file = |name: &str, text: &str| {
        let path = person.home.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (token, secret) = (file("token", TOKEN), file("secret", "tsop_a"));
    let far = ["--server", "keys.example.org:1"];
    let set =
        |person: &Person, flags: &[&str]| person.runs(&[&["contexts", "set", "a"], flags].concat());
    let with = |flags: &[&'static str]| [&far[..], flags].concat();
    for (flags, said) in [
        (vec!["--server", "localhost"], "is not host:port"),
        (
            vec!["--server", "a:1,https://a:2"],
            "\"https://a:2\" is not host:port",
        ),
        (
            with(&["--plaintext", "--ca", "ca.crt"]),
            "contradict each other: leave out --plaintext",
        ),
        (
            with(&["--plaintext", "--client-cert", "a", "--client-key", "b"]),
            "contradict each other",
        ),
        (
            [&far[..], &["--plaintext", "--secret-file", &secret]].concat(),
            "a secret is not sent to",
        ),
        (
            [&far[..], &["--secret-file", &token]].concat(),
            "holds the token of a key",
        ),
        (
            with(&["--timeout", "3s"]),
            "--timeout cannot be part of a context",
        ),
        (
            with(&["--context", "b"]),
            "--context cannot be part of a context",
        ),
    ] {
        let refused = set(&person, &flags);
        assert_eq!(refused.exit, 2, "{refused:?}");
        assert!(refused.err.contains(said), "{refused:?}");
        assert!(!refused.err.contains("Example"), "{refused:?}");
    }
    assert!(!person.home.path().join(".config").exists());
    let help = person.runs(&["contexts", "set", "--help"]).printed();
    assert!(
        help.contains("--ca") && !help.contains("--timeout"),
        "{help}"
    );
    person.variables = vec![
        ("KEYSERVICE_TIMEOUT", "3s".to_owned()),
        ("KEYSERVICE_SECRET", "tsop_b".to_owned()),
    ];
    let done = set(&person, &far);
    assert_eq!(done.exit, 0, "{done:?}");
    let said = "the secret of the variable KEYSERVICE_SECRET is not part of it";
    assert!(done.err.contains(said), "{done:?}");
    person.variables = vec![("KEYSERVICE_PLAINTEXT", "true".to_owned())];
    let refused = set(&person, &with(&["--ca", "ca.crt"]));
    assert!(
        refused.err.contains("unset KEYSERVICE_PLAINTEXT"),
        "{refused:?}"
    );
}
