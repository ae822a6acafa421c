//! Which clients reach the pods, by which name and on which port.

use crate::support::{
    directory,
    kubernetes::manifests::{Manifests, POSTGRES, SQLITE, in_json, list, overlays, text},
    tools::{promtool, shell},
};
use serde_json::{Value, json};
use std::fs;

#[test]
fn every_manifest_is_in_one_namespace_and_every_selector_matches_the_pods() {
    for manifests in overlays() {
        let namespace = &manifests.one("Namespace")["metadata"]["name"];
        let labels = &manifests.pod()["metadata"]["labels"];
        for manifest in &manifests.all {
            if manifest["kind"] != "Namespace" {
                assert_eq!(&manifest["metadata"]["namespace"], namespace, "{manifest}");
            }
        }
        let spec = |kind| &manifests.one(kind)["spec"];
        assert_selects(&spec("Service")["selector"], labels);
        assert_selects(&spec("NetworkPolicy")["podSelector"]["matchLabels"], labels);
        let workload = &manifests.workload()["spec"];
        assert_selects(&workload["selector"]["matchLabels"], labels);
    }
}

#[test]
fn every_container_port_is_one_that_a_setting_opens() {
    for manifests in overlays() {
        for (name, variable) in [
            ("grpc", "KEYSERVICE_LISTEN"),
            ("health", "KEYSERVICE_HEALTH_LISTEN"),
            ("metrics", "KEYSERVICE_METRICS_LISTEN"),
        ] {
            let port = container_port(manifests, name);
            let expected = format!("0.0.0.0:{port}");
            assert_eq!(manifests.variable(variable), Some(&*expected));
        }
    }
}

#[test]
fn the_service_is_headless_so_that_clients_balance_over_the_pods_themselves() {
    for manifests in overlays() {
        let service = &manifests.one("Service")["spec"];
        assert_eq!(service["clusterIP"], "None");
        assert!(service["publishNotReadyAddresses"].is_null());
        let port = |name| {
            let port = container_port(manifests, name);
            json!({"name": name, "port": port, "targetPort": name})
        };
        // Without health, which only the probes use.
        assert_eq!(service["ports"], json!([port("grpc"), port("metrics")]));
    }
}

#[test]
fn labelled_pods_reach_the_api_prometheus_reaches_metrics_and_nobody_reaches_health() {
    for manifests in overlays() {
        let policy = &manifests.one("NetworkPolicy")["spec"];
        assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
        let callers = json!([{
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"keyservice-client": "true"}},
        }]);
        let prometheus = json!([{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        }]);
        let ports = |name| json!([{"port": container_port(manifests, name)}]);
        let expected = json!([
            {"from": callers, "ports": ports("grpc")},
            {"from": prometheus, "ports": ports("metrics")},
        ]);
        assert_eq!(policy["ingress"], expected);
    }
}

#[test]
fn pods_on_sqlite_reach_nothing_and_pods_on_postgres_reach_dns_and_the_database() {
    let egress = |manifests: &'static Manifests| {
        let rules = list(&manifests.one("NetworkPolicy")["spec"]["egress"]).iter();
        let ports = rules.flat_map(|rule| list(&rule["ports"]));
        let ports = ports.map(|port| port["port"].clone());
        ports.collect::<Vec<Value>>()
    };
    assert!(egress(&SQLITE).is_empty());
    assert_eq!(egress(&POSTGRES), [53, 53, 5432]);
    let dns = &POSTGRES.one("NetworkPolicy")["spec"]["egress"][0];
    let of_the_cluster = json!([{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    }]);
    assert_eq!(dns["to"], of_the_cluster);
}

/// With the component, both may open the same connections in addition.
#[test]
fn pods_on_both_stores_send_traces_to_the_collector_which_their_policy_lets_them_reach() {
    for overlay in ["sqlite", "postgres"] {
        let manifests = Manifests::build_with(&["traces"], overlay);
        let endpoint = manifests.variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        assert_eq!(endpoint, Some("http://otel-collector.monitoring.svc:4317"));
        let mut policies = manifests.all.iter();
        let policy = policies.find(|it| it["metadata"]["name"] == "keyservice-traces");
        let policy = &policy.expect("a policy for traces")["spec"];
        let labels = &manifests.pod()["metadata"]["labels"];
        assert_selects(&policy["podSelector"]["matchLabels"], labels);
        assert_eq!(policy["policyTypes"], json!(["Egress"]));
        let namespace = |name| json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]);
        let dns = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
        let expected = json!([
            {"to": namespace("kube-system"), "ports": dns},
            {"to": namespace("monitoring"), "ports": [{"port": 4317}]},
        ]);
        assert_eq!(policy["egress"], expected, "{overlay}");
    }
}

