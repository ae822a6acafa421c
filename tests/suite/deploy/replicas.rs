//! How many pods there are, where they run, and how they are replaced.

use super::network::assert_selects;
use crate::support::kubernetes::manifests::{POSTGRES, SQLITE, list, number};
use keyservice::config::Settings;
use serde_json::json;

/// PostgreSQL's defaults: `max_connections` minus `superuser_reserved_connections`.
const CONNECTIONS: u64 = 100 - 3;

/// The least time between two DNS look-ups of a gRPC client.
const LOOK_UP_SECONDS: u64 = 30;

#[test]
fn sqlite_never_has_two_pods_at_the_same_time() {
    let workload = SQLITE.workload();
    assert_eq!(workload["kind"], "StatefulSet");
    let spec = &workload["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(
        spec["serviceName"],
        SQLITE.one("Service")["metadata"]["name"]
    );
    let [volume] = list(&spec["volumeClaimTemplates"]) else {
        panic!("not one volume: {spec}");
    };
    assert_eq!(volume["spec"]["accessModes"], json!(["ReadWriteOncePod"]));
    for kind in ["HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        assert!(!SQLITE.kinds().contains(&kind));
    }
}

#[test]
fn sqlite_keeps_its_keys_on_the_volume_which_alone_is_writable() {
    let writable: Vec<_> = list(&SQLITE.container()["volumeMounts"])
        .iter()
        .filter(|mount| mount["readOnly"] != true)
        .collect();
    let [mount] = writable[..] else {
        panic!("{writable:?}");
    };
    let volume = &SQLITE.workload()["spec"]["volumeClaimTemplates"][0];
    assert_eq!(mount["name"], volume["metadata"]["name"]);
    let directory = mount["mountPath"].as_str().expect("a path");
    let store = SQLITE.variable("KEYSERVICE_STORE").expect("in plain text");
    assert!(
        store.starts_with(&format!("sqlite:{directory}/")),
        "{store}"
    );
}

#[test]
fn postgres_takes_its_address_from_a_secret_and_its_pods_have_nothing_writable() {
    let mut variables = list(&POSTGRES.container()["env"]).iter();
    let store = variables.find(|it| it["name"] == "KEYSERVICE_STORE");
    let source = &store.expect("set")["valueFrom"]["secretKeyRef"];
    assert_eq!(
        *source,
        json!({"name": "keyservice-store", "key": "address"})
    );
    for mount in list(&POSTGRES.container()["volumeMounts"]) {
        assert_eq!(mount["readOnly"], true, "{mount}");
    }
}

#[test]
fn postgres_has_at_least_three_pods_and_an_autoscaler() {
    let scaler = &POSTGRES.one("HorizontalPodAutoscaler")["spec"];
    let workload = POSTGRES.workload();
    for field in ["apiVersion", "kind"] {
        assert_eq!(scaler["scaleTargetRef"][field], workload[field]);
    }
    assert_eq!(
        scaler["scaleTargetRef"]["name"],
        workload["metadata"]["name"]
    );
    assert_eq!(scaler["minReplicas"], 3);
    let [metric] = list(&scaler["metrics"]) else {
        panic!("not one metric: {scaler}");
    };
    assert_eq!(metric["resource"]["name"], "cpu");
    // If one of three pods fails, the other two can take its calls.
    assert!(number(&metric["resource"]["target"]["averageUtilization"]) <= 66);
    assert!(
        workload["spec"]["replicas"].is_null(),
        "otherwise applying the manifest would scale the pods"
    );
}

#[test]
fn the_database_allows_all_connections_that_the_pods_may_open() {
    let scaler = &POSTGRES.one("HorizontalPodAutoscaler")["spec"];
    let surge = number(&POSTGRES.workload()["spec"]["strategy"]["rollingUpdate"]["maxSurge"]);
    let settings = Settings::parse_from(&[]).expect("the defaults are right");
    let of_each = u64::from(settings.postgres.pool_size) + 3;
    // A pod that drains still has its connections, but Kubernetes no longer counts it.
    let at_once = number(&scaler["maxReplicas"]) + surge + 1;
    assert!(at_once * of_each <= CONNECTIONS);
}

#[test]
fn a_rollout_counts_as_failed_only_when_a_migration_has_had_ten_minutes() {
    let spec = &POSTGRES.workload()["spec"];
    let to_be_available = 600 + number(&spec["minReadySeconds"]);
    assert!(number(&spec["progressDeadlineSeconds"]) > to_be_available);
}

#[test]
fn a_rollout_replaces_one_pod_at_a_time_and_gives_clients_time_to_find_the_new_one() {
    let spec = &POSTGRES.workload()["spec"];
    let strategy = json!({
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    });
    assert_eq!(spec["strategy"], strategy);
    let delay = POSTGRES.duration("KEYSERVICE_SHUTDOWN_DELAY").as_secs();
    assert!(delay >= 5, "clients need time to notice");
    assert!(number(&spec["minReadySeconds"]) >= LOOK_UP_SECONDS + delay);
}

#[test]
fn draining_a_node_evicts_one_replica_at_a_time_even_while_none_is_ready() {
    let budget = &POSTGRES.one("PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    assert_eq!(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    let labels = &POSTGRES.pod()["metadata"]["labels"];
    assert_selects(&budget["selector"]["matchLabels"], labels);
}

#[test]
fn replicas_are_spread_over_nodes_and_if_possible_over_zones() {
    let pod = POSTGRES.pod();
    let [nodes, zones] = list(&pod["spec"]["topologySpreadConstraints"]) else {
        panic!("not two: {pod}");
    };
    assert_eq!(nodes["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(nodes["whenUnsatisfiable"], "DoNotSchedule");
    // Otherwise a node that the pods may not use would count as a node without pods, and block others.
    assert_eq!(nodes["nodeTaintsPolicy"], "Honor");
    assert_eq!(zones["topologyKey"], "topology.kubernetes.io/zone");
    assert_eq!(zones["whenUnsatisfiable"], "ScheduleAnyway");
    for constraint in [nodes, zones] {
        assert_eq!(constraint["maxSkew"], 1);
        // Otherwise the old pods would influence where a rollout puts the new ones.
        assert_eq!(constraint["matchLabelKeys"], json!(["pod-template-hash"]));
        let selector = &constraint["labelSelector"]["matchLabels"];
        assert_selects(selector, &pod["metadata"]["labels"]);
    }
}
