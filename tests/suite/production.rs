//! The page "in production", command by command, on a real database.

use crate::support::{directory, postgres::Cluster, tools};
use std::{
    fmt::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

const PAGE: &str = include_str!("../../deploy/PRODUCTION.md");

#[test]
fn the_commands_of_the_page_come_out_as_printed() {
    let cluster = Cluster::start();
    let mut script = "trap 'kill $(cat replica-*.pid) 2> /dev/null || true' EXIT\n".to_owned();
    for commands in blocks("sh") {
        write!(script, "{commands}").expect("a string takes all");
    }
    let script = script
        .replace(
            "postgres://keyservice:PASSWORD@localhost/keyservice",
            &cluster.database(),
        )
        .replace(":5005", &format!(":{}", free_ports()))
        .replace(":946", &format!(":{}", free_ports()));

    let directory = directory();
    let ran = Command::new("timeout")
        .args(["120", "bash", "-eu", "-c", &script])
        .current_dir(directory.path())
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&ran.stderr);
    let logged = std::fs::read_to_string(directory.path().join("replica-1.log"));
    assert!(
        ran.status.success(),
        "{said}\n{}",
        logged.unwrap_or_default()
    );
    // What is alive, and how long its lease has left, is asked for last.
    let printed = blocks("text").collect::<String>() + "1\n";
    assert_eq!(String::from_utf8_lossy(&ran.stdout), printed, "{said}");
}

/// The page's blocks of a kind, in order.
fn blocks(kind: &str) -> impl Iterator<Item = &'static str> {
    let fence = format!("```{kind}\n");
    let starts: Vec<_> = PAGE.match_indices(&fence).collect();
    starts.into_iter().map(|(at, fence)| {
        let block = &PAGE[at + fence.len()..];
        block.split("```").next().expect("its end")
    })
}

/// All but the last digit of ports that end in 1, 2 and 3 and are free.
fn free_ports() -> String {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let drawn = std::iter::repeat_with(|| rand::random_range(1000..3200_u16));
    let mut tens = drawn.filter(|tens| (1..=3).all(|last| free(tens * 10 + last)));
    tens.next().expect("it goes on for ever").to_string()
}

/// With the binary under test and the tools that `tests/run` has installed in front.
fn path() -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_keyservice"));
    let built = binary.parent().expect("a directory").display();
    format!("{built}:{}", tools::path())
}
