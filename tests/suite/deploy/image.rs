//! The Dockerfile: what the image is built from, and how it runs. These tests do not build the image,
//! which needs a container engine.

use crate::support::{
    directory,
    server::{self, Server, sqlite_in},
    tools::tool,
};
use std::{collections::BTreeSet, fs, path::Path, process::Command};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_dockerfile_is_well_formed_and_follows_good_practice() {
    let linted = Command::new(tool("hadolint"))
        .arg(Path::new(ROOT).join("deploy/Dockerfile"))
        .output()
        .expect("hadolint runs");
    let found = String::from_utf8_lossy(&linted.stdout);
    assert!(linted.status.success(), "{found}");
}

/// Runs `cargo check` on a copy of the files that the Dockerfile copies.
#[test]
fn the_image_copies_every_file_that_a_build_reads() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let copy = scratch.join("image");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(&copy).expect("a directory");
    let copied = Command::new("cp")
        .args(["-a", "--parents"])
        .args(sent_to_docker())
        .arg(&copy)
        .current_dir(ROOT)
        .status();
    assert!(copied.expect("cp runs").success());
    let mut cargo = Command::new(env!("CARGO"));
    // Cargo's variables for this test would make crates that read them build again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_") && name != "CARGO_HOME" || name == "OUT_DIR" {
            cargo.env_remove(&*name);
        }
    }
    let built = cargo
        .args(["check", "--locked", "--offline", "--bin", "keyservice"])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", scratch.parent().expect("target"))
        .output()
        .expect("cargo runs");
    let error = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{error}");
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
    let stages = instructions("FROM");
    let [build, image] = &stages[..] else {
        panic!("not two stages: {stages:?}");
    };
    for base in [build, image] {
        let tag = base[0].split_once(':').expect("a tag").1;
        assert_ne!(tag, "latest");
    }
    // The same Debian release, so that the binary finds the C library that it was linked with.
    assert!(build[0].starts_with("rust:") && build[0].ends_with("-slim-trixie"));
    assert_eq!(image[0], "gcr.io/distroless/cc-debian13:nonroot");
    // A number, since Kubernetes cannot check whether a user name is root.
    assert_eq!(instructions("USER"), [["65532:65532"]]);
    let binary = instructions("COPY").pop().expect("a copy");
    let destination = binary.last().expect("a path");
    let entrypoint = format!("[\"{destination}\"]");
    assert_eq!(instructions("ENTRYPOINT"), [[entrypoint]]);
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
    let dockerfile = include_str!("../../../deploy/Dockerfile");
    let lines = dockerfile.lines().map(str::split_whitespace);
    let words = lines.map(|words| words.map(str::to_owned).collect::<Vec<_>>());
    words
        .filter_map(|words| Some(words.split_first()?.1.to_vec()).filter(|_| words[0] == name))
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
