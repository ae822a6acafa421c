//! Three replicas that are restarted, killed and hung in turn, while calls come at a steady rate.

use crate::support::{
    certificates::{Authority, endpoint},
    clients::health::Health,
    eventually,
    postgres::steady_port,
    server::Server,
};
use futures::future::join_all;
use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tonic_health::pb::health_check_response::ServingStatus;

/// How long each outage lasts.
const OUTAGE: Duration = Duration::from_secs(5);

/// The least number of calls during an outage, which begin at this rate.
const CALLS: usize = 2000;
const BETWEEN_CALLS: Duration = OUTAGE.checked_div(CALLS as u32).expect("not zero");

/// Replicas of one store, each of which starts again at its port.
pub struct Replicas {
    pub servers: Vec<Server>,
    authority: Arc<Authority>,
    command: Box<dyn Fn(u16) -> Command + Send + Sync>,
}

impl Replicas {
    /// Starts so many by this command, which gets a port, and whose certificates are by this authority.
    pub async fn start(
        count: usize,
        authority: Arc<Authority>,
        command: impl Fn(u16) -> Command + Send + Sync + 'static,
    ) -> Self {
        let mut replicas = Self {
            servers: Vec::new(),
            authority,
            command: Box::new(command),
        };
        for _ in 0..count {
            let server = replicas.start_at(steady_port()).await;
            replicas.servers.push(server);
        }
        replicas
    }

    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(Server::port).collect()
    }

    async fn start_at(&self, port: u16) -> Server {
        let server = Server::start_command_listening(&mut (self.command)(port)).await;
        let channel = endpoint(port, &self.authority, None).connect_lazy();
        let mut health = Health::new(channel);
        eventually("it serves", async || {
            let status = health.try_check("tosend.keys.v1.KeyService").await;
            status == Some(ServingStatus::Serving)
        })
        .await;
        server
    }

    async fn start_again(&mut self, place: usize) {
        let port = self.servers[place].port();
        self.servers[place] = self.start_at(port).await;
    }

    /// Restarts each, kills one, and lets one hang. No call may fail meanwhile.
    pub async fn assert_no_outage_is_noticed<C>(
        &mut self,
        call: impl Fn() -> C + Clone + Send + 'static,
    ) where
        C: Future<Output = Result<(), String>> + Send + 'static,
    {
        let load = Load::start(call.clone());
        for place in 0..self.servers.len() {
            self.servers[place].signal("TERM");
            assert!(self.servers[place].wait_for_exit().await.success());
            self.start_again(place).await;
            // As long as it takes Envoy to find out.
            sleep(Duration::from_secs(1)).await;
        }
        load.assert_none_failed("a rolling restart").await;

        let load = Load::start(call.clone());
        self.servers[0].signal("KILL");
        self.servers[0].wait_for_exit().await;
        sleep(OUTAGE).await;
        load.assert_none_failed("a kill -9").await;
        self.start_again(0).await;

        let load = Load::start(call);
        self.servers[1].signal("STOP");
        sleep(OUTAGE).await;
        self.servers[1].signal("CONT");
        load.assert_none_failed("a hang").await;
    }
}

/// Calls at a steady rate, none of which waits for the answer to another.
struct Load {
    is_over: Arc<AtomicBool>,
    calls: JoinHandle<Vec<Result<Duration, String>>>,
}

impl Load {
    fn start<C>(call: impl Fn() -> C + Send + 'static) -> Self
    where
        C: Future<Output = Result<(), String>> + Send + 'static,
    {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = is_over.clone();
        let calls = tokio::spawn(async move {
            let mut ticks = interval(BETWEEN_CALLS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut calls = Vec::new();
            while calls.len() < CALLS || !ends.load(Relaxed) {
                ticks.tick().await;
                let call = call();
                calls.push(tokio::spawn(async move {
                    let began = Instant::now();
                    call.await.map(|()| began.elapsed())
                }));
            }
            let ended = join_all(calls).await;
            ended
                .into_iter()
                .map(|call| call.expect("no panic"))
                .collect()
        });
        Self { is_over, calls }
    }

    /// Waits for the last call. None may have failed.
    async fn assert_none_failed(self, what: &str) {
        self.is_over.store(true, Relaxed);
        let calls = self.calls.await.expect("no panic");
        let failures: Vec<_> = calls
            .iter()
            .filter_map(|call| call.as_ref().err())
            .collect();
        let slowest = calls.iter().flatten().max();
        println!(
            "{what}: {} of {} calls failed, the slowest took {slowest:?}",
            failures.len(),
            calls.len()
        );
        assert!(calls.len() >= CALLS);
        assert!(
            failures.is_empty(),
            "{what}: {} of {} failed: {:?}",
            failures.len(),
            calls.len(),
            failures[0]
        );
    }
}
