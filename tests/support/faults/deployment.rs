//! Replicas on a replicated database. Each replica reaches the database through its own proxy.

use crate::support::{
    eventually_within,
    faults::load::ReplicaClient,
    postgres::{address, proxy::Proxy, replicated::ReplicatedCluster},
    server::{self, Server},
};
use rand::{RngExt, rngs::StdRng};
use std::{
    process::{Command, ExitStatus},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

const DATABASE: &str = "keys";

/// The pause between two attempts to start a replica, as a supervisor would make them.
const RESTART_INTERVAL: Duration = Duration::from_millis(100);

/// How long all replicas may take to serve again. A lease of a second is short for a machine that is busy with other
/// tests.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// The pause between two checks whether a process listens.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How many lines of each log are shown.
const TAIL_LINES: usize = 60;

pub struct Deployment {
    pub replicas: Vec<Replica>,
    primary_port: Arc<AtomicU16>,
    pub database: ReplicatedCluster,
}

pub struct Replica {
    pub proxy: Proxy,
    pub client: ReplicaClient,
    launch: Launch,
    /// `None` while no process runs or a new one is starting.
    process: Option<Server>,
    starting: Option<JoinHandle<Server>>,
    /// Whether the process has served. After that it must not end by itself.
    has_served: bool,
    /// The logs of the processes that have ended.
    past_log: Arc<Mutex<String>>,
}

/// The settings with which a replica is started.
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
            primary_port: Arc::new(primary.port().into()),
            database,
        };
        for _ in 0..replicas {
            let proxy = Proxy::start(deployment.database.primary().port(), random.random()).await;
            let replica = Replica::start(proxy, lease).await;
            deployment.replicas.push(replica);
        }
        deployment.wait_until_all_serve().await;
        deployment
    }

    pub fn replica_clients(&self) -> Vec<ReplicaClient> {
        let replicas = self.replicas.iter();
        replicas.map(|replica| replica.client.clone()).collect()
    }

    /// Makes every proxy connect to the server that is the primary or will become it.
    pub fn connect_to_primary(&self) {
        self.primary_port
            .store(self.database.primary().port(), Relaxed);
        for replica in &self.replicas {
            replica.proxy.set_server(self.database.primary().port());
        }
    }

    /// Tells the address of the database, past the proxies, whenever it is asked.
    pub fn database_address(&self) -> impl Fn() -> String + use<> {
        let port = self.primary_port.clone();
        move || address(port.load(Relaxed), DATABASE)
    }

    /// Waits until every replica serves. Panics if a replica ended by itself.
    pub async fn wait_until_all_serve(&mut self) {
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            let what = format!("replica {number} serves");
            eventually_within(RECOVERY_LIMIT, &what, async || replica.serves().await).await;
        }
    }

    /// The last lines of every log.
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
        let server = Server::start_command_listening(&mut launch.command()).await;
        Self {
            proxy,
            client: ReplicaClient::new(server.lazy_channel()),
            launch,
            process: Some(server),
            starting: None,
            has_served: false,
            past_log: Arc::default(),
        }
    }

    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("it runs").signal(name);
    }

    pub async fn kill(&mut self) {
        self.end_by("KILL").await;
    }

    pub async fn shut_down(&mut self) {
        let status = self.end_by("TERM").await;
        assert!(status.success(), "a replica that is shut down: {status}");
    }

    async fn end_by(&mut self, signal: &str) -> ExitStatus {
        let mut server = self.process.take().expect("it runs");
        server.signal(signal);
        let status = server.wait_for_exit().await;
        keep_log(&self.past_log, &server.log());
        status
    }

    /// Starts a new process, again and again until one listens.
    pub fn restart(&mut self) {
        let (launch, client) = (self.launch.clone(), self.client.clone());
        let past_log = self.past_log.clone();
        self.has_served = false;
        self.starting = Some(tokio::spawn(async move {
            loop {
                let mut server = Server::launch(&mut launch.command());
                while !server.has_exited() {
                    if server.is_listening() {
                        client.set(server.lazy_channel());
                        return server;
                    }
                    tokio::time::sleep(POLL_INTERVAL).await;
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
        if process.has_exited() {
            assert!(!self.has_served, "a replica ended by itself");
            // The database failed after the process listened and before it served.
            keep_log(&self.past_log, &process.log());
            self.restart();
            return false;
        }
        let serves = process.is_serving().await;
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
        command.env_remove("KEYSERVICE_VERIFIED_DOMAINS");
        command
    }
}

/// Keeps only the last lines, since no others are shown.
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
