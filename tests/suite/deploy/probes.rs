//! The probes of the manifests, run against the real binary as Kubernetes runs them.

use super::network::container_port;
use crate::support::{
    eventually,
    kubernetes::{
        manifests::{number, overlays},
        pods::Pods,
    },
    postgres::{Cluster, database_in, table_lock::TableLock},
    stores::accept_restore,
};
use keyservice::grpc::proto::key_service_server::SERVICE_NAME;
use serde_json::json;

#[test]
fn readiness_probes_the_service_and_liveness_probes_the_process() {
    for manifests in overlays() {
        for (probe, service) in [("readinessProbe", SERVICE_NAME), ("livenessProbe", "")] {
            let port = container_port(manifests, "health");
            let expected = json!({"port": port, "service": service});
            assert_eq!(manifests.container()[probe]["grpc"], expected, "{probe}");
        }
        // It would end a migration that takes long, and a wait for the database.
        assert!(manifests.container()["startupProbe"].is_null());
    }
}

#[test]
fn a_process_may_hang_for_a_minute_before_it_is_restarted() {
    for manifests in overlays() {
        let probe = &manifests.container()["livenessProbe"];
        let seconds = number(&probe["periodSeconds"]) * number(&probe["failureThreshold"]);
        assert_eq!(seconds, 60);
        assert!(
            number(&probe["failureThreshold"]) >= 3,
            "one late answer must not be enough"
        );
        assert!(
            number(&probe["timeoutSeconds"]) >= 5,
            "a busy machine needs time"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_starts_or_waits_is_not_ready_and_is_not_restarted() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    let pods = Pods::on_postgres(&cluster, &store);
    pods.start_first().await.server.terminate().await;
    let lock = TableLock::on_keys(&store).await;

    let pod = pods.launch().await;
    assert!(!pod.answers("readinessProbe"), "no key is loaded yet");
    assert!(pod.answers("livenessProbe"));
    drop(lock);
    eventually("it is ready", async || pod.answers("readinessProbe")).await;
    pod.server.terminate().await;

    // As after a restore from a dump.
    let origin = "UPDATE keyservice.origin SET written_by = '1'";
    cluster.psql(database_in(&store), origin);
    let pod = pods.launch().await;
    eventually("it waits to be accepted", async || {
        pod.server.log().contains("not serving before")
    })
    .await;
    assert!(!pod.answers("readinessProbe"));
    assert!(pod.answers("livenessProbe"));
    accept_restore(&store);
    eventually("it is ready", async || pod.answers("readinessProbe")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_its_database_is_not_ready_and_is_not_restarted() {
    let mut cluster = Cluster::start();
    let pods = Pods::on_postgres(&cluster, &cluster.create_database());
    let pod = pods.start_first().await;
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
async fn a_hanging_pod_passes_no_probe() {
    let pods = Pods::on_sqlite();
    let pod = pods.start_first().await;
    assert!(pod.passes("readinessProbe"));

    pod.server.signal("STOP");
    assert!(!pod.answers("readinessProbe"));
    assert!(!pod.answers("livenessProbe"));
    pod.server.signal("CONT");
    assert!(pod.passes("livenessProbe"));
}
