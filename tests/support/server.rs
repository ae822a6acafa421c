//! The real binary, on a free port, with its log collected.

use super::eventually;
use keyservice::grpc::proto::{
    self, AuthorizeRequest, CreateRequest, CreateResponse, Key, ListRequest, ListResponse,
    RevokeRequest, authorize_response::Decision, key_service_client::KeyServiceClient,
    revoke_request::Target,
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

pub struct Server {
    process: Child,
    port: u16,
    log: Arc<Mutex<String>>,
    directory: Option<TempDir>,
}

impl Server {
    /// Starts on a new SQLite file, which goes with it.
    pub async fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut server = Self::start(&sqlite_in(&directory)).await;
        server.directory = Some(directory);
        server
    }

    /// Starts on a store's address and waits until it reports SERVING.
    pub async fn start(store: &str) -> Self {
        Self::start_with(store, &[], &[]).await
    }

    /// The same, with more arguments and environment variables.
    pub async fn start_with(store: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let server = Self::spawn(store, args, env).await;
        let mut health = HealthClient::new(server.channel().await);
        eventually("the server reports SERVING", async || {
            let request = HealthCheckRequest {
                service: String::new(),
            };
            let answer = health.check(request).await;
            answer.is_ok_and(|answer| answer.get_ref().status == 1)
        })
        .await;
        server
    }

    /// Starts and waits until it listens, which is before it serves.
    pub async fn spawn(store: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut process = command(store)
            .args(args)
            .envs(env.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("keyservice runs");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = process.stderr.take().expect("it is piped");
        let (sink, mut lines) = (log.clone(), BufReader::new(stderr));
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                sink.lock().expect("unpoisoned").push_str(&line);
                line.clear();
            }
        });
        let mut server = Self {
            process,
            port: 0,
            log,
            directory: None,
        };
        eventually("the server listens", async || {
            let ended = server.process.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended: {}", server.log());
            let log = server.log();
            let address = log.split("\"address\":\"127.0.0.1:").nth(1);
            server.port = address
                .and_then(|rest| rest.split('"').next()?.parse().ok())
                .unwrap_or(0);
            server.port != 0
        })
        .await;
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All that it wrote to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("unpoisoned").clone()
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://127.0.0.1:{}", self.port))
            .expect("an address")
            .timeout(Duration::from_secs(15))
            .connect()
            .await
            .expect("it listens")
    }

    pub async fn client(&self) -> Client {
        Client(KeyServiceClient::new(self.channel().await))
    }

    /// Whether it reports that `KeyService` serves.
    pub async fn serves_keys(&self) -> bool {
        self.reports_serving("tosend.keys.v1.KeyService").await
    }

    /// Whether it reports that the server as a whole serves.
    pub async fn is_alive(&self) -> bool {
        self.reports_serving("").await
    }

    async fn reports_serving(&self, service: &str) -> bool {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = HealthClient::new(self.channel().await).check(request).await;
        answer.is_ok_and(|answer| answer.get_ref().status == 1)
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`…
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", async || {
            status = self.process.try_wait().expect("a child");
            status.is_some()
        })
        .await;
        status.expect("it ended")
    }

    /// SIGTERM, and its exit status.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.signal("KILL");
        self.ended().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address of an SQLite store in a directory.
pub fn sqlite_in(directory: &TempDir) -> String {
    format!("sqlite:{}/keys.db", directory.path().display())
}

/// `keyservice serve` on a store, on a free port, logging JSON.
pub fn command(store: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyservice"));
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--store",
        store,
    ]);
    command
}

/// A tonic client, with the calls in the words of the tests.
#[derive(Debug, Clone)]
pub struct Client(pub KeyServiceClient<Channel>);

impl Client {
    pub async fn create(&mut self, account: &str, name: &str) -> Result<CreateResponse, Status> {
        let request = CreateRequest {
            account_id: account.into(),
            name: name.into(),
            ..Default::default()
        };
        self.create_with(request).await
    }

    pub async fn create_with(&mut self, request: CreateRequest) -> Result<CreateResponse, Status> {
        Ok(self.0.create(request).await?.into_inner())
    }

    pub async fn list(&mut self, account: &str) -> Result<Vec<Key>, Status> {
        let request = ListRequest {
            account_id: account.into(),
            page_size: 1000,
            ..Default::default()
        };
        Ok(self.list_with(request).await?.keys)
    }

    pub async fn list_with(&mut self, request: ListRequest) -> Result<ListResponse, Status> {
        Ok(self.0.list(request).await?.into_inner())
    }

    pub async fn revoke(&mut self, key_id: &str) -> Result<Key, Status> {
        self.revoke_target(Target::KeyId(key_id.into())).await
    }

    pub async fn revoke_target(&mut self, target: Target) -> Result<Key, Status> {
        let request = RevokeRequest {
            target: Some(target),
            account_id: None,
        };
        self.revoke_with(request).await
    }

    pub async fn revoke_with(&mut self, request: RevokeRequest) -> Result<Key, Status> {
        let response = self.0.revoke(request).await?.into_inner();
        Ok(response.key.expect("a key"))
    }

    pub async fn authorize(&mut self, token: &str, domain: &str) -> Result<Decision, Status> {
        let request = AuthorizeRequest {
            token: token.into(),
            domain: domain.into(),
        };
        let response = self.0.authorize(request).await?.into_inner();
        Ok(response.decision.expect("a decision"))
    }

    pub async fn is_granted(&mut self, token: &str) -> bool {
        matches!(
            self.authorize(token, "example.com").await,
            Ok(Decision::Grant(_))
        )
    }

    pub async fn is_revoked(&mut self, token: &str) -> bool {
        let answer = self.authorize(token, "example.com").await;
        answer.is_ok_and(|decision| Self::denies_as_revoked(&decision))
    }

    pub fn denies_as_revoked(decision: &Decision) -> bool {
        let revoked = proto::denial::Reason::Revoked;
        matches!(decision, Decision::Denial(denial) if denial.reason() == revoked)
    }
}

/// The reason that a status gives in `google.rpc.ErrorInfo`.
pub fn error_reason(status: &Status) -> Option<String> {
    Some(status.get_details_error_info()?.reason)
}
