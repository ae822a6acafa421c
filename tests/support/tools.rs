//! Finds the programs that the tests run. An error names the command that installs a missing one.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Runs a line of bash with grpcurl on the PATH. Returns the output, or the error output on failure.
pub fn shell(line: &str) -> Result<String, String> {
    let ran = Command::new("bash")
        .args(["-c", line])
        .env("PATH", path())
        .output()
        .expect("bash runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    if ran.status.success() {
        Ok(text(ran.stdout))
    } else {
        Err(text(ran.stderr))
    }
}

/// A command that runs a line of bash at a terminal.
pub fn terminal(line: &str) -> Command {
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    script.env("SHELL", "/bin/bash").env("PATH", path());
    script
}

/// The PATH with the directories of grpcurl and of `keyservice`.
pub fn path() -> String {
    let programs = [tool("grpcurl"), env!("CARGO_BIN_EXE_keyservice").into()];
    let folders = programs.map(|it| it.parent().expect("a directory").display().to_string());
    format!(
        "{}:{}",
        folders.join(":"),
        env::var("PATH").unwrap_or_default()
    )
}

/// Runs a command with this standard input until it ends.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = process.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    process.wait_with_output().expect("it ends")
}

/// Runs promtool on this input, or on the files in its arguments. It must report no error.
pub fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(tool("promtool"));
    let ran = run_with_input(command.args(arguments), input.as_bytes());
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "promtool {arguments:?}: {said}");
    assert!(said.trim().is_empty(), "promtool {arguments:?}: {said}");
    String::from_utf8(ran.stdout).expect("UTF-8")
}

/// A program from `target/test-tools/bin`, where `tests/run` installs it, or from the PATH.
pub fn tool(name: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin");
    find(name, [installed].into_iter().chain(path_entries())).unwrap_or_else(|| {
        panic!("these tests need {name}: run them with tests/run, which installs it")
    })
}

/// The command that runs `PgBouncer`, which `tests/run` unpacks with its libraries unless the system has
/// it.
pub fn pgbouncer() -> (PathBuf, String) {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/pgbouncer/usr");
    let libraries = unpacked.join(format!("lib/{}-linux-gnu", env::consts::ARCH));
    let system = ["/usr/sbin".into()].into_iter().chain(path_entries());
    let program = find(
        "pgbouncer",
        [unpacked.join("sbin")].into_iter().chain(system),
    );
    let program = program.unwrap_or_else(|| {
        panic!("these tests need PgBouncer: run them with tests/run, which installs it")
    });
    (program, libraries.display().to_string())
}

/// A Python program of `tests/clients`.
pub fn python_client(name: &str) -> Command {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut command = Command::new(tool("python3"));
    command.arg("-B").arg(clients.join(name));
    command
}

/// A PostgreSQL program: the newest version in Debian's directory for them, or the one on the PATH.
pub fn postgres_tool(name: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    versions.sort_by_key(|path| {
        let version = path.parent().and_then(Path::file_name);
        version.and_then(|name| name.to_str()?.parse::<u32>().ok())
    });
    find(name, versions.into_iter().rev().chain(path_entries())).unwrap_or_else(|| {
        panic!("these tests need PostgreSQL's {name}: sudo apt-get install -y postgresql")
    })
}

/// A program of PostgreSQL 13, which `tests/run` installs.
pub fn postgres_13_tool(name: &str) -> PathBuf {
    installed_postgres_tool("13", name)
}

/// A program of PostgreSQL 18, which `tests/run` installs.
pub fn postgres_18_tool(name: &str) -> PathBuf {
    installed_postgres_tool("18", name)
}

/// psql with the newest libpq. The package has that library alone, and another version's psql runs with
/// it. It finds neither the user's certificates nor other settings.
pub fn newest_psql(home: &Path) -> Command {
    let postgres = postgres_18_tool("postgres");
    let package = postgres.ancestors().nth(2).expect("a package");
    let mut command = Command::new(postgres_tool("psql"));
    command
        .env_clear()
        .env("HOME", home)
        .env("LD_LIBRARY_PATH", package.join("lib"))
        .arg("-XAtq");
    command
}

fn installed_postgres_tool(version: &str, name: &str) -> PathBuf {
    let package = format!("target/test-tools/postgres-{version}/package/native/bin");
    let program = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(package)
        .join(name);
    let is_there = program.is_file();
    assert!(
        is_there,
        "these tests need PostgreSQL {version}: run them with tests/run, which installs it"
    );
    program
}

fn path_entries() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn find(name: &str, mut directories: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    directories.find_map(|directory| Some(directory.join(name)).filter(|path| path.is_file()))
}
