//! Replicas on a replicated database, each reaching it through a proxy of its own.

use crate::support::{
    eventually,
    faults::load::Entrance,
    postgres::{address, proxy::Proxy, replicated::ReplicatedCluster},
    server::{self, Server},
};
use rand::{RngExt, rngs::StdRng};
use std::{
    process::{Command, ExitStatus},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;

const DATABASE: &str = "keys";

/// Between two attempts to start a replica, as whoever supervises it would make them.
const RESTART_INTERVAL: Duration = Duration::from_millis(100);

/// Between two looks at whether it listens.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How much of each log is shown.
const TAIL_LINES: usize = 60;

pub struct Deployment {
    pub replicas: Vec<Replica>,
    pub database: ReplicatedCluster,
}

pub struct Replica {
    pub proxy: Proxy,
    pub entrance: Entrance,
    launch: Launch,
    /// None while it is killed or being started.
    process: Option<Server>,
    starting: Option<JoinHandle<Server>>,
    /// Whether the process was seen to serve. One that has shall not end by itself.
    has_served: bool,
    /// Of the processes that have ended.
    past_log: Arc<Mutex<String>>,
}

/// What a replica is started with.
#[derive(Clone)]
struct Launch {
    store: String,
    lease: String,
}

impl Deployment {
    pub async fn start(replicas: usize, lease: Duration, random: &mut StdRng) -> Self {
        let database = ReplicatedCluster::start(random.random()).await;
        let primary = database.primary();
        primary.psql("postgres", &format!("CREATE DATABASE {DATABASE}"));
        let mut deployment = Self {
            replicas: Vec::new(),
            database,
        };
        for _ in 0..replicas {
            let proxy = Proxy::to(deployment.database.primary().port(), random.random()).await;
            let replica = Replica::start(proxy, lease).await;
            deployment.replicas.push(replica);
        }
        deployment.all_serve().await;
        deployment
    }

    pub fn entrances(&self) -> Vec<Entrance> {
        let replicas = self.replicas.iter();
        replicas.map(|replica| replica.entrance.clone()).collect()
    }

    /// Leads every replica to the server that is the primary, or is to become it.
    pub fn lead_to_primary(&self) {
        for replica in &self.replicas {
            replica.proxy.lead_to(self.database.primary().port());
        }
    }

    /// Waits until every replica serves. None may have ended by itself.
    pub async fn all_serve(&mut self) {
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            let what = format!("replica {number} serves");
            eventually(&what, async || replica.serves().await).await;
        }
    }

    /// The end of every log.
    pub fn log_tails(&self) -> String {
        let replicas = self.replicas.iter().enumerate();
        let replicas = replicas
            .map(|(number, replica)| format!("--- replica {number}\n{}\n", tail(&replica.log())));
        let database = format!("--- PostgreSQL\n{}\n", tail(&self.database.log()));
        replicas.chain([database]).collect()
    }
}

impl Replica {
    async fn start(proxy: Proxy, lease: Duration) -> Self {
        let launch = Launch {
            store: format!("{}?sslmode=disable", address(proxy.port(), DATABASE)),
            lease: format!("{}ms", lease.as_millis()),
        };
        let server = Server::listening(&mut launch.command()).await;
        Self {
            proxy,
            entrance: Entrance::new(server.lazy_client()),
            launch,
            process: Some(server),
            starting: None,
            has_served: false,
            past_log: Arc::default(),
        }
    }

    /// Sends a signal to its process.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("it runs").signal(name);
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.end_by("KILL").await;
    }

    /// SIGTERM.
    pub async fn shut_down(&mut self) {
        let status = self.end_by("TERM").await;
        assert!(status.success(), "a replica that is shut down: {status}");
    }

    async fn end_by(&mut self, signal: &str) -> ExitStatus {
        let mut server = self.process.take().expect("it runs");
        server.signal(signal);
        let status = server.ended().await;
        keep_log(&self.past_log, &server.log());
        status
    }

    /// Starts a process in the place of the one that ended, until one listens.
    pub fn start_again(&mut self) {
        let (launch, entrance) = (self.launch.clone(), self.entrance.clone());
        let past_log = self.past_log.clone();
        self.has_served = false;
        self.starting = Some(tokio::spawn(async move {
            loop {
                let mut server = Server::launch(&mut launch.command());
                while !server.has_ended() {
                    if server.listens() {
                        entrance.lead_to(server.lazy_client());
                        return server;
                    }
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                keep_log(&past_log, &server.log());
                tokio::time::sleep(RESTART_INTERVAL).await;
            }
        }));
    }

    async fn serves(&mut self) -> bool {
        if let Some(starting) = self.starting.take() {
            self.process = Some(starting.await.expect("no panic"));
        }
        let process = self.process.as_mut().expect("it was started again");
        if process.has_ended() {
            assert!(!self.has_served, "a replica ended by itself");
            // The database went away between listening and serving.
            keep_log(&self.past_log, &process.log());
            self.start_again();
            return false;
        }
        let serves = process.serves_keys().await;
        self.has_served |= serves;
        serves
    }

    fn log(&self) -> String {
        let mut log = self.past_log.lock().expect("unpoisoned").clone();
        if let Some(process) = &self.process {
            log.push_str(&process.log());
        }
        log
    }
}

impl Launch {
    fn command(&self) -> Command {
        let mut command = server::command(&self.store);
        command.args(["--lease", &self.lease, "--drain-limit", &self.lease]);
        command
    }
}

/// Only its end is ever shown.
fn keep_log(past_log: &Mutex<String>, log: &str) {
    let mut past = past_log.lock().expect("unpoisoned");
    past.push_str(tail(log));
    past.push_str("--- it ended\n");
}

fn tail(log: &str) -> &str {
    let line_starts = log.char_indices().rev().filter(|(_, c)| *c == '\n');
    let start = line_starts.map(|(at, _)| at + 1).nth(TAIL_LINES);
    &log[start.unwrap_or(0)..]
}
