//! The real binary on a free port. Its log is collected.

pub mod audit_command;
mod client;
pub mod collector;
pub mod domains;
pub mod process;
pub mod scrape;

pub use client::{Client, error_reason};

use crate::support::{clients::health::Health, directory, eventually};
pub use domains::Domains;
use keyservice::grpc::proto::{
    AuthorizeResponse, domain_service_client::DomainServiceClient,
    key_service_client::KeyServiceClient,
};
use prost::Message;
use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tonic::{
    Request, Response, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_prost::ProstCodec;

pub struct Server {
    process: Child,
    port: u16,
    stdout: Output,
    stderr: Output,
    directory: Option<TempDir>,
}

impl Server {
    /// Starts on a new SQLite file, which is deleted at the end.
    pub async fn on_sqlite() -> Self {
        let directory = directory();
        let mut server = Self::start(&sqlite_in(&directory)).await;
        server.directory = Some(directory);
        server
    }

    /// Starts on this store and waits until the server reports SERVING.
    pub async fn start(store: &str) -> Self {
        Self::start_with(store, &[], &[]).await
    }

    /// Like [`Server::start`], with more arguments and environment variables.
    pub async fn start_with(store: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_command(command(store).args(args).envs(env.iter().copied())).await
    }

    /// Starts a command, which must log JSON, and waits until the server reports SERVING.
    pub async fn start_command(command: &mut Command) -> Self {
        let server = Self::start_command_listening(command).await;
        server.health().await.wait_until_serving().await;
        server
    }

    /// Starts and waits only until the server listens, which is before it serves.
    pub async fn start_listening(store: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_command_listening(command(store).args(args).envs(env.iter().copied())).await
    }

    /// Starts a command, which must log JSON, and waits until the server listens.
    pub async fn start_command_listening(command: &mut Command) -> Self {
        let mut server = Self::launch(command);
        eventually("the server listens", async || {
            assert!(!server.has_exited(), "it ended: {}", server.log());
            server.is_listening()
        })
        .await;
        server
    }

    /// Starts a command and does not wait.
    pub fn launch(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("keyservice runs");
        let stdout = process.stdout.take().expect("it is piped");
        let stderr = process.stderr.take().expect("it is piped");
        Self {
            process,
            port: 0,
            stdout: Output::of(stdout),
            stderr: Output::of(stderr),
            directory: None,
        }
    }

    /// Whether the log has the address on which the server listens.
    pub fn is_listening(&mut self) -> bool {
        self.port = self.logged_port("address").unwrap_or(0);
        self.port != 0
    }

    /// The port of the address in this field of the log.
    pub fn logged_port(&self, field: &str) -> Option<u16> {
        let log = self.log();
        let (_, rest) = log.split_once(&format!("\"{field}\":\""))?;
        let (address, _) = rest.split_once('"')?;
        address.rsplit_once(':')?.1.parse().ok()
    }

    pub fn has_exited(&mut self) -> bool {
        let status = self.process.try_wait().expect("a child");
        status.is_some()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Everything that was written to standard error so far.
    pub fn log(&self) -> String {
        self.stderr.so_far()
    }

    /// Leaves unread what is written to standard error from now on.
    pub fn stop_reading_log(&self) {
        *self.stderr.is_paused.0.lock().expect("unpoisoned") = true;
    }

    pub fn read_log_again(&self) {
        let (is_paused, resumed) = &*self.stderr.is_paused;
        *is_paused.lock().expect("unpoisoned") = false;
        resumed.notify_all();
    }

    /// Waits until the process has exited, even if nobody reads its output.
    pub async fn wait_for_exit_unread(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("a child") {
                return status;
            }
            let in_time = started.elapsed() < Duration::from_secs(20);
            assert!(in_time, "the server does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything that was written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    pub async fn channel(&self) -> Channel {
        self.endpoint().connect().await.expect("it listens")
    }

    pub fn endpoint(&self) -> Endpoint {
        Channel::from_shared(format!("http://127.0.0.1:{}", self.port))
            .expect("an address")
            .timeout(Duration::from_secs(15))
    }

    pub async fn client(&self) -> Client {
        Client(KeyServiceClient::new(self.channel().await))
    }

    pub async fn domains(&self) -> Domains {
        Domains(DomainServiceClient::new(self.channel().await))
    }

    /// A client that connects with its first call.
    pub fn lazy_client(&self) -> Client {
        Client(KeyServiceClient::new(self.lazy_channel()))
    }

    pub fn lazy_channel(&self) -> Channel {
        self.endpoint().connect_lazy()
    }

    /// Whether the health of `KeyService` is SERVING.
    pub async fn is_serving(&self) -> bool {
        self.reports_serving("tosend.keys.v1.KeyService").await
    }

    /// Whether the health of the server as a whole is SERVING.
    pub async fn is_alive(&self) -> bool {
        self.reports_serving("").await
    }

    async fn reports_serving(&self, service: &str) -> bool {
        let mut health = Health::new(self.endpoint().connect_lazy());
        health.try_check(service).await == Some(ServingStatus::Serving)
    }

    /// Calls any path with any message, whether they exist or fit together or not.
    pub async fn call<M: Message + 'static>(
        &self,
        path: &str,
        request: Request<M>,
    ) -> Result<Response<AuthorizeResponse>, Status> {
        let mut grpc = Grpc::new(self.channel().await);
        grpc.ready().await.expect("it is connected");
        let path = path.parse().expect("a path");
        grpc.unary(request, path, ProstCodec::default()).await
    }

    /// Asks on the port of `--health-listen`, once there is one.
    pub async fn health_on_its_own_port(&self) -> Health {
        let mut port = None;
        eventually("it listens for probes", async || {
            port = self.logged_port("health_address");
            port.is_some()
        })
        .await;
        let port = port.expect("it listens");
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"));
        let channel = endpoint.expect("an address").connect().await;
        Health::new(channel.expect("it listens"))
    }

    pub async fn health(&self) -> Health {
        Health::new(self.channel().await)
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`…
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until the process has exited and its output is collected.
    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        let status = self.wait_for_exit_unread().await;
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        status
    }

    /// Sends SIGTERM and waits for the exit.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_exit().await
    }

    /// Sends SIGKILL and waits for the exit.
    pub async fn kill(mut self) {
        self.signal("KILL");
        self.wait_for_exit().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address of an SQLite store in this directory.
pub fn sqlite_in(directory: &TempDir) -> String {
    format!("sqlite:{}/keys.db", directory.path().display())
}

/// Collects one output of a process.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    is_paused: Arc<(Mutex<bool>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = bytes.clone();
        let is_paused = Arc::new((Mutex::new(false), Condvar::new()));
        let pause = is_paused.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 8192];
            loop {
                let (is_paused, resumed) = &*pause;
                let paused = is_paused.lock().expect("unpoisoned");
                drop(resumed.wait_while(paused, |paused| *paused));
                let Ok(length @ 1..) = pipe.read(&mut piece) else {
                    break;
                };
                sink.lock()
                    .expect("unpoisoned")
                    .extend_from_slice(&piece[..length]);
            }
        });
        Self {
            bytes,
            is_paused,
            reader: Some(reader),
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("unpoisoned")).into_owned()
    }

    fn wait_for_end(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic");
        }
    }
}

/// `keyservice serve`, with every setting at its default.
pub fn serve() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
    command.arg("serve");
    command
}

/// `keyservice serve` on this store and a free port, with a JSON log.
pub fn command(store: &str) -> Command {
    command_on(0, store)
}

/// Like [`command`], on this port.
pub fn command_on(port: u16, store: &str) -> Command {
    let mut command = serve();
    command.args([
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--log-format",
        "json",
        "--store",
        store,
    ]);
    // Most tests are about something else, and need no verified domain for their keys.
    command.env("KEYSERVICE_VERIFIED_DOMAINS", "off");
    command.env("KEYSERVICE_SHUTDOWN_DELAY", "0s");
    // A start that cannot reach its database is to say so at once.
    command.env("KEYSERVICE_STORE_WAIT_LIMIT", "0s");
    command
}

/// What `keyservice serve --help` prints.
pub fn help() -> String {
    let printed = serve().arg("--help").output().expect("keyservice runs");
    String::from_utf8(printed.stdout).expect("UTF-8")
}

/// Asserts that a server does not start, and that its one-line error contains these parts. No error
/// may show `hunter2`, which the tests use as a password.
pub async fn assert_refused(command: &mut Command, parts: &[&str]) {
    let mut server = Server::launch(command);
    let status = server.wait_for_exit().await;
    let stderr = server.log();
    assert!(matches!(status.code(), Some(1 | 2)), "{status}: {stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
    let beside_the_log = stderr.lines().filter(|line| !line.starts_with('{'));
    let ours = beside_the_log
        .filter(|line| !line.starts_with("  tip: ") && !["", SEE_HELP].contains(line));
    let [said] = ours.collect::<Vec<_>>()[..] else {
        panic!("not one line: {stderr}");
    };
    let begins_well = ["keyservice: ", "error: "]
        .iter()
        .any(|start| said.starts_with(start));
    assert!(begins_well, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
}

/// The line that clap prints below an error.
const SEE_HELP: &str = "For more information, try '--help'.";