#[test]
fn pods_on_both_stores_read_the_ca_of_the_collector_from_a_secret() {
    for overlay in ["sqlite", "postgres"] {
        let manifests = Manifests::build_with(&["traces", "traces-ca"], overlay);
        let file = manifests.variable("OTEL_EXPORTER_OTLP_CERTIFICATE");
        let (folder, key) = file.and_then(|it| it.rsplit_once('/')).expect("a file");
        let mut mounts = list(&manifests.container()["volumeMounts"]).iter();
        let mount = mounts.find(|it| it["mountPath"] == folder);
        let mount = mount.expect("a mount");
        assert_eq!(mount["readOnly"], true);
        let mut volumes = list(&manifests.pod()["spec"]["volumes"]).iter();
        let volume = volumes.find(|it| it["name"] == mount["name"]);
        let secret = &volume.expect("a volume")["secret"];
        assert_eq!(secret["defaultMode"], 0o440);
        let made = format!(
            "kubectl create secret generic {} --from-file {key}=",
            text(&secret["secretName"])
        );
        assert!(
            include_str!("../../../deploy/README.md").contains(&made),
            "{made}"
        );
    }
}

/// Kubernetes has no schema for this kind, which belongs to the Prometheus operator.
#[test]
fn prometheus_scrapes_the_metrics_port_of_every_pod_on_postgres() {
    let monitor = POSTGRES.one("ServiceMonitor");
    assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
    let spec = &monitor["spec"];
    let service = &POSTGRES.one("Service")["metadata"];
    assert_selects(&spec["selector"]["matchLabels"], &service["labels"]);
    let endpoint = json!({"port": "metrics", "path": "/metrics", "interval": "15s"});
    let label = "app.kubernetes.io/name";
    let expected =
        json!({"jobLabel": label, "selector": spec["selector"], "endpoints": [endpoint]});
    assert_eq!(*spec, expected);
    // For which the alert rules ask.
    assert_eq!(service["labels"][label], "keyservice");
    assert!(!SQLITE.kinds().contains(&"ServiceMonitor"));
}

#[test]
fn the_command_of_the_readme_turns_the_alert_rules_into_a_prometheus_rule() {
    let readme = include_str!("../../../deploy/README.md");
    let mut blocks = readme.split("```");
    let command = blocks.find(|block| block.contains("kind: PrometheusRule"));
    let (command, _) = command
        .and_then(|block| block.strip_prefix("sh\n")?.split_once("| kubectl apply"))
        .expect("a command");
    let made = shell(command).expect("it is made");
    let [rule] = &in_json(made.as_bytes())[..] else {
        panic!("not one: {made}");
    };
    assert_eq!(rule["kind"], "PrometheusRule");
    let namespace = &POSTGRES.one("Namespace")["metadata"]["name"];
    assert_eq!(&rule["metadata"]["namespace"], namespace);
    let file = directory();
    let file = file.path().join("rules.yml");
    fs::write(&file, rule["spec"].to_string()).expect("written");
    let said = promtool(&["check", "rules", &file.display().to_string()], "");
    let alerts = include_str!("../../../deploy/monitoring/alerts.yml");
    let expected = format!("{} rules found", alerts.matches("- alert: ").count());
    assert!(said.contains(&expected), "{said}");
}

/// Asserts that a selector is not empty and selects these labels.
pub fn assert_selects(selector: &Value, labels: &Value) {
    let wanted = selector.as_object().expect("a selector by labels");
    assert!(!wanted.is_empty());
    for (label, value) in wanted {
        assert_eq!(&labels[label], value, "{label}");
    }
}

pub fn container_port(manifests: &Manifests, name: &str) -> u64 {
    let mut ports = list(&manifests.container()["ports"]).iter();
    let port = ports.find(|port| port["name"] == name);
    port.expect("a port of this name")["containerPort"]
        .as_u64()
        .expect("a number")
}
