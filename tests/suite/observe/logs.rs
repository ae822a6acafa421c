//! The format and the content of the log.

use crate::support::{
    directory,
    hostile::frames::{GOAWAY, RawClient, frame},
    server::{self, Server, sqlite_in},
    tools::tool,
};
use std::{process::Command, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn every_log_line_is_json_unless_a_terminal_shows_it() {
    let directory = directory();
    let mut command = server::serve();
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--log",
        "trace",
        "--store",
        &sqlite_in(&directory),
    ]);
    let mut server = Server::start_command_listening(&mut command).await;
    let mut client = server.client().await;
    client.create("acme", "logged").await.expect("created");
    server.signal("TERM");
    server.wait_for_exit().await;
    let log = server.log();
    assert!(
        log.contains("key created") && log.contains("stopped"),
        "{log}"
    );
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect(line);
        for field in ["timestamp", "level", "target"] {
            assert!(entry[field].is_string(), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_human_readable_on_a_terminal_and_coloured_nowhere_else() {
    let directory = directory();
    let missing = format!("sqlite:{}/missing/keys.db", directory.path().display());
    let serve = ["serve", "--listen", "127.0.0.1:0", "--store", &missing];
    let on_a_terminal = printed(
        Command::new(tool("python3"))
            .args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])"])
            .arg(env!("CARGO_BIN_EXE_keyservice"))
            .args(serve),
    );
    assert!(on_a_terminal.contains("\u{1b}["), "{on_a_terminal}");
    assert!(on_a_terminal.contains("INFO"), "{on_a_terminal}");
    assert!(
        on_a_terminal.contains("opening the store"),
        "{on_a_terminal}"
    );
    assert!(!on_a_terminal.contains("\"level\""), "{on_a_terminal}");

    let in_a_file = printed(
        server::serve()
            .args(&serve[1..])
            .args(["--log-format", "human"]),
    );
    assert!(in_a_file.contains("INFO opening the store"), "{in_a_file}");
    assert!(!in_a_file.contains('\u{1b}'), "{in_a_file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_contains_only_what_its_filter_allows() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut server =
        Server::start_with(&store, &["--log", "error,keyservice::serve=info"], &[]).await;
    server.signal("TERM");
    server.wait_for_exit().await;
    let log = server.log();
    assert!(
        log.lines()
            .all(|line| line.contains("\"target\":\"keyservice::serve")),
        "{log}"
    );
}

/// A client writes that reason, and any text may contain a token.
#[tokio::test(flavor = "multi_thread")]
async fn the_reason_that_a_client_gives_when_it_leaves_is_never_logged() {
    const SECRET: &str = "tsk_a_secret_in_a_goaway";
    let directory = directory();
    let store = sqlite_in(&directory);
    let mut server = Server::start_with(&store, &["--log", "trace"], &[]).await;
    let mut raw = RawClient::connect_with_preface(server.port()).await;
    let protocol_error = [0, 0, 0, 0, 0, 0, 0, 1];
    let reason = [&protocol_error, SECRET.as_bytes()].concat();
    raw.send(&frame(GOAWAY, 0, 0, &reason)).await;
    raw.read_kinds_until_closed(Duration::from_secs(10)).await;
    server.signal("TERM");
    server.wait_for_exit().await;
    let log = server.log();
    assert!(!log.contains("a_secret_in_a_goaway"), "{log}");
}

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
