//! Every setting has a flag, an environment variable and documentation.

use crate::support::{
    certificates::Authority,
    clients::callers::Credential,
    directory, eventually,
    server::{self, Server, assert_refused, sqlite_in},
};
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn every_setting_can_be_set_by_its_environment_variable() {
    let directory = directory();
    let settings = settings(&directory);
    for bad in &settings {
        let mut command = server::serve();
        for good in settings.iter().filter(|setting| setting.flag != bad.flag) {
            command.arg(good.flag).arg(&good.value);
        }
        let mut server = Server::launch(command.env(variable(bad.flag), bad.invalid));
        assert!(!server.wait_for_exit().await.success());
        assert!(server.log().contains(bad.flag), "{}", server.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_overrides_its_environment_variable() {
    let directory = directory();
    let mut command = server::serve();
    for setting in settings(&directory) {
        command.arg(setting.flag).arg(&setting.value);
        command.env(variable(setting.flag), setting.invalid);
    }
    let server = Server::start_command_listening(&mut command).await;
    eventually("it serves", async || {
        server.log().contains("\"message\":\"serving\"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_environment_variable_counts_as_unset() {
    let directory = directory();
    let mut command = server::serve();
    command.args(["--listen", "127.0.0.1:0"]);
    for setting in settings(&directory) {
        if !NEVER_EMPTY.contains(&setting.flag) {
            command.env(variable(setting.flag), "");
        }
    }
    let server = Server::start_command_listening(command.current_dir(&directory)).await;
    server.health().await.wait_until_serving().await;
    assert!(directory.path().join("keyservice.db").exists());
}

/// Without them, more people could call, or the keys would be others.
const NEVER_EMPTY: [&str; 7] = [
    "--store",
    "--credentials",
    "--tls-cert",
    "--tls-key",
    "--tls-client-ca",
    "--tls-client-crl",
    "--digest-secret-file",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_of_a_setting_that_protects_refuses_the_start() {
    let directory = directory();
    for flag in NEVER_EMPTY {
        let mut command = server::serve();
        command.args(["--listen", "127.0.0.1:0"]);
        command.env(variable(flag), "").current_dir(&directory);
        assert_refused(&mut command, &[flag]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_page_and_the_help_list_the_same_settings() {
    let mut command = server::serve();
    // The help shows the default even if the environment sets another value.
    let mut server = Server::launch(command.arg("--help").env("KEYSERVICE_DRAIN_LIMIT", "3s"));
    assert!(server.wait_for_exit().await.success());
    let help = settings_of_help(&server.stdout());
    assert_eq!(help, settings_of_page());
    let tested = settings(&directory()).map(|setting| setting.flag);
    assert_eq!(
        BTreeSet::from(tested),
        help.keys().map(String::as_str).collect()
    );
    for (flag, setting) in &help {
        assert_eq!(setting.variable, variable(flag));
    }
    assert_eq!(help["--listen"].default, "127.0.0.1:50051");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_does_not_show_a_password_from_the_environment() {
    let mut command = server::serve();
    command.env("KEYSERVICE_STORE", "postgres://kate:hunter2@db/keys");
    let mut server = Server::launch(command.arg("--help"));
    server.wait_for_exit().await;
    assert!(server.stdout().contains("KEYSERVICE_STORE"));
    assert!(!server.stdout().contains("hunter2"));
}

/// A setting with a valid and an invalid value.
struct Setting {
    flag: &'static str,
    value: String,
    invalid: &'static str,
}

fn settings(directory: &TempDir) -> [Setting; 41] {
    let authority = Authority::new();
    let tls = authority.server("localhost");
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let admin = Credential::new("operator", &["--role", "admin"]);
    [
        ("--health-listen", "127.0.0.1:0", "nowhere"),
        ("--metrics-listen", "127.0.0.1:0", "nowhere"),
        ("--reflection", "true", "perhaps"),
        ("--create-store", "true", "perhaps"),
        ("--store-wait-limit", "10s", "10"),
        (
            "--credentials",
            &file("callers", &admin.line),
            "/no/such/file",
        ),
        (
            "--tls-cert",
            &file("tls.crt", &tls.certificate),
            "/no/such/file",
        ),
        ("--tls-key", &file("tls.key", &tls.key), "/no/such/file"),
        (
            "--tls-client-ca",
            &file("ca.crt", &authority.pem()),
            "/no/such/file",
        ),
        (
            "--tls-client-crl",
            &file("ca.crl", &authority.revocation_list(&[], 2100)),
            "/no/such/file",
        ),
        ("--insecure", "false", "perhaps"),
        ("--max-connections", "4096", "0"),
        ("--max-calls", "8192", "0"),
        ("--max-streams", "256", "0"),
        ("--max-keys-per-account", "10000", "0"),
        ("--max-message-size", "8192", "1"),
        ("--max-header-size", "8192", "1"),
        ("--handshake-timeout", "5s", "soon"),
        ("--message-timeout", "5s", "late"),
        ("--answer-timeout", "30s", "late"),
        ("--keepalive-interval", "30s", "often"),
        ("--keepalive-timeout", "10s", "soon"),
        ("--max-connection-age", "10m", "old"),
        ("--max-connection-age-grace", "30s", "soon"),
        ("--max-admin-calls", "256", "0"),
        ("--listen", "127.0.0.1:0", "nowhere"),
        ("--store", &sqlite_in(directory), "nowhere"),
        (
            "--digest-secret-file",
            &file("secret", &"x".repeat(32)),
            "/no/such/file",
        ),
        ("--verified-domains", "required", "perhaps"),
        ("--retention", "90days", "12h"),
        ("--writes-per-commit", "1", "0"),
        ("--shutdown-delay", "5s", "soon"),
        ("--drain-limit", "20s", "20"),
        ("--lease", "2s", "for ever"),
        ("--renewal-interval", "500ms", "often"),
        ("--pool-size", "8", "0"),
        ("--connect-timeout", "3s", "soon"),
        ("--acquire-timeout", "3s", "soon"),
        ("--statement-timeout", "5s", "soon"),
        ("--log", "info", "keyservice=loud"),
        ("--log-format", "json", "loud"),
    ]
    .map(|(flag, value, invalid)| Setting {
        flag,
        value: value.to_owned(),
        invalid,
    })
}

fn variable(flag: &str) -> String {
    let name = flag.trim_start_matches('-').replace('-', "_");
    format!("KEYSERVICE_{}", name.to_uppercase())
}

/// The descriptions of all settings, by their flags.
type Described = BTreeMap<String, Description>;

#[derive(Debug, PartialEq)]
struct Description {
    variable: String,
    default: String,
}

/// Reads `--flag <VALUE>`, `[env: VARIABLE=…]` and `[default: …]` from the help.
fn settings_of_help(help: &str) -> Described {
    let settings = help.split("\n      --").skip(1).map(|text| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let noted = |note| Some(text.split_once(note)?.1.split_once(']')?.0);
        let flag = text.split(' ').next().expect("a flag");
        let variable = noted("[env: ").expect("a variable").split('=').next();
        let description = Description {
            variable: variable.expect("a name").to_owned(),
            default: noted("[default: ").unwrap_or("none").to_owned(),
        };
        (format!("--{flag}"), description)
    });
    settings.collect()
}

/// Reads the rows of the page's tables that start with a flag.
fn settings_of_page() -> Described {
    let lines = include_str!("../../../docs/settings.md").lines();
    let rows = lines.filter(|line| line.starts_with("| `--"));
    let settings = rows.map(|row| {
        let mut cells = row.split('|').skip(1);
        let mut cell = || cells.next().expect("a cell").trim().replace('`', "");
        let [flag, variable, default] = [cell(), cell(), cell()];
        (flag, Description { variable, default })
    });
    settings.collect()
}
