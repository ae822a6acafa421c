//! The Helm chart: it renders what kustomize builds, and refuses what cannot work.

use crate::support::{
    kubernetes::{
        chart::{helm, render},
        manifests::{Manifests, in_json, list, number, text},
    },
    server::help,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const CHART: &str = include_str!("../../../deploy/helm/Chart.yaml");
const SCHEMA: &str = include_str!("../../../deploy/helm/values.schema.json");

/// An overlay and the values that render the same.
const SAME: [(&str, &str); 2] = [
    ("sqlite", "deploy/helm/examples/sqlite.yaml"),
    ("postgres", "deploy/helm/examples/postgres.yaml"),
];

const TRACES: &str = "traces.endpoint=http://otel-collector.monitoring.svc:4317";

/// Enough for a chart that renders.
const IMAGE: [&str; 2] = ["--set", "image.repository=registry.example.com/keyservice"];

/// Labels by which Helm and people find a release, and by which it tells its pods from another one's.
const OF_HELM: [&str; 5] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
];

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn the_chart_renders_what_kustomize_builds_with_traces_and_without() {
    for (overlay, values) in SAME {
        for (built, more) in [
            (
                Manifests::build_with(&["traces"], overlay),
                vec!["--is-upgrade", "--set", TRACES],
            ),
            (
                // Its address is to be changed by hand.
                Manifests::build_with(&["traces-ca"], overlay),
                vec![
                    "--is-upgrade",
                    "--set",
                    "traces.caSecret=keyservice-collector",
                ],
            ),
            (Manifests::build(overlay), vec!["--is-upgrade"]),
            (
                Manifests::build(overlay),
                vec!["--set", "store.create=false"],
            ),
            (Manifests::build_first(overlay), vec![]),
            (
                Manifests::build_first(overlay),
                vec!["--is-upgrade", "--set", "store.create=true"],
            ),
        ] {
            let rendered = render(&[&["--values", values], &more[..]].concat()).expect(values);
            let rendered = comparable(&rendered);
            // Helm makes the namespace of a release itself, and deploy/helm/README.md labels it.
            let mut built = comparable(&built.all);
            built.remove("Namespace keyservice").expect("a namespace");
            assert_eq!(
                rendered.keys().collect::<Vec<_>>(),
                built.keys().collect::<Vec<_>>(),
                "{overlay}"
            );
            for (name, object) in built {
                assert_eq!(rendered[&name], object, "{overlay}: {name}");
            }
        }
    }
}

/// Objects by kind and name, without labels of Helm, and with what has names in the order of these.
fn comparable(all: &[Value]) -> BTreeMap<String, Value> {
    let named = all.iter().map(|object| {
        let mut object = object.clone();
        let name = text(&object["metadata"]["name"]).to_owned();
        normalize(&mut object, &[]);
        (format!("{} {name}", text(&object["kind"])), object)
    });
    let objects: BTreeMap<_, _> = named.collect();
    assert_eq!(objects.len(), all.len(), "two have the same name");
    objects
}

