//! The commands that call a running service.

mod accounts;
mod batch_files;
mod certificates;
mod connection;
mod contexts;
mod false_service;
mod keys;
mod mistakes;
mod output;
mod reference;
mod second_look;
mod terminal;
mod wrong_service;

use crate::support::{directory, server::Server, tools::run_with_input};
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// The command line of a person, whose home is empty.
struct Person {
    home: TempDir,
    /// Goes with each command.
    variables: Vec<(&'static str, String)>,
}

/// How a command ended.
#[derive(Debug)]
struct Done {
    exit: i32,
    out: String,
    err: String,
}

impl Person {
    fn new() -> Self {
        Self {
            home: directory(),
            variables: Vec::new(),
        }
    }

    /// Who calls this server in plain text.
    fn of(server: &Server) -> Self {
        let mut person = Self::new();
        let address = format!("127.0.0.1:{}", server.port());
        person.variables = vec![
            ("KEYSERVICE_SERVER", address),
            ("KEYSERVICE_PLAINTEXT", "true".to_owned()),
        ];
        person
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
        command.args(line).env_clear().env("HOME", self.home.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Creates a key, and returns its id.
    fn create_key(&self, account: &str) -> String {
        let created = self.runs(&[
            "keys",
            "create",
            "--account",
            account,
            "--name",
            "Newsletter",
        ]);
        let key: Value = serde_json::from_str(&created.err).expect("JSON");
        key["keyId"].as_str().expect("an id").to_owned()
    }

    fn runs(&self, line: &[&str]) -> Done {
        self.runs_with_input(line, "")
    }

    fn runs_with_input(&self, line: &[&str], input: &str) -> Done {
        let ran = run_with_input(&mut self.command(line), input.as_bytes());
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Done {
            exit: ran.status.code().expect("it exits"),
            out: text(ran.stdout),
            err: text(ran.stderr),
        }
    }
}

impl Done {
    /// What a command that must succeed printed on standard output.
    #[track_caller]
    fn printed(self) -> String {
        assert_eq!(self.exit, 0, "{self:?}");
        self.out
    }

    /// The same as JSON.
    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.printed()).expect("JSON")
    }
}
