//! Runs the commands that pages show with their output: the real grpcurl against the real server.

use crate::support::{
    directory,
    server::{Server, command, sqlite_in},
    tools::{path, shell, terminal},
};
use std::{fs, process::Command};

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_tour_print_what_the_readme_shows() {
    assert_eq!(run_all(include_str!("../../../README.md")).await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_grpcurl_print_what_their_page_shows() {
    assert_eq!(run_all(include_str!("../../../docs/grpcurl.md")).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_about_keys_print_what_their_page_shows() {
    assert_eq!(run_all(include_str!("../../../docs/keys.md")).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_about_many_keys_print_what_their_page_shows() {
    assert_eq!(
        run_all(include_str!("../../../docs/organising.md")).await,
        9
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_on_the_page_of_the_command_line_run() {
    let directory = directory();
    let server = Server::start(&sqlite_in(&directory)).await;
    let home = directory.path();
    let (token, _) = server.client().await.create_key().await;
    fs::write(home.join("leaked"), token).expect("written");
    fs::create_dir_all(home.join(".local/share/bash-completion/completions")).expect("made");
    let page = include_str!("../../../docs/command-line.md");
    let scripts = page.split("```sh\n").skip(1);
    let scripts: Vec<_> = scripts.map(|rest| rest.split("```").next()).collect();
    assert_eq!(scripts.len(), 4);
    for script in scripts {
        let mut bash = Command::new("bash");
        bash.args(["-euc", script.expect("its end")]);
        bash.env("HOME", home)
            .env("PATH", path())
            .env("ID", "once")
            .current_dir(home);
        // Contexts say for themselves which services they are.
        if !script.is_some_and(|script| script.contains("contexts set")) {
            bash.env("KEYSERVICE_SERVER", format!("127.0.0.1:{}", server.port()));
            bash.env("KEYSERVICE_PLAINTEXT", "true");
        }
        let ran = bash.output().expect("bash runs");
        assert!(ran.status.success(), "{script:?}: {ran:?}");
    }
    let (other, callers) = (self::directory(), home.join("credentials"));
    let flags = ["--credentials", callers.to_str().expect("UTF-8")];
    let guarded = Server::start_with(&sqlite_in(&other), &flags, &[]).await;
    let secret = fs::read_to_string(home.join("secret")).expect("made");
    let list = format!(
        "keyservice keys list --account acme --plaintext --server 127.0.0.1:{}",
        guarded.port()
    );
    let asked = |secret: &str| run(&format!("KEYSERVICE_SECRET={secret} {list} && echo done"));
    assert_eq!(asked(secret.trim()), "done\n");
}

/// Runs the commands of a page in order at a terminal, and returns how many there are.
async fn run_all(page: &str) -> usize {
    let directory = directory();
    let mut command = command(&sqlite_in(&directory));
    // As a newcomer starts it.
    let server = Server::start_command(command.env_remove("KEYSERVICE_VERIFIED_DOMAINS")).await;
    let address = format!("127.0.0.1:{}", server.port());
    let run = |line: &str| {
        let mut terminal = terminal(line);
        terminal
            .env("HOME", directory.path())
            .current_dir(directory.path());
        terminal
            .env("KEYSERVICE_SERVER", &address)
            .env("KEYSERVICE_PLAINTEXT", "true");
        let ran = terminal.output().expect("script runs");
        let shown = String::from_utf8(ran.stdout).expect("UTF-8");
        shown.replace("\r\n", "\n")
    };
    let mut values = Substitutions::default();
    values.add("127.0.0.1:50051", &address);

    let steps = steps(page);
    for (command, printed) in &steps {
        let output = run(&values.apply(command));
        assert_eq!(
            output.lines().count(),
            printed.lines().count(),
            "{command}\n{output}"
        );
        for (printed, real) in printed.lines().zip(output.lines()) {
            for (printed, real) in changing_words(printed).zip(changing_words(real)) {
                values.add(printed, real);
            }
            assert_eq!(values.apply(printed), real, "{command}");
        }
    }
    steps.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_and_describes_the_service_without_its_proto() {
    let server = Server::on_sqlite().await;
    let grpcurl = format!("grpcurl -plaintext localhost:{}", server.port());
    assert_eq!(
        run(&format!("{grpcurl} list")),
        "envoy.service.auth.v3.Authorization\n\
         grpc.health.v1.Health\n\
         grpc.reflection.v1.ServerReflection\n\
         grpc.reflection.v1alpha.ServerReflection\n\
         tosend.keys.v1.AccountService\n\
         tosend.keys.v1.DomainService\n\
         tosend.keys.v1.KeyService\n"
    );
    let described = run(&format!("{grpcurl} describe tosend.keys.v1.KeyService"));
    for method in ["Create", "List", "Rotate", "Revoke", "Authorize"] {
        assert!(described.contains(&format!("rpc {method} ")), "{described}");
    }
    let health = run(&format!("{grpcurl} grpc.health.v1.Health/Check"));
    assert!(health.contains("\"status\": \"SERVING\""), "{health}");
}

/// The commands of the page's only `console` block, each with the output below it.
fn steps(page: &str) -> Vec<(String, String)> {
    let block = page.split("```console\n").nth(1).expect("a console block");
    let block = block.split("```").next().expect("its end");
    let steps = block.split("$ ").skip(1).map(|step| {
        let last_of_command = step.lines().position(|line| !line.ends_with('\\'));
        let lines: Vec<&str> = step.lines().collect();
        let (command, output) = lines.split_at(last_of_command.expect("an end") + 1);
        (command.join("\n"), output.join("\n"))
    });
    steps.collect()
}

/// The words of a line that differ in each run: ids, tokens, previews, times and etags.
fn changing_words(line: &str) -> impl Iterator<Item = &str> {
    let is_etag = |word: &str| word.len() == 16 && word.bytes().all(|it| it.is_ascii_hexdigit());
    let is_time = |word: &str| word.starts_with("20") && word.ends_with('Z');
    let is_changing = move |word: &&str| {
        let is_ours = word.starts_with("key_") || word.starts_with("tsend_");
        is_ours || is_time(word) || is_etag(word)
    };
    line.split([' ', '"', ',']).filter(is_changing)
}

/// Pairs of a value on the page and the value in this run.
#[derive(Default)]
struct Substitutions(Vec<(String, String)>);

impl Substitutions {
    fn add(&mut self, printed: &str, real: &str) {
        if !self.0.iter().any(|(known, _)| known == printed) {
            self.0.push((printed.to_owned(), real.to_owned()));
        }
    }

    fn apply(&self, text: &str) -> String {
        let values = self.0.iter();
        values.fold(text.to_owned(), |text, (printed, real)| {
            text.replace(printed, real)
        })
    }
}

fn run(command: &str) -> String {
    shell(command).unwrap_or_else(|error| panic!("{command}\n{error}"))
}
