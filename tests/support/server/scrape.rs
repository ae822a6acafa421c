//! Scrapes a server's metrics over a real socket, as Prometheus does.

use crate::support::server::Server;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// The argument that makes a server serve metrics on a free port, which its log names.
pub const METRICS: &str = "--metrics-listen=127.0.0.1:0";

/// The samples of one scrape, by their name and labels as printed.
pub struct Scrape {
    pub text: String,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub fn of(server: &Server) -> Self {
        let (head, text) = request(server, "GET", "/metrics");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            let before = samples.insert(name.to_owned(), value.parse().expect("a number"));
            assert_eq!(
                before, None,
                "Prometheus keeps one of two samples of {name}"
            );
        }
        Self { text, samples }
    }

    /// The value of a sample, which must exist.
    pub fn value(&self, name: &str) -> f64 {
        let value = self.samples.get(name).copied();
        value.unwrap_or_else(|| panic!("no {name} in\n{}", self.text))
    }

    /// How many connections the server closed early for this reason.
    pub fn closed_connections(&self, reason: &str) -> f64 {
        let name = format!("keyservice_connections_closed_total{{reason=\"{reason}\"}}");
        self.value(&name)
    }

    /// How many decisions were counted, whatever they were.
    pub fn decisions(&self) -> f64 {
        let counted = self.samples.iter();
        let counted = counted.filter(|(name, _)| name.starts_with("keyservice_decisions_total{"));
        counted.map(|(_, value)| value).sum()
    }

    pub fn has(&self, name: &str) -> bool {
        self.samples.contains_key(name)
    }

    /// How many calls of a method ended with a status. The name of a method without its service is one
    /// of `KeyService`.
    pub fn calls(&self, method: &str, status: &str) -> f64 {
        let count = self.of_calls("count", method, status);
        count.unwrap_or_default()
    }

    /// The total duration of these calls, in seconds.
    pub fn call_seconds(&self, method: &str, status: &str) -> f64 {
        let sum = self.of_calls("sum", method, status);
        sum.unwrap_or_default()
    }

    /// Whether the counter of these calls exists, even if it is zero.
    pub fn shows_calls(&self, method: &str, status: &str) -> bool {
        self.of_calls("count", method, status).is_some()
    }

    fn of_calls(&self, what: &str, method: &str, status: &str) -> Option<f64> {
        let method = match method.contains('/') {
            true => method.to_owned(),
            false => format!("tosend.keys.v1.KeyService/{method}"),
        };
        let name = format!(
            "rpc_server_call_duration_seconds_{what}{{rpc_system_name=\"grpc\",\
             rpc_method=\"{method}\",rpc_response_status_code=\"{status}\"}}"
        );
        self.samples.get(&name).copied()
    }

    /// The names of all samples, without labels.
    pub fn names(&self) -> BTreeSet<&str> {
        let names = self.samples.keys();
        names
            .map(|name| name.split('{').next().expect("a name"))
            .collect()
    }
}

/// Sends a request and returns the head and the body of the response.
pub fn request(server: &Server, method: &str, path: &str) -> (String, String) {
    let port = server.logged_port("metrics_address");
    let port = port.expect("the log tells the port");
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let limit = Some(Duration::from_secs(10));
    connection.set_read_timeout(limit).expect("a socket");
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}
