//! Each command that a page shows is run by a test, or looked up: its program, its flags and its files
//! exist. A page that gets another command fails here until a test covers it.

use super::{
    pages::{pages, read, root},
    production::path,
};
use crate::support::{
    directory,
    kubernetes::manifests::{POSTGRES, SQLITE, in_json, list, text},
    server::{Server, sqlite_in},
    tools::{postgres_tool, tool},
};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Pages with their blocks of commands, by the language and the number of blocks, and the test that runs
/// every one of them.
const RUN: [(&str, &str, usize, &str); 11] = [
    ("README.md", "console", 1, "tour.rs"),
    ("docs/grpcurl.md", "console", 1, "tour.rs"),
    ("docs/keys.md", "console", 1, "tour.rs"),
    ("docs/organising.md", "console", 1, "tour.rs"),
    ("docs/command-line.md", "sh", 4, "tour.rs"),
    ("docs/gateway.md", "sh", 5, "gateway.rs"),
    ("deploy/PRODUCTION.md", "sh", 11, "production.rs"),
    ("docs/backup.md", "sh", 8, "backup.rs"),
    ("docs/domains.md", "sh", 1, "commands.rs"),
    ("deploy/README.md", "sh", 6, "commands.rs"),
    ("deploy/helm/README.md", "sh", 1, "commands.rs"),
];

/// Pages whose commands take too long for a test, need somebody else's machine, or work on the source.
const LOOKED_UP: [(&str, usize); 11] = [
    ("README.md", 2),
    ("docs/abuse.md", 1),
    ("docs/callers.md", 3),
    ("docs/postgres.md", 2),
    ("docs/sqlite.md", 1),
    ("bench/README.md", 2),
    ("tests/FAULTS.md", 1),
    ("clients/go/README.md", 1),
    ("clients/node/README.md", 1),
    ("clients/python/README.md", 1),
    ("clients/rust/README.md", 1),
];

/// What pages call `ADDRESS`.
const SOME_STORE: &str = "sqlite:keyservice.db";

/// What pages call `KEY_ID`.
const SOME_KEY: &str = "key_01m8d4da2afq1t0whwxxddwr9s";

#[test]
fn every_block_of_commands_is_run_by_a_test_or_looked_up() {
    for page in all_pages() {
        let text = read(&root().join(&page));
        for language in ["sh", "console"] {
            let run = RUN.iter().filter(|it| (it.0, it.1) == (&*page, language));
            let looked_up = LOOKED_UP
                .iter()
                .filter(|it| it.0 == page && language == "sh");
            let covered = run.map(|it| it.2).chain(looked_up.map(|it| it.1));
            let shown = blocks(&text, language).len();
            assert_eq!(
                covered.sum::<usize>(),
                shown,
                "{page} has {shown} blocks of {language}: have a test run each, and count them here"
            );
        }
        for language in ["bash", "shell", "zsh"] {
            assert!(blocks(&text, language).is_empty(), "{page}: call it sh");
        }
    }
    for (page, _, _, test) in RUN {
        let source = read(&root().join("tests/suite/docs").join(test));
        let reads = [
            format!("include_str!(\"../../../{page}\")"),
            format!("page(\"{page}\")"),
        ];
        assert!(
            reads.iter().any(|it| source.contains(it)),
            "{test} does not read {page}"
        );
    }
}

#[test]
fn what_no_test_runs_names_programs_flags_and_files_that_exist() {
    for (page, _) in LOOKED_UP {
        for block in blocks(&read(&root().join(page)), "sh") {
            for call in calls(&block) {
                look_up(&call);
            }
        }
    }
}

/// In the prose, only commands of our own can be told from other words.
#[test]
fn the_commands_in_sentences_and_in_examples_of_output_exist_too() {
    const OURS: [&str; 5] = [
        "keyservice ",
        "cargo bench ",
        "cargo run ",
        "tests/",
        "bench/run",
    ];
    let mut count = 0;
    for page in all_pages() {
        let text = read(&root().join(&page));
        let mut commands = in_sentences(&text);
        commands.retain(|it| it.contains(' ') && OURS.iter().any(|ours| it.starts_with(ours)));
        let outputs = blocks(&text, "text");
        let typed = outputs.iter().flat_map(|it| it.lines());
        commands.extend(typed.filter_map(|it| it.strip_prefix("$ ").map(str::to_owned)));
        for command in commands {
            let [call] = &calls(&command)[..] else {
                panic!("{page}: {command}");
            };
            look_up(call);
            count += 1;
        }
    }
    assert!(count >= 15, "only {count} commands were found");
}

