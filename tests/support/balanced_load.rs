//! Callers that never pause, over one channel that balances over several replicas.

use super::{eventually, tools::client};
use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Stdio},
};

/// A program in Python, since its gRPC does what gRPC says a client does: it keeps a connection to
/// every address, and calls again only what a server has certainly not processed.
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

    /// Waits until it is connected to each of these ports, of which every one then gets its share.
    pub async fn until_balanced_over(&self, ports: &[u16]) {
        eventually("it is connected to every replica", async || {
            ports.iter().all(|port| is_connected(*port))
        })
        .await;
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

/// Whether the system has an established connection whose server has this port.
fn is_connected(port: u16) -> bool {
    let sockets = fs::read_to_string("/proc/net/tcp").expect("the system lists its sockets");
    let local = format!(":{port:04X}");
    sockets.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&local) && fields[3] == "01"
    })
}
