//! The alert rules and the dashboard use only existing metrics, and the table lists all metrics.

use crate::support::{
    certificates::{Authority, connect},
    clients::callers::{Bearer, Credential, LIST, outcome, protection},
    directory, eventually,
    mount::Mount,
    postgres::Cluster,
    server::{
        Server,
        scrape::{METRICS, Scrape},
    },
    tools::promtool,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/monitoring")
        .join(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_name_only_existing_metrics_and_promtool_accepts_them() {
    let cluster = Cluster::shared();
    let authority = Authority::new();
    let issued = authority.server("localhost");
    let admin = Credential::new("operator", &["--role", "admin"]);
    let (_files, mut arguments) = protection(&admin.line, &issued);
    let clients = Mount::new(&[
        ("ca.crt", &authority.pem()),
        ("ca.crl", &authority.revocation_list(&[], 2100)),
    ]);
    arguments.push(format!("--tls-client-ca={}", clients.arg("ca.crt")));
    arguments.push(format!("--tls-client-crl={}", clients.arg("ca.crl")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::start_listening(&cluster.create_database(), &arguments, &[]).await;
    let channel = connect(server.port(), &authority, None).await;
    outcome(channel.expect("connected"), &Bearer::none(), LIST).await;
    eventually("it serves", async || {
        Scrape::of(&server).value("keyservice_lease_left_seconds") > 0.0
    })
    .await;
    let scrape = Scrape::of(&server);

    let names = scrape.names();
    for file in ["alerts.yml", "dashboard.json"] {
        let text = fs::read_to_string(monitoring(file)).expect("a file");
        let named = metrics_in(&text);
        assert!(named.len() >= 8, "{file} names {named:?}");
        for name in named {
            assert!(names.contains(name), "{name}, of {file}, is not there");
        }
    }
    for expression in dashboard() {
        for label in labels_in(&expression) {
            let is_prometheus_own = ["instance", "job"].contains(&label);
            let is_there = scrape.text.contains(&format!("{label}=\""));
            assert!(is_prometheus_own || is_there, "{label}, of {expression}");
        }
    }
    promtool(&["check", "metrics"], &scrape.text);
    promtool(&["check", "rules", &path("alerts.yml")], "");
    promtool(&["test", "rules", &path("alerts_test.yml")], "");
}

fn path(file: &str) -> String {
    monitoring(file).display().to_string()
}

/// All names in a text that have the prefix of our metrics.
fn metrics_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let prefixes = ["keyservice_", "rpc_server_", "process_"];
    words
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_metrics_lists_every_metric() {
    let cluster = Cluster::shared();
    let server = Server::start_with(&cluster.create_database(), &[METRICS], &[]).await;
    server.client().await.create_key().await;
    let table = fs::read_to_string(monitoring("README.md")).expect("a file");
    let scrape = Scrape::of(&server);
    let families = scrape.text.lines().filter_map(|line| {
        let described = line.strip_prefix("# TYPE ")?;
        described.split(' ').next()
    });
    for family in families {
        assert!(
            table.contains(&format!("`{family}`")),
            "{family} is not told of"
        );
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_fires() {
    let read = |file| fs::read_to_string(monitoring(file)).expect("a file");
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    let alerts = rules
        .lines()
        .filter_map(|line| line.split_once("- alert: "));
    for (_, alert) in alerts {
        // The test lists the alerts, or counts them.
        let told = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels: ");
        let counted = format!("(ALERTS{{alertstate=\"firing\", alertname=\"{alert}\"");
        assert!(tests.contains(&told) || tests.contains(&counted), "{alert}");
    }
}

#[test]
fn every_expression_of_the_dashboard_is_valid() {
    let rules: Vec<Value> = (1..)
        .zip(dashboard())
        .map(|(number, expr)| json!({"record": format!("dashboard:{number}"), "expr": expr}))
        .collect();
    let directory = directory();
    let file = directory.path().join("rules.yml");
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, rules.to_string()).expect("written");
    promtool(&["check", "rules", &file.display().to_string()], "");
}

/// The expressions of the dashboard, with values in place of Grafana's variables.
fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(monitoring("dashboard.json")).expect("a file");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let expressions = targets.flatten().map(|target| {
        let written = target["expr"].as_str().expect("an expression");
        let expression = written
            .replace("$__rate_interval", "5m")
            .replace("$instance", ".*");
        assert!(!expression.contains('$'), "{expression}");
        expression
    });
    let expressions: Vec<String> = expressions.collect();
    assert!(expressions.len() >= 20, "{expressions:?}");
    expressions
}

/// The labels by which an expression selects and groups.
fn labels_in(expression: &str) -> Vec<&str> {
    let before_values = expression.split('"').filter(|it| it.ends_with(['=', '~']));
    let selected = before_values.filter_map(|it| {
        let name = it.trim_end_matches(['!', '=', '~']);
        name.rsplit(['{', ' ', ',']).next()
    });
    let groups = ["by (", "on ("].map(|opening| expression.split(opening).skip(1));
    let grouped = groups.into_iter().flatten();
    let grouped = grouped.flat_map(|it| it.split(')').next().expect("its end").split(", "));
    selected.chain(grouped).collect()
}
