//! Clients that call without a pause, over one channel that balances between several replicas.

use crate::support::tools::python_client;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Stdio},
};

/// A Python program, since Python's gRPC keeps a connection to every address and avoids replicas
/// that report NOT_SERVING, as gRPC's documentation says a client does.
pub struct Load {
    process: Child,
    output: BufReader<ChildStdout>,
}

#[derive(Debug)]
pub struct Report {
    /// The number of calls of each method.
    pub calls: HashMap<String, usize>,
    /// The calls that failed or had a wrong answer.
    pub failures: Vec<String>,
}

impl Load {
    /// Returns when every method has been answered once.
    pub fn start(ports: &[u16]) -> Self {
        let mut process = python_client("load.py")
            .args(ports.iter().map(|port| format!("127.0.0.1:{port}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line, "started\n");
        Self { process, output }
    }

    /// Waits for the calls in flight and reports.
    pub fn end(mut self) -> Report {
        drop(self.process.stdin.take());
        let mut report = String::new();
        self.output.read_to_string(&mut report).expect("UTF-8");
        let (calls, failures) = serde_json::from_str(&report).expect("a report");
        Report { calls, failures }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
