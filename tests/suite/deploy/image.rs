//! The Dockerfile: what the image is built from, and how it runs. `tests/image` builds it, which takes minutes and
//! needs a container engine.

use crate::support::{
    directory,
    server::{self, Server, sqlite_in},
    tools::tool,
};
use std::{collections::BTreeSet, fs, path::Path, process::Command};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// How the Dockerfile calls Cargo, so that the program lists its crates.
const BUILD: &str = "cargo auditable build";

#[test]
fn the_dockerfile_is_well_formed_and_follows_good_practice() {
    let linted = Command::new(tool("hadolint"))
        .arg(Path::new(ROOT).join("deploy/Dockerfile"))
        .output()
        .expect("hadolint runs");
    let found = String::from_utf8_lossy(&linted.stdout);
    assert!(linted.status.success(), "{found}");
}

/// Follows the first stage of the Dockerfile in an empty folder, with `cargo check` for `cargo auditable build`.
#[test]
fn the_image_copies_every_file_that_a_build_reads_and_builds_the_program_after_its_dependencies() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let copy = scratch.join("image");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(&copy).expect("a directory");
    let mut built = Vec::new();
    for (instruction, words) in of_first_stage() {
        match instruction.as_str() {
            "COPY" => {
                let (destination, sources) = words.split_last().expect("a destination");
                assert!(destination == "./" || sources == [destination.as_str()]);
                let copied = Command::new("cp")
                    .args(["-a", "--parents"])
                    .args(sources)
                    .arg(&copy)
                    .current_dir(ROOT)
                    .status();
                assert!(copied.expect("cp runs").success());
            }
            "RUN" if words.join(" ").contains(BUILD) => {
                built.push(check(&words.join(" "), &copy, scratch));
            }
            _ => {}
        }
    }
    for built in &built {
        // Otherwise the image would have the empty program.
        assert!(built.contains(" keyservice v"), "{built}");
    }
    assert_eq!(built.len(), 2, "the dependencies, and the program");
}

/// Runs this line of the Dockerfile here, and returns what Cargo says.
fn check(line: &str, directory: &Path, scratch: &Path) -> String {
    let cargo = format!("{} check --offline", env!("CARGO"));
    let line = line.replace(BUILD, &cargo).replace(" --release", "");
    let mut shell = Command::new("sh");
    // Cargo's variables for this test would make crates that read them build again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_") && name != "CARGO_HOME" || name == "OUT_DIR" {
            shell.env_remove(&*name);
        }
    }
    let built = shell
        .args(["-ec", &line])
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", scratch.parent().expect("target"))
        .output()
        .expect("sh runs");
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{said}");
    said
}

/// A program that is made as in the Dockerfile still says on which line it panics, and who called.
#[test]
fn backtraces_read_what_the_image_compresses() {
    let scratch = directory();
    let path = |name| scratch.path().join(name).display().to_string();
    let (source, built, program) = (path("panics.rs"), path("panics"), path("compressed"));
    let text = "#[inline(never)]\nfn called() {\n    panic!()\n}\nfn main() {\n    called()\n}\n";
    fs::write(&source, text).expect("written");
    let debug = ["-C", "debuginfo=line-tables-only"];
    let compiled = Command::new("rustc")
        .args(debug)
        .args(["-o", &built, &source])
        .status();
    assert!(compiled.expect("rustc runs").success());
    let steps = instructions("RUN");
    let step = steps.iter().find(|it| it[0] == "objcopy");
    let flags = step.expect("a step").iter();
    let flags = flags.filter(|word| word.starts_with("--"));
    let copied = Command::new("objcopy")
        .args(flags)
        .args([&built, &program])
        .status();
    assert!(copied.expect("objcopy runs").success());
    let size = |path: &str| fs::metadata(path).expect("a file").len();
    assert!(size(&program) < size(&built));
    let ran = Command::new(&program).env("RUST_BACKTRACE", "1").output();
    let said = String::from_utf8(ran.expect("it runs").stderr).expect("UTF-8");
    for line in ["panics.rs:3:", "panics.rs:6:"] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn the_labels_name_the_version_and_the_licence_of_this_release() {
    let dockerfile = include_str!("../../../deploy/Dockerfile");
    for (label, value) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ] {
        let label = format!("org.opencontainers.image.{label}=\"{value}\"");
        assert!(dockerfile.contains(&label), "{label}");
    }
}

#[test]
fn docker_receives_only_the_files_that_the_dockerfile_copies() {
    let copies = instructions("COPY");
    let from_here = copies.iter().filter(|words| !words[0].starts_with("--"));
    let sources = from_here.flat_map(|words| words.split_last().expect("a destination").1);
    let copied: BTreeSet<&str> = sources.map(String::as_str).collect();
    assert_eq!(sent_to_docker(), copied);
}

