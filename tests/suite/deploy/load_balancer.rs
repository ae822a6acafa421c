//! The load balancer of `deploy/envoy/`: with the real Envoy, no Authorize fails whatever becomes of one replica.

use crate::support::{
    certificates::{Authority, endpoint},
    clients::{
        callers::{BearerClient, Credential, client},
        health::Health,
    },
    envoy::Envoy,
    eventually,
    mount::Mount,
    postgres::{Cluster, free_port, steady_port},
    server::{Server, command_on},
};
use futures::future::join_all;
use keyservice::grpc::proto::authorize_response::Decision;
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
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;

const CONFIGURATION: &str = include_str!("../../../deploy/envoy/load-balancer.yaml");

/// How long each fault lasts.
const FAULT: Duration = Duration::from_secs(5);

/// The least number of calls during a fault, which begin at this rate.
const CALLS: usize = 2000;
const BETWEEN_CALLS: Duration = FAULT.checked_div(CALLS as u32).expect("not zero");

struct Deployment {
    replicas: Vec<Server>,
    ports: Vec<u16>,
    store: String,
    authority: Authority,
    callers: Mount,
    files: Mount,
}

impl Deployment {
    fn command(&self, port: u16) -> Command {
        let mut command = command_on(port, &self.store);
        for (flag, file) in [("--tls-cert", "tls.crt"), ("--tls-key", "tls.key")] {
            command.args([flag, &self.files.arg(file)]);
        }
        command.args(["--credentials", &self.callers.arg("callers")]);
        command
    }

    async fn start_replica(&self, port: u16) -> Server {
        let server = Server::start_command_listening(&mut self.command(port)).await;
        let channel = endpoint(port, &self.authority, None).connect_lazy();
        let mut health = Health::new(channel);
        eventually("it serves", async || {
            let status = health.try_check("tosend.keys.v1.KeyService").await;
            status == Some(ServingStatus::Serving)
        })
        .await;
        server
    }
}

/// Calls at a steady rate, and never waits for an answer before the next call.
struct Load {
    is_over: Arc<AtomicBool>,
    calls: JoinHandle<Vec<Result<Duration, Status>>>,
}

impl Load {
    fn start(client: &BearerClient, token: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (client, token, ends) = (client.clone(), token.to_owned(), is_over.clone());
        let calls = tokio::spawn(async move {
            let mut ticks = interval(BETWEEN_CALLS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut calls = Vec::new();
            while calls.len() < CALLS || !ends.load(Relaxed) {
                ticks.tick().await;
                let (mut client, token) = (client.clone(), token.clone());
                calls.push(tokio::spawn(async move {
                    let began = Instant::now();
                    let decision = client.authorize(&token, "example.com").await?;
                    assert!(matches!(decision, Decision::Grant(_)), "{decision:?}");
                    Ok(began.elapsed())
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
            "{what}: {} calls, the slowest took {slowest:?}",
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

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_one_replica_is_restarted_killed_or_hangs() {
    let authority = Authority::new();
    let [of_replicas, of_envoy] = [(); 2].map(|()| authority.server("localhost"));
    let operator = Credential::new("operator", &["--role", "admin"]);
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let cluster = Cluster::shared();
    let mut deployment = Deployment {
        replicas: Vec::new(),
        ports: (0..3).map(|_| steady_port()).collect(),
        store: cluster.create_database(),
        callers: Mount::new(&[("callers", &(operator.line + &sender.line))]),
        files: Mount::new(&[
            ("tls.crt", &of_replicas.certificate),
            ("tls.key", &of_replicas.key),
        ]),
        authority,
    };
    for port in deployment.ports.clone() {
        deployment
            .replicas
            .push(deployment.start_replica(port).await);
    }
    let port = free_port();
    let mut configuration = CONFIGURATION.replace("50050", &port.to_string());
    for (documented, real) in ["50051", "50052", "50053"].iter().zip(&deployment.ports) {
        configuration = configuration.replace(documented, &real.to_string());
    }
    let files = [
        ("ca.crt", &*deployment.authority.pem()),
        ("load-balancer.crt", &of_envoy.certificate),
        ("load-balancer.key", &of_envoy.key),
    ];
    let _envoy = Envoy::start(&configuration, &files, port).await;
    let channel = endpoint(port, &deployment.authority, None).connect_lazy();
    let (token, _) = client(channel.clone(), &operator.secret).create_key().await;
    let sender = client(channel, &sender.secret);

    let load = Load::start(&sender, &token);
    for (place, port) in deployment.ports.clone().into_iter().enumerate() {
        deployment.replicas[place].signal("TERM");
        assert!(deployment.replicas[place].wait_for_exit().await.success());
        deployment.replicas[place] = deployment.start_replica(port).await;
        // As long as it takes the load balancer to find out.
        sleep(Duration::from_secs(1)).await;
    }
    load.assert_none_failed("a rolling restart").await;

    let load = Load::start(&sender, &token);
    deployment.replicas[0].signal("KILL");
    deployment.replicas[0].wait_for_exit().await;
    sleep(FAULT).await;
    load.assert_none_failed("a kill -9").await;
    deployment.replicas[0] = deployment.start_replica(deployment.ports[0]).await;

    let load = Load::start(&sender, &token);
    deployment.replicas[1].signal("STOP");
    sleep(FAULT).await;
    deployment.replicas[1].signal("CONT");
    load.assert_none_failed("a hang").await;
}