/// Runs the commands about Kubernetes with programs that need no cluster: kubectl and Helm print what they
/// would create, and `exec` runs a program at its path in the image.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_pages_of_deployment_fit_the_manifests_the_secrets_and_the_image() {
    let cluster = NoCluster::new();
    let server = Server::start(&sqlite_in(&cluster.home)).await;
    server.client().await.create_key().await;

    let printed = cluster.run(&page("deploy/README.md"));
    let revealed: Value = serde_json::from_str(printed.lines().next().expect("a record"))
        .expect("a record of the audit, in JSON");
    assert_eq!(revealed["method"], "Create", "{revealed}");
    let workload = SQLITE.workload();
    let kind = text(&workload["kind"]).to_lowercase();
    let name = text(&workload["metadata"]["name"]);
    assert_eq!(cluster.wrote("executed-in"), format!("{kind}/{name}\n"));
    assert!(cluster.wrote("built").contains("-f deploy/Dockerfile"));
    let created = in_json(cluster.wrote("created").as_bytes());
    for manifests in [&SQLITE, &POSTGRES] {
        for volume in list(&manifests.pod()["spec"]["volumes"]) {
            let secret = &volume["secret"];
            let mut created = created.iter();
            let made = created.find(|it| it["metadata"]["name"] == secret["secretName"]);
            let made = made.unwrap_or_else(|| panic!("nothing creates {secret}"));
            for item in secret["items"].as_array().into_iter().flatten() {
                assert!(made["data"][text(&item["key"])].is_string(), "{item}");
            }
        }
    }
    let applied = in_json(cluster.wrote("applied").as_bytes());
    let applied_a = |kind| applied.iter().filter(move |it| it["kind"] == kind);
    assert_eq!(applied_a("PrometheusRule").count(), 1);
    let deployments: Vec<_> = applied_a("Deployment").collect();
    assert_eq!(deployments.len(), 2, "one creates the store, and one stays");
    assert_eq!(*deployments[1], *POSTGRES.workload());
    assert_ne!(*deployments[0], *POSTGRES.workload());
    assert_eq!(cluster.wrote("awaited"), "deployment/keyservice\n");
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn the_commands_of_the_page_of_the_helm_chart_install_it_into_a_namespace_that_enforces_its_rights()
{
    let cluster = NoCluster::new();
    cluster.stand_in(
        "helm",
        &format!(
            "[[ $1 == install ]] && exec {} template \"${{@:2}}\" >> installed",
            tool("helm").display()
        ),
    );
    cluster.run(&page("deploy/helm/README.md"));
    let namespace = &SQLITE.one("Namespace")["metadata"];
    let created = in_json(cluster.wrote("created").as_bytes());
    assert_eq!(created[0]["metadata"]["name"], namespace["name"]);
    let (label, value) = ("pod-security.kubernetes.io/enforce", "restricted");
    assert_eq!(namespace["labels"][label], value);
    let labelled = format!("namespace {} {label}={value}\n", text(&namespace["name"]));
    assert_eq!(cluster.wrote("labelled"), labelled);
    let installed = in_json(cluster.wrote("installed").as_bytes());
    for object in &installed {
        assert_eq!(object["metadata"]["namespace"], namespace["name"]);
    }
    assert!(installed.iter().any(|it| it["kind"] == "Deployment"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_about_domains_add_one_remove_it_and_list_none() {
    let home = directory();
    let server = Server::start(&sqlite_in(&home)).await;
    let address = format!("127.0.0.1:{}", server.port());
    let script = page("docs/domains.md").replace("127.0.0.1:50051", &address);
    let printed = bash(&script, &home, &path(home.path()));
    assert!(printed.contains("\"domain\": \"example.com\""), "{printed}");
    let answers: String = printed.split_whitespace().collect();
    assert!(answers.ends_with("}}{}{}"), "{printed}");
}

/// A page's commands.
fn page(name: &str) -> String {
    blocks(&read(&root().join(name)), "sh").concat()
}

fn all_pages() -> Vec<String> {
    let relative = |page: &Path| {
        page.strip_prefix(root())
            .expect("below")
            .display()
            .to_string()
    };
    pages().iter().map(|page| relative(page)).collect()
}

fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let starts = page.split(&*fence).skip(1);
    let blocks = starts.map(|rest| rest.split("```").next().expect("its end"));
    blocks.map(str::to_owned).collect()
}

/// What stands in backticks outside of blocks.
fn in_sentences(page: &str) -> Vec<String> {
    let outside: String = page.split("```").step_by(2).collect();
    let spans = outside.split('`').skip(1).step_by(2);
    spans.map(str::to_owned).collect()
}

/// Runs a script, which must succeed, and returns what it prints.
fn bash(script: &str, home: &TempDir, path: &str) -> String {
    let mut bash = Command::new("/bin/bash")
        .args(["-eu", "-o", "pipefail", "-c", script])
        .current_dir(home.path())
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash runs");
    // For commands that ask for a secret.
    let mut stdin = bash.stdin.take().expect("it is piped");
    let _ = stdin.write_all(b"tsop_secret\n");
    drop(stdin);
    let ran = bash.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{script}\n{said}");
    String::from_utf8(ran.stdout).expect("UTF-8")
}

fn install(program: &Path, script: &str) {
    fs::create_dir_all(program.parent().expect("a folder")).expect("made");
    fs::write(program, script).expect("written");
    fs::set_permissions(program, Permissions::from_mode(0o755)).expect("set");
}

/// The programs that a script calls, with their arguments, as bash reads them. None of them runs. bash
/// does not find any other program.
fn calls(script: &str) -> Vec<Vec<String>> {
    const KNOWN: [&str; 12] = [
        "keyservice",
        "cargo",
        "grpcurl",
        "psql",
        "sqlite3",
        "go",
        "npm",
        "pip",
        "bench/run",
        "tests/run",
        "tests/faults",
        "tests/client-libraries",
    ];
    let home = directory();
    for program in KNOWN {
        let folder = if program.contains('/') { "" } else { "bin" };
        let called = home.path().join("called").display().to_string();
        let script = format!(
            "#!/bin/bash\nprintf -v words '%s\\x1f' {program} \"$@\"\necho \"$words\" >> {called}\n"
        );
        install(&home.path().join(folder).join(program), &script);
    }
    let programs = home.path().join("bin").display().to_string();
    bash(script, &home, &programs);
    let called = fs::read_to_string(home.path().join("called")).unwrap_or_default();
    let words = |line: &str| line.split_terminator('\x1f').map(str::to_owned).collect();
    called.lines().map(words).collect()
}

/// Fails unless what a command names exists.
fn look_up(call: &[String]) {
    // An ellipsis stands for arguments that the page has shown before.
    let given = call.iter().map(String::as_str).filter(|it| *it != "…");
    let given = given.map(|it| match it {
        "KEY_ID" => SOME_KEY,
        "ADDRESS" => SOME_STORE,
        it => it,
    });
    let words: Vec<&str> = given.collect();
    let names = |file: &str, text: String| {
        let content = read(&root().join(file));
        assert!(content.contains(&text), "{words:?}: {file} has no {text}");
    };
    match words[..] {
        ["keyservice", "help", ref arguments @ ..]
        | ["keyservice", ref arguments @ ..]
        | ["cargo", "run", "--release", "--", ref arguments @ ..] => {
            // An argument that does not exist, or a wrong value, is refused before the help is printed.
            let mut help = Command::new(env!("CARGO_BIN_EXE_keyservice"));
            let ran = help
                .args(arguments)
                .arg("--help")
                .output()
                .expect("it runs");
            assert!(ran.status.success(), "{words:?}: {ran:?}");
        }
        ["cargo", "bench", "--bench", bench, ..] => names(
            "Cargo.toml",
            format!("name = \"{bench}\"\npath = \"bench/{bench}.rs\""),
        ),
        ["cargo", "+nightly", "fuzz", "run", target, _, seeds] => {
            names("fuzz/Cargo.toml", format!("name = \"{target}\""));
            assert!(root().join(seeds).is_dir(), "{seeds}");
        }
        ["cargo", "add", package] | ["cargo", "bench", "-p", package] => {
            names("clients/rust/Cargo.toml", format!("name = \"{package}\""));
        }
        ["go", "get", module] => names("clients/go/go.mod", format!("module {module}\n")),
        ["npm", "install", package] => names(
            "clients/node/package.json",
            format!("\"name\": \"{package}\""),
        ),
        ["pip", "install", package] => names(
            "clients/python/pyproject.toml",
            format!("name = \"{package}\""),
        ),
        ["grpcurl", ref arguments @ ..] => {
            let printed = Command::new(tool("grpcurl"))
                .arg("-help")
                .output()
                .expect("it runs");
            let help = String::from_utf8_lossy(&printed.stderr);
            for flag in arguments.iter().filter(|it| it.starts_with('-')) {
                let is_there = [" ", "\n", "\t"]
                    .iter()
                    .any(|end| help.contains(&format!("  {flag}{end}")));
                assert!(is_there, "{words:?}: {flag}");
            }
        }
        ["psql", _] | ["psql", "-v", "ON_ERROR_STOP=1", _] => drop(postgres_tool("psql")),
        // That test runs the same command on a file of another name.
        ["sqlite3", _, command] => names(
            "tests/suite/store/sqlite_restore.rs",
            format!("\"{command}\""),
        ),
        [script, ref arguments @ ..] if root().join(script).is_file() => {
            // These, and what follows a first `--`, are for cargo and for the tests themselves.
            const OF_CARGO: [&str; 2] = ["--test", "--include-ignored"];
            let flags = arguments.iter().take_while(|it| **it != "--");
            for flag in flags.filter(|it| it.starts_with("--") && !OF_CARGO.contains(it)) {
                names(script, (*flag).to_owned());
            }
        }
        _ => panic!("nothing looks up {words:?}"),
    }
}

/// A folder in which the commands about Kubernetes run, with stand-ins for the programs that need a cluster
/// or a container engine.
struct NoCluster {
    home: TempDir,
}

impl NoCluster {
    fn new() -> Self {
        let home = directory();
        symlink(root().join("deploy"), home.path().join("deploy")).expect("linked");
        for file in [
            "tls.crt",
            "tls.key",
            "ca.crt",
            "callers",
            "address",
            "database-ca.crt",
            "collector-ca.crt",
        ] {
            fs::write(home.path().join(file), file).expect("written");
        }
        let it = Self { home };
        it.lay_out_the_image();
        it.stand_in("docker", "echo \"$@\" >> built");
        it.stand_in(
            "kubectl",
            &KUBECTL.replace("REAL", &tool("kubectl").display().to_string()),
        );
        // The databases of the pages do not exist.
        let binary = env!("CARGO_BIN_EXE_keyservice");
        it.stand_in(
            "keyservice",
            &format!("[[ $KEYSERVICE_STORE != *@db.example.com/* ]] || set -- \"$@\" --help\nexec {binary} \"$@\" > /dev/null"),
        );
        it
    }

    /// Puts the binary where the Dockerfile copies it.
    fn lay_out_the_image(&self) {
        let dockerfile = read(&root().join("deploy/Dockerfile"));
        let copied = dockerfile
            .lines()
            .filter_map(|it| it.strip_prefix("COPY --from=build "))
            .map(|files| files.split_once(' ').expect("two paths"));
        let is_program = |built: &str| built.ends_with("/target/release/keyservice");
        let mut programs = copied.filter(|(built, _)| is_program(built));
        let (_, place) = programs.next().expect("the program");
        let place = self
            .home
            .path()
            .join("image")
            .join(place.trim_start_matches('/'));
        fs::create_dir_all(place.parent().expect("a folder")).expect("made");
        symlink(env!("CARGO_BIN_EXE_keyservice"), place).expect("linked");
    }

    fn stand_in(&self, program: &str, script: &str) {
        let program = self.home.path().join("bin").join(program);
        install(&program, &format!("#!/bin/bash\nset -eu\n{script}\n"));
    }

    fn run(&self, script: &str) -> String {
        let path = path(&self.home.path().join("bin"));
        bash(script, &self.home, &path)
    }

    /// What a stand-in has noted.
    fn wrote(&self, file: &str) -> String {
        read(&self.home.path().join(file))
    }
}

const KUBECTL: &str = r#"
create() { echo --- >> created; REAL "$@" --dry-run=client --output yaml >> created; }
case "$1 $2" in
    "config set-context") [[ "${*:3}" == "--current --namespace keyservice" ]] ;;
    "create secret" | "create namespace") create "$@" ;;
    "label namespace") echo "${@:2}" >> labelled ;;
    "--namespace keyservice") [[ "$3 $4" == "rollout status" ]]; echo "$5" >> awaited ;;
    "apply -k") echo --- >> applied; REAL kustomize "$3" >> applied ;;
    "apply -f") [[ $3 == - ]]; echo --- >> applied; cat >> applied ;;
    "exec "*)
        [[ $3 == -- ]]
        echo "$2" >> executed-in
        export KEYSERVICE_STORE="sqlite:$(echo *.db)"
        "image$4" "${@:5}"
        ;;
    *) echo "no test knows: kubectl $*" >&2; exit 1 ;;
esac
"#;
