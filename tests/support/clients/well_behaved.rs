//! A well-behaved client that calls while a test stresses the server. Every call must succeed.

use crate::support::clients::callers::{Bearer, BearerClient, client_with};
use keyservice::grpc::proto::authorize_response::Decision;
use std::{fmt, thread::JoinHandle, time::Duration};
use tokio::{
    runtime,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

/// Short enough to notice a pause of the server, and long enough not to load it.
const CALL_INTERVAL: Duration = Duration::from_millis(5);

/// After this many calls on an open connection, one call is made on a new connection, as by a
/// client that starts.
const CALLS_PER_NEW_CONNECTION: usize = 20;

/// A call that takes longer counts as failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls on its own thread, so that the work of the test does not delay it.
pub struct WellBehavedClient {
    stop: CancellationToken,
    thread: JoinHandle<Served>,
}

/// The durations of all calls.
pub struct Served {
    /// Calls on a connection that was already open.
    calls: Vec<Duration>,
    /// Calls on a new connection, with the time that it took to connect.
    first_calls: Vec<Duration>,
}

impl WellBehavedClient {
    /// Calls Authorize with this token, which must be granted.
    pub fn start(endpoint: Endpoint, bearer: Bearer, token: String) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime")
                .block_on(call(endpoint, bearer, token, stopped))
        });
        Self { stop, thread }
    }

    /// Stops after the call in flight. Panics if any call failed.
    pub fn stop(self) -> Served {
        self.stop.cancel();
        self.thread.join().expect("every call is served")
    }
}

async fn call(
    endpoint: Endpoint,
    bearer: Bearer,
    token: String,
    stopped: CancellationToken,
) -> Served {
    let mut served = Served {
        calls: Vec::new(),
        first_calls: Vec::new(),
    };
    let mut open_connection = connect(&endpoint, &bearer).await;
    assert_granted(&mut open_connection, &token).await;
    while !stopped.is_cancelled() {
        let started = Instant::now();
        let first_call =
            async { assert_granted(&mut connect(&endpoint, &bearer).await, &token).await };
        timeout(CALL_TIMEOUT, first_call)
            .await
            .expect("a new connection is served in time");
        served.first_calls.push(started.elapsed());
        for _ in 0..CALLS_PER_NEW_CONNECTION {
            sleep(CALL_INTERVAL).await;
            let started = Instant::now();
            let call = assert_granted(&mut open_connection, &token);
            timeout(CALL_TIMEOUT, call)
                .await
                .expect("a call is served in time");
            served.calls.push(started.elapsed());
        }
    }
    served
}

async fn connect(endpoint: &Endpoint, bearer: &Bearer) -> BearerClient {
    let channel = endpoint.connect().await.expect("it is connected");
    client_with(channel, bearer.clone())
}

async fn assert_granted(client: &mut BearerClient, token: &str) {
    let answer = client.authorize(token, "example.com").await;
    let answer = answer.expect("an answer");
    assert!(matches!(answer, Decision::Grant(_)), "{answer:?}");
}

impl Served {
    pub fn calls(&self) -> usize {
        self.calls.len() + self.first_calls.len()
    }

    pub fn slowest(&self) -> Duration {
        let all = self.calls.iter().chain(&self.first_calls);
        all.max().copied().expect("it called")
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut calls = self.calls.clone();
        calls.sort();
        let p99 = calls[calls.len() * 99 / 100];
        let [slowest, p99, first_call] = [
            calls[calls.len() - 1],
            p99,
            self.first_calls.iter().max().copied().unwrap_or_default(),
        ]
        .map(|time| time.as_secs_f64() * 1000.0);
        write!(
            f,
            "{:>5} calls, p99 {p99:>5.1} ms, slowest {slowest:>6.1} ms, slowest with a new connection {first_call:>6.1} ms",
            self.calls(),
        )
    }
}
