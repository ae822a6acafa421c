//! A password in a setting is in no error and in no log line, however wrong the setting is.

use crate::support::{
    directory,
    postgres::Cluster,
    server::{self, Server, audit_command::audit, help, sqlite_in},
};
use std::process::Command;

/// Each could be a part of a command line or of a unit file with a password in a wrong place. None of them
/// is valid for any setting.
const WRONG: [&str; 9] = [
    "hunter2",
    "kate:hunter2@db",
    "http:/kate:hunter2@h",
    "postgres://kate:hunter2@h:port/d",
    "postgres://kate:hunter2@h/d?hunter2=x\n",
    "postgres://kate:hunter2@h/d?sslmode=hunter2",
    "postgres://kate%3Ahunter2@h:1%zz/d",
    "sqlite:postgres://kate:hunter2@h/d",
    "-----BEGIN PRIVATE KEY-----\nhunter2\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_of_the_service_is_repeated() {
    let directory = directory();
    for flag in flags(&help()) {
        for (wrong, number) in WRONG.iter().zip(0..) {
            let mut command = server::serve();
            command.current_dir(&directory);
            if flag != "--listen" {
                command.args(["--listen", "127.0.0.1:0"]);
            }
            if number % 2 == 0 {
                command.env(variable(&flag), wrong);
            } else {
                command.arg(format!("{flag}={wrong}"));
            }
            assert_refused(&mut command, &[&flag]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_among_the_arguments_is_warned_of() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let with_password = store.replacen('@', ":hunter2@", 1);
    let warning = "the password of the store stands in the arguments";
    for (store, is_warned) in [(with_password, true), (store, false)] {
        let log = Server::start(&store).await.log();
        assert_eq!(log.contains(warning), is_warned, "{log}");
        assert!(!log.contains("hunter2"), "{log}");
        let read = audit("", &["--store", &store]);
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success(), "{said}");
        assert_eq!(said.contains(warning), is_warned, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_of_another_command_is_repeated() {
    let audit = [
        "--store", "--since", "--until", "--key", "--limit", "--output",
    ];
    let list = [
        "--status",
        "--label",
        "--unused-since",
        "--limit",
        "--timeout",
    ];
    for (command, flags) in [
        (&["audit"][..], &audit[..]),
        (&["keys", "list"], &list),
        (&["keys", "rotate"], &["--overlap", "--expires"]),
        (&["credential", "new", "name"], &["--role"]),
        (&["grants", "--role=r"], &["--for"]),
        (&["grants", "--for=audit"], &["--role", "--database"]),
    ] {
        // Names have few rules.
        for wrong in WRONG.iter().filter(|wrong| wrong.contains("://")) {
            for flag in flags {
                let word = format!("{flag}={wrong}");
                assert_refused(&mut keyservice(command, &[&word]), &[flag]).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_argument_that_is_not_known_is_repeated() {
    for command in [
        &[][..],
        &["serve"],
        &["audit"],
        &["credential"],
        &["grants"],
        &["keys", "list"],
        &["domains"],
    ] {
        for wrong in WRONG {
            let typed = format!("--stroe={wrong}");
            let glued = format!("--{wrong}");
            let short = format!("-s{wrong}");
            for words in [
                &[wrong][..],
                &[&typed],
                &[&glued],
                &[&short],
                &["--", wrong],
            ] {
                assert_refused(&mut keyservice(command, words), &["Usage: "]).await;
            }
        }
    }
    let mut typed = keyservice(&["serve"], &["--stroe=hunter2"]);
    assert_refused(&mut typed, &["--stroe", "'--store'"]).await;
}

/// The variables of OpenTelemetry that have wrong values. The service ignores some of those.
#[tokio::test(flavor = "multi_thread")]
async fn no_variable_of_opentelemetry_is_repeated() {
    let directory = directory();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    for (name, advice) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://localhost:4317",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "give grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "give grpc"),
    ] {
        let urls = [
            "http://kate:hunter2@h:port",
            "http://kate:hunter2@h h\n",
            "://hunter2",
        ];
        for wrong in WRONG.iter().chain(&urls) {
            let mut command = server::command(&sqlite_in(&directory));
            let command = command.envs([endpoint, (name, wrong)]);
            assert_refused(command, &[name, advice]).await;
        }
    }
    let ignored = [
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SDK_DISABLED",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
    ];
    for wrong in [
        "hunter2",
        "kate:hunter2@db\n",
        "postgres://kate:hunter2@h/d",
    ] {
        let mut env = ignored.map(|name| (name, wrong)).to_vec();
        env.push(endpoint);
        let args = ["--log", "trace"];
        let mut server = Server::start_with(&sqlite_in(&directory), &args, &env).await;
        server.client().await.create_key().await;
        server.signal("TERM");
        server.wait_for_exit().await;
        let log = server.log();
        assert!(!log.contains("hunter2"), "{log}");
        for name in ignored {
            assert!(
                log.contains(&format!("{name} is ignored: ")),
                "{name}: {log}"
            );
        }
    }
}

fn keyservice(command: &[&str], words: &[&str]) -> Command {
    let mut keyservice = Command::new(env!("CARGO_BIN_EXE_keyservice"));
    keyservice.args(command).args(words);
    keyservice
}

async fn assert_refused(command: &mut Command, parts: &[&str]) {
    let mut ran = Server::launch(command);
    let status = ran.wait_for_exit().await;
    let text = ran.stdout() + &ran.log();
    assert!(!status.success(), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

/// The settings of the help.
fn flags(help: &str) -> Vec<String> {
    let words = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"));
    let mut flags: Vec<_> = words.map(str::to_owned).collect();
    flags.retain(|flag| {
        flag[2..]
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    });
    flags.retain(|flag| flag != "--help");
    flags.sort_unstable();
    flags.dedup();
    flags
}

fn variable(flag: &str) -> String {
    let name = flag.trim_start_matches('-').replace('-', "_");
    format!("KEYSERVICE_{}", name.to_uppercase())
}
