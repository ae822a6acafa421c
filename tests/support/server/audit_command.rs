//! Runs `keyservice audit` as an operator does.

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

/// The record of a List call at this time.
pub fn record_of_a_list(time: Timestamp) -> AuditRecord {
    AuditRecord {
        time,
        caller: caller("sender"),
        method: AdminMethod::List.into(),
        account_id: None,
        key_id: None,
        domain: None,
        include_subdomains: None,
        key_end: None,
        revision: None,
        outcome: Outcome::OK,
        calls: 1,
    }
}

pub fn audit(store: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
    // Where a password does not show.
    command
        .arg("audit")
        .env("KEYSERVICE_STORE", store)
        .args(args);
    command.output().expect("keyservice runs")
}

/// The output of the command, which must succeed.
pub fn audit_output(store: &str, args: &[&str]) -> String {
    let ran = audit(store, args);
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && error.is_empty(), "{error}");
    String::from_utf8(ran.stdout).expect("UTF-8")
}

/// The one-line error of the command, which must fail.
pub fn audit_error(store: &str, args: &[&str]) -> String {
    let ran = audit(store, args);
    assert!(!ran.status.success() && ran.stdout.is_empty());
    let error = String::from_utf8(ran.stderr).expect("UTF-8");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// The records, each as `CALLER METHOD OUTCOME ACCOUNT KEY CALLS`, with `-` for what is unknown. A domain
/// stands where a key would, or behind it, and `+` behind a domain that was added with its subdomains.
pub fn records(store: &str, args: &[&str]) -> Vec<String> {
    // Some tests make records with times to come.
    let until = ["--until", "9999-12-31"];
    let until = until.iter().filter(|_| !args.contains(&"--until"));
    let args: Vec<&str> = args.iter().chain(until).copied().collect();
    let lines = audit_output(store, &args);
    let mut times = Vec::new();
    let records = lines.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect(line);
        times.push(record["time"].as_str().expect("a time").to_owned());
        let text = |field| record[field].as_str().unwrap_or("-");
        let mut fields = ["caller", "method", "outcome", "account_id"]
            .map(text)
            .to_vec();
        match (text("key_id"), text("domain")) {
            ("-", domain) => fields.push(domain),
            (key, "-") => fields.push(key),
            (key, domain) => fields.extend([key, domain]),
        }
        let widened = if record["include_subdomains"] == true {
            "+"
        } else {
            ""
        };
        format!("{}{widened} {}", fields.join(" "), record["calls"])
    });
    let records = records.collect();
    assert!(times.is_sorted(), "{lines}");
    records
}

/// A `keyservice audit` that is blocked after its first record, since nobody reads its output.
pub struct Reader {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Reader {
    pub fn start(store: &str) -> Self {
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

    /// Reads the rest of the output. Returns the number of records, or the error.
    pub fn finish(self) -> Result<usize, String> {
        let count = self.output.lines().count();
        let ended = self.process.wait_with_output().expect("it ends");
        if ended.status.success() {
            Ok(count)
        } else {
            Err(String::from_utf8(ended.stderr).expect("UTF-8"))
        }
    }
}
