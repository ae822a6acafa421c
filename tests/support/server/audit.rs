//! `keyservice audit`, as an operator runs it.

use crate::support::caller;
use keyservice::model::{
    audit_record::{AdminMethod, AuditRecord, Outcome},
    time::Timestamp,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// Of a List that a caller made at a time.
pub fn record_of_a_list(time: Timestamp) -> AuditRecord {
    AuditRecord {
        time,
        caller: caller("sender"),
        method: AdminMethod::List,
        account_id: None,
        key_id: None,
        outcome: Outcome::OK,
        calls: 1,
    }
}

/// Runs the command on a store.
pub fn audit(store: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
    command.args(["audit", "--store", store]).args(args);
    command.output().expect("keyservice runs")
}

/// What it prints when it succeeds.
pub fn printed(store: &str, args: &[&str]) -> String {
    let ran = audit(store, args);
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && error.is_empty(), "{error}");
    String::from_utf8(ran.stdout).expect("UTF-8")
}

/// What it says when it fails, in one line.
pub fn complaint(store: &str, args: &[&str]) -> String {
    let ran = audit(store, args);
    assert!(!ran.status.success() && ran.stdout.is_empty());
    let error = String::from_utf8(ran.stderr).expect("UTF-8");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// The records, each as `CALLER METHOD OUTCOME ACCOUNT KEY CALLS`, with `-` for what is not known.
pub fn records(store: &str, args: &[&str]) -> Vec<String> {
    let lines = printed(store, args);
    let mut times = Vec::new();
    let records = lines.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect(line);
        times.push(record["time"].as_str().expect("a time").to_owned());
        let text = |field| record[field].as_str().unwrap_or("-");
        let fields = ["caller", "method", "outcome", "account_id", "key_id"].map(text);
        format!("{} {}", fields.join(" "), record["calls"])
    });
    let records = records.collect();
    assert!(times.is_sorted(), "{lines}");
    records
}

/// `keyservice audit`, held up at its first record.
pub struct Reader {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Reader {
    pub fn begin(store: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_keyservice"))
            .args(["audit", "--store", store])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("keyservice runs");
        let output = process.stdout.take().expect("it is piped");
        let mut output = BufReader::new(output);
        output.read_line(&mut String::new()).expect("a record");
        Self { process, output }
    }

    /// Takes the rest of its output, and counts the records or gives its complaint.
    pub fn end(self) -> Result<usize, String> {
        let count = self.output.lines().count();
        let ended = self.process.wait_with_output().expect("it ends");
        if ended.status.success() {
            Ok(count)
        } else {
            Err(String::from_utf8(ended.stderr).expect("UTF-8"))
        }
    }
}
