//! Runs all commands of the page "in production" on a real database.

use crate::support::{
    directory,
    postgres::{NOBODY, free_port, is_running_as_root},
    tools::{self, postgres_tool},
};
use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

/// Stops all processes, also after a failure.
const AT_ITS_END: &str = "kill $(cat replica-*.pid) 2> /dev/null || true; \
    pg_ctl --pgdata database --mode immediate stop > /dev/null 2>&1 || true";

const PAGE: &str = include_str!("../../../deploy/PRODUCTION.md");

#[test]
fn the_commands_of_the_page_print_what_the_page_shows() {
    let script = blocks(PAGE, "sh")
        .collect::<String>()
        .replace("54320", &free_port().to_string())
        .replace(":5005", &format!(":{}", free_ports()))
        .replace(":946", &format!(":{}", free_ports()));

    let [directory, wrappers] = [(); 2].map(|()| directory());
    install_wrappers(wrappers.path());
    // The user of the database works in this directory.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("set");
    let ran = Command::new("timeout")
        .args(["120", "bash", "-eu", "-c"])
        .arg(format!("trap '{AT_ITS_END}' EXIT\n{script}"))
        .current_dir(directory.path())
        .env("PATH", path(wrappers.path()))
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&ran.stderr);
    let logged = fs::read_to_string(directory.path().join("replica-1.log"));
    assert!(
        ran.status.success(),
        "{said}\n{}",
        logged.unwrap_or_default()
    );
    // The last commands show which replicas are alive and how long their leases last.
    let printed = blocks(PAGE, "text").collect::<String>() + "1\n";
    assert_eq!(String::from_utf8_lossy(&ran.stdout), printed, "{said}");
}

/// A page's code blocks of a kind, in order.
pub(super) fn blocks(page: &'static str, kind: &str) -> impl Iterator<Item = &'static str> {
    let fence = format!("```{kind}\n");
    let starts: Vec<_> = page.match_indices(&fence).collect();
    starts.into_iter().map(|(at, fence)| {
        let block = &page[at + fence.len()..];
        block.split("```").next().expect("its end")
    })
}

/// Finds three free ports that end in 1, 2 and 3, and returns their common first digits.
fn free_ports() -> String {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let drawn = std::iter::repeat_with(|| rand::random_range(1000..3200_u16));
    let mut tens = drawn.filter(|tens| (1..=3).all(|last| free(tens * 10 + last)));
    tens.next().expect("it goes on for ever").to_string()
}

/// The PATH with the wrappers, the binary under test, PostgreSQL's programs, and the tools that
/// `tests/run` installs, in this order.
pub(super) fn path(wrappers: &Path) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_keyservice"));
    let built = binary.parent().expect("a directory").display();
    let postgres = postgres_tool("initdb");
    let postgres = postgres.parent().expect("a directory").display();
    let wrappers = wrappers.display();
    format!("{wrappers}:{built}:{postgres}:{}", tools::path())
}

/// PostgreSQL refuses to run as root. As root, the tests run its programs as the user nobody, who owns
/// the database.
fn install_wrappers(directory: &Path) {
    if is_running_as_root() {
        for name in ["initdb", "pg_ctl"] {
            as_nobody(directory, name);
        }
    }
}

fn as_nobody(directory: &Path, name: &str) {
    let program = postgres_tool(name);
    let script = format!(
        "#!/bin/sh\nchown -R {NOBODY}:{NOBODY} database\n\
         exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {} \"$@\"\n",
        program.display()
    );
    let path = directory.join(name);
    fs::write(&path, script).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("set");
}
