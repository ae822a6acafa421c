//! What a command says whose output goes nowhere.

use super::Person;
use crate::support::{
    directory,
    server::{Server, sqlite_in},
};
use std::{
    collections::BTreeSet,
    fs::File,
    process::{Command, Output, Stdio},
};

/// Each command that prints, by how it is called. The last ones change something.
const PRINTING: [&str; 21] = [
    "--help",
    "--version",
    "keys --help",
    "grants --role service --for service",
    "credential new sender --role authorizer",
    "completions bash",
    "audit",
    "accept-restore",
    "backup -",
    "restore -",
    "replay -",
    "contexts list",
    "accounts get acme",
    "domains list --account acme",
    "authorize example.com",
    "keys list --account acme",
    "keys get KEY",
    "keys suspend KEY --reason x --yes",
    "keys create --account acme --name Lost",
    "domains add example.net --account acme",
    "accounts suspend acme --reason x --yes",
];

/// It prints nothing.
const SILENT: [&str; 3] = ["serve", "man", "help"];

fn of(person: &Person, line: &str, key: &str) -> Command {
    let words = line.split(' ');
    let words: Vec<_> = words.map(|it| if it == "KEY" { key } else { it }).collect();
    person.command(&words)
}

fn assert_failed(ran: &Output, line: &str) {
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_ne!(ran.status.code(), Some(0), "{line}: {said}");
    assert!(
        !said.is_empty() && !said.contains("panicked"),
        "{line}: {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_print_fails_and_one_whose_output_is_closed_does_nothing() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let server = Server::start(&store).await;
    let mut person = Person::of(&server);
    person.variables.push(("KEYSERVICE_STORE", store));
    let set = [
        "contexts",
        "set",
        "production",
        "--server",
        "keys.example.com:443",
    ];
    person.runs(&set).printed();
    let add = ["domains", "add", "example.com", "--account", "acme"];
    person.runs(&add).printed();
    let create = ["keys", "create", "--account", "acme", "--name", "First"];
    let token = person.runs(&create).printed();
    let listed = person.runs(&["keys", "list", "--account", "acme"]).json();
    let key = listed["keyId"].as_str().expect("an id").to_owned();

    let help = person.runs(&["--help"]).printed();
    let (_, commands) = help.split_once("Commands:").expect("a list");
    let (commands, _) = commands.split_once("\n\n").expect("it ends");
    let first = |line: &'static str| line.split(' ').next().expect("a word");
    let listed: BTreeSet<_> = PRINTING.map(first).into_iter().chain(SILENT).collect();
    for command in commands.lines().filter_map(|line| line.strip_prefix("  ")) {
        let Some(name) = command.split(' ').next().filter(|name| !name.is_empty()) else {
            continue;
        };
        assert!(listed.contains(name), "{name} is in neither table");
    }

    let token_file = person.home.path().join("token");
    std::fs::write(&token_file, token).expect("written");
    let input = || File::open(&token_file).expect("it opens");
    for line in PRINTING {
        let command = of(&person, line, &key);
        let mut closed = Command::new("sh");
        closed.args(["-c", "exec \"$0\" \"$@\" >&-"]);
        closed.arg(command.get_program()).args(command.get_args());
        closed.env_clear().envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let ran = closed.stdin(input()).stderr(Stdio::piped()).output();
        assert_failed(&ran.expect("it runs"), line);
    }
    let domains = person
        .runs(&["domains", "list", "--account", "acme"])
        .printed();
    let keys = person
        .runs(&["keys", "list", "--account", "acme"])
        .printed();
    assert_eq!((domains.lines().count(), keys.lines().count()), (1, 1));
    assert!(keys.contains("STATUS_ACTIVE"), "{keys}");

    for line in PRINTING {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it");
        let ran = of(&person, line, &key).stdin(input()).stdout(full).output();
        assert_failed(&ran.expect("it runs"), line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_variable_is_named_and_those_of_a_kubernetes_service_are_not() {
    let mut person = Person::new();
    person.variables = vec![
        ("KEYSERVICE_LISTN", "secret".to_owned()),
        ("KEYSERVICE_PORT", "tcp://10.0.0.1:50051".to_owned()),
        ("KEYSERVICE_SERVICE_HOST", "10.0.0.1".to_owned()),
    ];
    let said = person.runs(&["grants", "--role", "a", "--for", "audit"]);
    assert_eq!(
        said.err,
        "keyservice: no command reads the variable KEYSERVICE_LISTN; was KEYSERVICE_LISTEN meant?\n"
    );
    said.printed();
    // It would call another service, or as somebody else.
    person.variables = vec![("KEYSERVICE_SECRT", "sesame".to_owned())];
    let refused = person.runs(&["keys", "list", "--account", "acme"]);
    assert_eq!(refused.exit, 2, "{refused:?}");
    assert!(
        refused.err.contains("was KEYSERVICE_SECRET meant?"),
        "{refused:?}"
    );
    assert!(!refused.err.contains("sesame"), "{refused:?}");

    let directory = directory();
    let env = [("KEYSERVICE_RETENTON", "90days")];
    let server = Server::start_with(&sqlite_in(&directory), &[], &env).await;
    let log = server.log();
    assert!(log.contains("was KEYSERVICE_RETENTION meant?"), "{log}");
}
