//! No text from outside reaches a terminal as something that it obeys, whatever prints it.

use crate::support::{
    directory, eventually,
    server::{self, Server},
};
use std::{
    fs::Permissions,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    process::Command,
};
use tempfile::TempDir;

/// It clears the screen, in two ways, and turns the direction of what follows.
const OBEYED: &str = "a\u{1b}[2Jb\u{9b}2Jc\u{202e}d";

fn assert_shown(printed: &str) {
    let obeyed = |it: char| it.is_control() && it != '\n' || it == '\u{202e}';
    assert!(!printed.contains(obeyed), "{printed:?}");
}

/// A file of this name in the folder.
fn secret_in(directory: &TempDir, content: &str) -> String {
    let path = directory.path().join(OBEYED);
    std::fs::write(&path, content).expect("written");
    path.display().to_string()
}

#[test]
fn errors_and_usage_show_it_written_out() {
    let directory = directory();
    let too_short = secret_in(&directory, "x");
    for (arguments, shown) in [
        (
            &["serve", "--digest-secret-file", &too_short][..],
            r"a\u{1b}[2Jb\u{9b}2Jc\u{202e}d",
        ),
        (&[OBEYED], "Usage: keyservice"),
        (&["--help"], "Usage: keyservice"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
        let ran = command.arg0(OBEYED).args(arguments).output();
        let ran = ran.expect("keyservice runs");
        let printed = String::from_utf8([ran.stdout, ran.stderr].concat()).expect("UTF-8");
        assert_shown(&printed);
        assert!(printed.contains(shown), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_shows_it_written_out() {
    let directory = directory();
    let secret = secret_in(&directory, &"x".repeat(32));
    for path in [directory.path().to_str().expect("UTF-8"), &secret] {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("set");
    }
    // The log has the path that it leads to.
    let link = format!("{}/link", directory.path().display());
    let folder = directory.path().join(format!("{OBEYED}.d"));
    std::fs::create_dir(&folder).expect("made");
    symlink(&folder, &link).expect("linked");
    for (format, shown) in [
        ("json", r"a\u001b[2Jb\u009b2Jc\u202ed"),
        ("human", r"a\u{1b}[2Jb\u{9b}2Jc\u{202e}d"),
    ] {
        let store = format!("sqlite:{link}/{format}.db");
        let mut command = server::serve();
        command.args(["--listen", "127.0.0.1:0", "--log-format", format]);
        command.args(["--store", &store, "--digest-secret-file", &secret]);
        // A start names the real path of a file that it finds.
        let mut first = server::command(&store);
        first.args(["--digest-secret-file", &secret]);
        Server::start_command(&mut first).await.kill().await;
        let server = Server::launch(&mut command);
        let found = format!("{shown}.d/{format}.db");
        eventually("both are logged", async || {
            let log = server.log();
            log.contains("every user of this machine may read") && log.contains(&found)
        })
        .await;
        let log = server.log();
        assert_shown(&log);
        assert!(log.contains(shown), "{shown}: {log}");
        server.kill().await;
    }
}