fn normalize(value: &mut Value, path: &[&str]) {
    match value {
        Value::Object(fields) => {
            // Every label of an object itself, and of selectors those that name the release.
            if path == ["metadata", "labels"] {
                fields.retain(|label, _| !OF_HELM.contains(&label.as_str()));
            } else if path
                .last()
                .is_some_and(|it| ["matchLabels", "labels", "selector"].contains(it))
            {
                fields.remove("app.kubernetes.io/instance");
            }
            for (name, field) in fields.iter_mut() {
                normalize(field, &[path, &[name]].concat());
            }
            if path == ["metadata"] && fields.get("labels") == Some(&json!({})) {
                fields.remove("labels");
            }
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                normalize(item, &[path, &["[]"]].concat());
            }
            if path.last() != Some(&"ports") && items.iter().all(|item| item["name"].is_string()) {
                items.sort_by_key(|item| text(&item["name"]).to_owned());
            }
        }
        _ => {}
    }
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn helm_lints_the_chart_without_a_warning() {
    for (_, values) in SAME {
        let linted = helm(&["lint", "--strict", "deploy/helm", "--values", values]);
        let said = String::from_utf8_lossy(&linted.stdout);
        assert!(
            linted.status.success() && !said.contains("[WARNING]"),
            "{said}"
        );
    }
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn the_chart_and_its_image_have_the_version_of_this_release() {
    for field in ["version", "appVersion"] {
        let line = concat!(": ", env!("CARGO_PKG_VERSION"));
        assert!(
            CHART.lines().any(|it| it == format!("{field}{line}")),
            "{field}"
        );
    }
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    for (values, image) in [
        (String::new(), concat!(":", env!("CARGO_PKG_VERSION"))),
        ("image.tag=next".to_owned(), ":next"),
        (format!("image.digest={digest}"), &*format!("@{digest}")),
    ] {
        let all = render(&[&IMAGE[..], &["--set", &values]].concat()).expect("it renders");
        let expected = format!("registry.example.com/keyservice{image}");
        assert_eq!(container(&all)["image"], expected);
    }
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn what_cannot_work_is_refused_before_it_is_installed_and_the_reason_is_said() {
    for (values, reason) in [
        (
            "store.kind=sqlite,replicas=3",
            "SQLite serves one process at a time, so replicas must be 1.",
        ),
        (
            "store.kind=sqlite,autoscaling.enabled=true",
            "autoscaling.enabled must be false.",
        ),
        (
            "autoscaling.enabled=true,replicas=3",
            "leave replicas unset",
        ),
        (
            "autoscaling.enabled=true,autoscaling.minReplicas=7",
            "must not be above autoscaling.maxReplicas",
        ),
        (
            "autoscaling.enabled=true,resources.requests.cpu=null",
            "set that too",
        ),
        (
            "image.repository=",
            "Set image.repository to where you have pushed the image",
        ),
        (
            "image.repository=example.com/keyservice:1",
            "/image/repository",
        ),
        (
            "image.tag=next,image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "and not both",
        ),
        (
            "tls.clientCertificates=false,tls.clientRevocationList=true",
            "needs tls.clientCertificates",
        ),
        ("serviceAccount.create=false", "Set serviceAccount.name"),
        (
            "extraEnv[0].name=KEYSERVICE_STORE,extraEnv[0].value=postgres://a:hunter2@db/a",
            "extraEnv must not name KEYSERVICE_STORE",
        ),
        (
            "extraEnv[0].name=OTEL_EXPORTER_OTLP_HEADERS,extraEnv[0].value=hunter2",
            "from a Secret",
        ),
        (
            "extraEnv[0].name=OTEL_EXPORTER_OTLP_ENDPOINT,extraEnv[0].value=b",
            "Set traces.endpoint",
        ),
        (
            "settings.KEYSERVICE_MAX_CONECTIONS=9",
            "KEYSERVICE_MAX_CONECTIONS",
        ),
        (
            "settings.KEYSERVICE_STORE=postgres://a:hunter2@db/a",
            "KEYSERVICE_STORE",
        ),
        (
            "traces.endpoint=http://user:hunter2@collector:4317",
            "hold no password",
        ),
        (
            "traces.caSecret=collector,traces.endpoint=http://collector:4317",
            "traces.endpoint must begin with https://",
        ),
        ("traces.caSecret=no/name", "/traces/caSecret"),
        ("store.kind=mysql", "/store/kind"),
        ("replicas=0", "/replicas"),
        (
            "networkPolicy.callers=null",
            "networkPolicy.callers must name somebody",
        ),
        ("password=hunter2", "password"),
    ] {
        let refused = render(&[&IMAGE[..], &["--set", values]].concat());
        let said = refused.expect_err(values);
        assert!(said.contains(reason), "{values}: {said}");
        assert!(!said.contains("hunter2"), "{values}: {said}");
    }
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn the_schema_knows_each_setting_of_serve_that_the_chart_does_not_set_itself() {
    let help = help();
    let listed = help.split("[env: KEYSERVICE_").skip(1);
    let listed = listed.map(|rest| rest.split(['=', ']']).next().expect("its start"));
    let listed: BTreeSet<_> = listed.map(|name| format!("KEYSERVICE_{name}")).collect();
    let all = render(
        &[
            &IMAGE[..],
            &["--set", "tls.clientRevocationList=true,settings=null"],
        ]
        .concat(),
    );
    let all = all.expect("it renders");
    let of_chart: BTreeSet<_> = variables(&all).into_keys().collect();
    // It would open the service to everybody.
    let never = BTreeSet::from(["KEYSERVICE_INSECURE".to_owned()]);
    let expected: BTreeSet<_> = &(&listed - &of_chart) - &never;
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let known = schema["properties"]["settings"]["properties"].as_object();
    let known: BTreeSet<_> = known.expect("settings").keys().cloned().collect();
    assert_eq!(known, expected);
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn settings_reach_the_process_as_they_are_written() {
    let settings = "settings.KEYSERVICE_MAX_CALLS=1000000,settings.KEYSERVICE_REFLECTION=false,\
                    settings.KEYSERVICE_LEASE=3s,settings.KEYSERVICE_MAX_CONNECTIONS=null";
    let all = render(&[&IMAGE[..], &["--set", settings]].concat()).expect("it renders");
    let variables = variables(&all);
    let value = |name: &str| variables.get(name).map(|it| text(&it["value"]));
    assert_eq!(value("KEYSERVICE_MAX_CALLS"), Some("1000000"));
    assert_eq!(value("KEYSERVICE_REFLECTION"), Some("false"));
    assert_eq!(value("KEYSERVICE_LEASE"), Some("3s"));
    assert_eq!(value("KEYSERVICE_MAX_CONNECTIONS"), None);
}

/// Every value that the examples leave alone, set to something else.
#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn each_value_changes_what_it_names() {
    let values = "tests/suite/deploy/helm.yaml";
    let all = render(&["--values", values]).expect("it renders");
    let [account, workload, policy, traces, service] = [
        ("ServiceAccount", "tenant"),
        ("Deployment", "tenant"),
        ("NetworkPolicy", "tenant"),
        ("NetworkPolicy", "tenant-traces"),
        ("Service", "tenant"),
    ]
    .map(|(kind, name)| find(&all, kind, name));
    assert!(account.is_none(), "it exists already");
    let workload = workload.expect("a Deployment");
    assert_eq!(workload["spec"]["replicas"], 5);
    assert_eq!(
        workload["metadata"]["annotations"],
        json!({"reloader": "on"})
    );
    let pod = &workload["spec"]["template"];
    assert_eq!(pod["metadata"]["annotations"], json!({"of": "pod"}));
    assert_eq!(pod["metadata"]["labels"]["team"], "mail");
    let spec = &pod["spec"];
    assert_eq!(spec["serviceAccountName"], "theirs");
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(spec["priorityClassName"], "important");
    assert_eq!(spec["nodeSelector"], json!({"pool": "keys"}));
    assert_eq!(list(&spec["tolerations"]).len(), 1);
    assert!(spec["affinity"]["nodeAffinity"].is_object());
    assert_eq!(number(&spec["terminationGracePeriodSeconds"]), 10 + 30 + 15);
    assert_eq!(number(&workload["spec"]["minReadySeconds"]), 45);
    assert!(spec["securityContext"]["runAsUser"].is_null());
    for constraint in list(&spec["topologySpreadConstraints"]) {
        let nodes = constraint["topologyKey"] == "kubernetes.io/hostname";
        let expected = if nodes {
            "ScheduleAnyway"
        } else {
            "DoNotSchedule"
        };
        assert_eq!(constraint["whenUnsatisfiable"], expected);
    }

    let container = container(&all);
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["resources"]["limits"], json!({"memory": "3Gi"}));
    let variables = variables(&all);
    let value = |name: &str| variables.get(name).map(|it| it["value"].clone());
    assert_eq!(value("KEYSERVICE_LISTEN"), Some(json!("[::]:50051")));
    assert_eq!(value("KEYSERVICE_SHUTDOWN_DELAY"), Some(json!("10s")));
    assert_eq!(value("KEYSERVICE_DRAIN_LIMIT"), Some(json!("30s")));
    assert_eq!(value("KEYSERVICE_TLS_CLIENT_CA"), None);
    assert_eq!(value("KEYSERVICE_DIGEST_SECRET_FILE"), None);
    assert_eq!(value("OTEL_SERVICE_NAME"), Some(json!("keys")));
    assert_eq!(
        variables["KEYSERVICE_STORE"]["valueFrom"]["secretKeyRef"]["name"],
        "our-store"
    );
    let secrets = list(&spec["volumes"]).iter();
    let secrets = secrets.filter_map(|it| it["secret"]["secretName"].as_str());
    let secrets: Vec<_> = secrets.collect();
    assert_eq!(
        secrets,
        [
            "our-tls",
            "our-callers",
            "our-store",
            "our-collector",
            "collector-key"
        ]
    );
    let mounts = list(&container["volumeMounts"]);
    assert!(mounts.iter().any(|it| it["mountPath"] == "/etc/collector"));

    let policy = &policy.expect("a NetworkPolicy")["spec"];
    assert_eq!(
        policy["ingress"][0]["from"],
        json!([{"podSelector": {"matchLabels": {"app": "sender"}}}])
    );
    assert_eq!(
        policy["ingress"][1]["from"],
        json!([{"podSelector": {"matchLabels": {"app": "prometheus"}}}])
    );
    let dns = json!([{"ipBlock": {"cidr": "169.254.20.10/32"}}]);
    assert_eq!(policy["egress"][0]["to"], dns);
    let database =
        json!({"to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}], "ports": [{"port": 6432}]});
    assert_eq!(policy["egress"][1], database);
    assert_eq!(policy["egress"][2]["ports"], json!([{"port": 443}]));
    let traces = &traces.expect("a NetworkPolicy for traces")["spec"]["egress"];
    assert_eq!(traces[0]["to"], dns);
    let collector = json!({"to": [{"podSelector": {"matchLabels": {"app": "collector"}}}], "ports": [{"port": 14317}]});
    assert_eq!(traces[1], collector);
    assert_eq!(
        service.expect("a Service")["metadata"]["annotations"],
        json!({"of": "service"})
    );
    let budget = find(&all, "PodDisruptionBudget", "tenant").expect("a budget");
    assert_eq!(budget["spec"]["maxUnavailable"], 2);
    let monitor = find(&all, "ServiceMonitor", "tenant").expect("a monitor");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(monitor["spec"]["endpoints"][0]["interval"], "30s");
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn sqlite_keeps_its_keys_in_a_volume_of_the_size_and_class_that_are_set() {
    let set = "store.kind=sqlite,store.sqlite.size=10Gi,store.sqlite.storageClass=fast";
    let all = render(&[&IMAGE[..], &["--set", set]].concat()).expect("it renders");
    let workload = find(&all, "StatefulSet", "keyservice").expect("a StatefulSet");
    let volume = &workload["spec"]["volumeClaimTemplates"][0]["spec"];
    assert_eq!(volume["storageClassName"], "fast");
    assert_eq!(volume["resources"]["requests"]["storage"], "10Gi");
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn prometheus_and_grafana_get_the_rules_and_the_dashboard_of_this_release() {
    let set = "monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true";
    let all = render(&[&IMAGE[..], &["--set", set]].concat()).expect("it renders");
    let rule = find(&all, "PrometheusRule", "keyservice").expect("a rule");
    let alerts = include_str!("../../../deploy/monitoring/alerts.yml");
    let rules = list(&rule["spec"]["groups"][0]["rules"]);
    assert_eq!(rules.len(), alerts.matches("- alert: ").count());
    let map = find(&all, "ConfigMap", "keyservice-dashboard").expect("a dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let shown: Value = serde_json::from_str(text(&map["data"]["keyservice.json"])).expect("JSON");
    let dashboard = include_str!("../../../deploy/monitoring/dashboard.json");
    assert_eq!(
        shown,
        serde_json::from_str::<Value>(dashboard).expect("JSON")
    );
}

/// Two releases in one namespace would otherwise serve each other's clients.
#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn releases_differ_in_their_names_and_select_only_their_own_pods() {
    let template = ["template", "blue", "deploy/helm", "--namespace", "mail"];
    let more = ["--set", "monitoring.serviceMonitor.enabled=true"];
    let ran = helm(&[&template, &IMAGE[..], &more].concat());
    let all = in_json(&ran.stdout);
    for object in &all {
        assert_eq!(object["metadata"]["name"], "blue-keyservice", "{object}");
        assert_eq!(object["metadata"]["namespace"], "mail", "{object}");
    }
    let selectors = [
        ("Deployment", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("ServiceMonitor", "/spec/selector/matchLabels"),
    ];
    for (kind, selector) in selectors {
        let object = find(&all, kind, "blue-keyservice").expect(kind);
        let selector = object.pointer(selector).expect(kind);
        assert_eq!(selector["app.kubernetes.io/instance"], "blue", "{kind}");
    }
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn the_notes_name_each_secret_that_the_pods_wait_for() {
    for (_, values) in SAME {
        let notes = notes(&["--values", values]);
        let all = render(&["--values", values]).expect("it renders");
        let volumes = list(&pod(&all)["volumes"]).iter();
        for secret in volumes.filter_map(|it| it["secret"]["secretName"].as_str()) {
            assert!(notes.contains(&format!("  {secret}: ")), "{notes}");
        }
        assert!(notes.contains("keyservice.keys.svc:50051"), "{notes}");
    }
}

#[test]
#[ignore = "needs Helm, which takes minutes to build: tests/helm runs it"]
fn the_notes_warn_of_a_rollback_to_a_revision_whose_pods_create_a_store() {
    let warning = "Do not roll back to this revision";
    assert!(notes(&IMAGE).contains(warning));
    let refused = [&IMAGE[..], &["--set", "store.create=false"]].concat();
    assert!(!notes(&refused).contains(warning));
}

/// What `helm install` says at its end.
fn notes(arguments: &[&str]) -> String {
    let install = [
        "install",
        "keyservice",
        "deploy/helm",
        "--dry-run=client",
        "--namespace",
        "keys",
    ];
    let ran = helm(&[&install[..], arguments].concat());
    let said = String::from_utf8_lossy(&ran.stdout);
    let (_, notes) = said
        .split_once("NOTES:")
        .unwrap_or_else(|| panic!("{ran:?}"));
    notes.to_owned()
}

fn find<'a>(all: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    all.iter()
        .find(|it| it["kind"] == kind && it["metadata"]["name"] == name)
}

fn pod(all: &[Value]) -> &Value {
    let mut workloads = all.iter().filter(|it| !it["spec"]["template"].is_null());
    &workloads.next().expect("a workload")["spec"]["template"]["spec"]
}

fn container(all: &[Value]) -> &Value {
    &list(&pod(all)["containers"])[0]
}

/// The variables of the container, each of which is set once.
fn variables(all: &[Value]) -> BTreeMap<String, &Value> {
    let set = list(&container(all)["env"]);
    let named = set.iter().map(|it| (text(&it["name"]).to_owned(), it));
    let variables: BTreeMap<_, _> = named.collect();
    assert_eq!(variables.len(), set.len());
    variables
}