#[test]
fn the_image_runs_the_binary_on_distroless_as_a_user_other_than_root() {
    let stages = instructions("FROM").concat().join(" ");
    assert_eq!(stages, "${RUST} AS build ${BASE}");
    let arguments = instructions("ARG").concat();
    let base = |name| {
        let mut values = arguments.iter().filter_map(|it| it.strip_prefix(name));
        values.next().expect("a default")
    };
    // The same Debian release, so that the binary finds the C library that it was linked with.
    let build = base("RUST=");
    assert!(build.starts_with("rust:1.") && build.ends_with("-slim-trixie"));
    assert_eq!(
        base("BASE="),
        "gcr.io/distroless/base-nossl-debian13:nonroot"
    );
    // A number, since Kubernetes cannot check whether a user name is root.
    assert_eq!(instructions("USER"), [["65532:65532"]]);
    let binary = instructions("COPY").pop().expect("a copy");
    let destination = binary.last().expect("a path");
    let entrypoint = format!("[\"{destination}\"]");
    assert_eq!(instructions("ENTRYPOINT"), [[entrypoint]]);
}

/// The base has the C library, and the Dockerfile adds the one for unwinding.
#[test]
fn the_program_needs_no_library_that_the_image_lacks() {
    let listed = Command::new("readelf")
        .args(["--dynamic", env!("CARGO_BIN_EXE_keyservice")])
        .output();
    let listed = String::from_utf8(listed.expect("readelf runs").stdout).expect("UTF-8");
    let needed = listed.lines().filter(|line| line.contains("(NEEDED)"));
    let needed: BTreeSet<&str> = needed
        .map(|line| line.split(['[', ']']).nth(1).expect("a name"))
        .filter(|name| !name.starts_with("ld-linux"))
        .collect();
    let in_image = ["libc.so.6", "libgcc_s.so.1", "libm.so.6"];
    assert!(needed.is_subset(&BTreeSet::from(in_image)), "{needed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_writes_nowhere_except_its_volume() {
    let volume = directory();
    let serve = server::command(&sqlite_in(&volume));
    let server = Server::start_command(&mut read_only_except(volume.path(), &serve)).await;
    let mut client = server.client().await;
    let created = client.create("acme", "Newsletter").await.expect("created");
    assert!(client.is_granted(&created.token).await);
    let listed = client.list("acme").await.expect("listed");
    client.revoke(&listed[0].key_id).await.expect("revoked");
    assert!(client.is_revoked(&created.token).await);
    assert!(server.terminate().await.success());
}

/// Runs a command in its own mount namespace, in which everything except the volume is read-only.
fn read_only_except(volume: &Path, command: &Command) -> Command {
    let script = r#"
        for directory in / /tmp /var/tmp; do
            mount --rbind $directory $directory
            mount -o remount,bind,ro $directory
        done
        mount --bind "$0" "$0"
        mount -o remount,bind,rw "$0"
        if touch /tmp/writable 2>/dev/null; then exit 1; fi
        exec "$@""#;
    let mut unshared = Command::new("unshare");
    unshared
        .args(["--map-root-user", "--mount", "sh", "-ec", script])
        .arg(volume)
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    unshared
}

/// The words of each instruction of this kind.
fn instructions(name: &str) -> Vec<Vec<String>> {
    let all = all_instructions().into_iter();
    all.filter_map(|(it, words)| Some(words).filter(|_| it == name))
        .collect()
}

/// The instructions that build the binary.
fn of_first_stage() -> Vec<(String, Vec<String>)> {
    let mut all = all_instructions();
    let is_from = |it: &(String, _)| it.0 == "FROM";
    let second = all.iter().rposition(is_from).expect("two stages");
    all.truncate(second);
    all
}

/// Each instruction with its words.
fn all_instructions() -> Vec<(String, Vec<String>)> {
    let dockerfile = include_str!("../../../deploy/Dockerfile").replace("\\\n", " ");
    let lines = dockerfile.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, words) = line.split_once(' ')?;
            let words = words.split_whitespace().map(str::to_owned);
            Some((name.to_owned(), words.collect()))
        })
        .collect()
}

/// The exceptions in the ignore file, which ignores everything else.
fn sent_to_docker() -> BTreeSet<&'static str> {
    let ignored = include_str!("../../../deploy/Dockerfile.dockerignore");
    let rules = ignored.lines().filter(|line| !line.starts_with('#'));
    let (all, exceptions): (Vec<_>, Vec<_>) = rules.partition(|rule| *rule == "*");
    assert_eq!(all.len(), 1);
    let sent = exceptions.iter().map(|rule| rule.strip_prefix('!'));
    sent.map(|sent| sent.expect("an exception")).collect()
}
