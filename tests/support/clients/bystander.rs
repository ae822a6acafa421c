//! A well-behaved client beside whatever befalls the server.

use crate::support::clients::callers::{BearerClient, Shown, client_that_shows};
use keyservice::grpc::proto::authorize_response::Decision;
use std::{fmt, thread::JoinHandle, time::Duration};
use tokio::{
    runtime,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

/// A call every so often: enough to notice a pause, too few to be a load.
const BETWEEN_CALLS: Duration = Duration::from_millis(5);

/// So many calls on one connection, and then one on a new connection, as of a client that starts.
const CALLS_A_CONNECTION: usize = 20;

/// Past this a call counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls on and on, on a thread of its own, so that what the test is busy with does not delay it.
pub struct Bystander {
    stop: CancellationToken,
    thread: JoinHandle<Served>,
}

/// How the bystander was served; every one of its calls was.
pub struct Served {
    /// How long calls took on a connection that stood.
    calls: Vec<Duration>,
    /// How long calls took on a connection of their own, which they opened.
    arrivals: Vec<Duration>,
}

impl Bystander {
    /// Calls with a token that is granted, on a connection that stands, and on new ones.
    pub fn start(endpoint: Endpoint, shown: Shown, token: String) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime")
                .block_on(call(endpoint, shown, token, stopped))
        });
        Self { stop, thread }
    }

    /// What it saw, once it has made its last call. Fails as it did.
    pub fn stop(self) -> Served {
        self.stop.cancel();
        self.thread.join().expect("every call is served")
    }
}

async fn call(
    endpoint: Endpoint,
    shown: Shown,
    token: String,
    stopped: CancellationToken,
) -> Served {
    let mut served = Served {
        calls: Vec::new(),
        arrivals: Vec::new(),
    };
    let mut standing = connect(&endpoint, &shown).await;
    granted(&mut standing, &token).await;
    while !stopped.is_cancelled() {
        let started = Instant::now();
        let arrival = async { granted(&mut connect(&endpoint, &shown).await, &token).await };
        timeout(PATIENCE, arrival)
            .await
            .expect("a new connection is served in time");
        served.arrivals.push(started.elapsed());
        for _ in 0..CALLS_A_CONNECTION {
            sleep(BETWEEN_CALLS).await;
            let started = Instant::now();
            let call = granted(&mut standing, &token);
            timeout(PATIENCE, call)
                .await
                .expect("a call is served in time");
            served.calls.push(started.elapsed());
        }
    }
    served
}

async fn connect(endpoint: &Endpoint, shown: &Shown) -> BearerClient {
    let channel = endpoint.connect().await.expect("it is connected");
    client_that_shows(channel, shown.clone())
}

async fn granted(client: &mut BearerClient, token: &str) {
    let answer = client.authorize(token, "example.com").await;
    let answer = answer.expect("an answer");
    assert!(matches!(answer, Decision::Grant(_)), "{answer:?}");
}

impl Served {
    pub fn calls(&self) -> usize {
        self.calls.len() + self.arrivals.len()
    }

    pub fn slowest(&self) -> Duration {
        let all = self.calls.iter().chain(&self.arrivals);
        all.max().copied().expect("it called")
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut calls = self.calls.clone();
        calls.sort();
        let p99 = calls[calls.len() * 99 / 100];
        let [slowest, p99, arrival] = [
            calls[calls.len() - 1],
            p99,
            self.arrivals.iter().max().copied().unwrap_or_default(),
        ]
        .map(|time| time.as_secs_f64() * 1000.0);
        write!(
            f,
            "{:>5} calls, p99 {p99:>5.1} ms, slowest {slowest:>6.1} ms, slowest with a new connection {arrival:>6.1} ms",
            self.calls(),
        )
    }
}
