//! Callers that never pause, over one channel that balances over several replicas.

use crate::support::tools::client;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Stdio},
};

/// A program in Python, since its gRPC does what gRPC says a client does: it keeps a connection to
/// every address, and turns away from one that is not serving.
pub struct Load {
    process: Child,
    output: BufReader<ChildStdout>,
}

/// Every call that was made.
#[derive(Debug)]
pub struct Report {
    /// How many, by method.
    pub calls: HashMap<String, usize>,
    /// Those without an answer, or with a wrong one.
    pub failures: Vec<String>,
}

impl Load {
    /// Starts and returns when every method has been answered.
    pub fn start(ports: &[u16]) -> Self {
        let mut process = client("load.py")
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

    /// Lets the calls in flight finish.
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
