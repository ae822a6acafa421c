//! The probes, taken from the manifests and run as Kubernetes runs them, against the real binary.

use super::network::container_port;
use crate::support::{
    directory, eventually,
    keys_lock::{KeysLock, with_tables},
    manifests::{POSTGRES, SQLITE, number, overlays, text},
    postgres::{Cluster, steady_port},
    server::{self, Server, sqlite_in},
    tools::tool,
};
use keyservice::grpc::proto::key_service_server::SERVICE_NAME;
use serde_json::{Value, json};
use std::process::Command;
use tempfile::TempDir;

/// So short that a test sees it lapse.
const LEASE: [&str; 2] = ["--lease", "1s"];

#[test]
fn startup_and_readiness_ask_for_the_service_and_liveness_for_the_process() {
    for manifests in overlays() {
        for (probe, service) in [
            ("startupProbe", SERVICE_NAME),
            ("readinessProbe", SERVICE_NAME),
            ("livenessProbe", ""),
        ] {
            let port = container_port(manifests, "health");
            let expected = json!({"port": port, "service": service});
            assert_eq!(manifests.container()[probe]["grpc"], expected, "{probe}");
        }
    }
}

#[test]
fn a_start_may_take_ten_minutes_for_a_migration_and_a_million_keys() {
    for manifests in overlays() {
        let probe = &manifests.container()["startupProbe"];
        let seconds = number(&probe["periodSeconds"]) * number(&probe["failureThreshold"]);
        assert!(seconds >= 600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_startup_probe_fails_until_every_key_is_loaded_and_then_every_probe_succeeds() {
    let cluster = Cluster::shared();
    let store = with_tables(cluster.database()).await;
    let lock = KeysLock::take(&store).await;

    let pod = Pod::launch(&store).await;
    assert!(!pod.answers("startupProbe"), "no key is loaded yet");
    drop(lock);
    eventually("it has started", async || pod.answers("startupProbe")).await;
    assert!(pod.passes("readinessProbe"));
    assert!(pod.passes("livenessProbe"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_pod_is_not_ready_and_yet_not_restarted() {
    let mut cluster = Cluster::start();
    let pod = Pod::start(&cluster.database()).await;
    assert!(pod.passes("readinessProbe"));

    cluster.kill();
    eventually("its lease lapses", async || !pod.passes("readinessProbe")).await;
    for _ in 0..10 {
        assert!(pod.passes("livenessProbe"));
        assert!(!pod.answers("readinessProbe"));
    }
    cluster.restart();
    eventually("it is ready again", async || pod.passes("readinessProbe")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_hangs_passes_no_probe() {
    let directory = directory();
    let pod = Pod::start(&sqlite_in(&directory)).await;
    assert!(pod.passes("readinessProbe"));

    pod.server.signal("STOP");
    assert!(!pod.answers("readinessProbe"));
    assert!(!pod.answers("livenessProbe"));
    pod.server.signal("CONT");
    assert!(pod.passes("livenessProbe"));
}

/// The real binary, and the port that its probes ask.
struct Pod {
    server: Server,
    health_port: u16,
    descriptors: TempDir,
}

impl Pod {
    async fn start(store: &str) -> Self {
        let pod = Self::launch(store).await;
        eventually("it has started", async || pod.answers("startupProbe")).await;
        pod
    }

    async fn launch(store: &str) -> Self {
        let health_port = steady_port();
        let mut command = server::command(store);
        let health = format!("127.0.0.1:{health_port}");
        command.args(LEASE).env("KEYSERVICE_HEALTH_LISTEN", health);
        let descriptors = directory();
        let file = descriptors.path().join("health.binpb");
        std::fs::write(file, tonic_health::pb::FILE_DESCRIPTOR_SET).expect("written");
        Self {
            server: Server::listening(&mut command).await,
            health_port,
            descriptors,
        }
    }

    /// Whether a probe of the manifests has not failed as often in a row as makes Kubernetes act.
    fn passes(&self, probe: &str) -> bool {
        let tries = number(&Self::probe(probe)["failureThreshold"]);
        (0..tries).any(|_| self.answers(probe))
    }

    /// Whether a probe succeeds at once: SERVING, in plain text and in time.
    fn answers(&self, probe: &str) -> bool {
        let probe = Self::probe(probe);
        let service = json!({"service": probe["grpc"]["service"]});
        let seconds = number(&probe["timeoutSeconds"]).to_string();
        let asked = Command::new(tool("grpcurl"))
            .args(["-plaintext", "-max-time", &seconds])
            .args(["-d", &service.to_string(), "-protoset"])
            .arg(self.descriptors.path().join("health.binpb"))
            .arg(format!("127.0.0.1:{}", self.health_port))
            .arg("grpc.health.v1.Health/Check")
            .output()
            .expect("grpcurl runs");
        let answer: Option<Value> = serde_json::from_slice(&asked.stdout).ok();
        answer.is_some_and(|answer| text(&answer["status"]) == "SERVING")
    }

    fn probe(name: &str) -> &'static Value {
        let probe = &POSTGRES.container()[name];
        assert_eq!(probe, &SQLITE.container()[name]);
        probe
    }
}
