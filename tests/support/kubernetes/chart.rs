//! The Helm chart, rendered by the real `helm` without a cluster.

use crate::support::{directory, kubernetes::manifests::in_json, tools::tool};
use serde_json::Value;
use std::process::{Command, Output};

/// Runs `helm` at the root of the repository. It finds nothing of the user's.
pub fn helm(arguments: &[&str]) -> Output {
    let home = directory();
    Command::new(tool("helm"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HOME", home.path())
        .env("KUBECONFIG", home.path().join("none"))
        .output()
        .expect("helm runs")
}

/// What the release `keyservice` consists of, checked against the schemas of Kubernetes' API, or why the
/// chart refuses these arguments.
pub fn render(arguments: &[&str]) -> Result<Vec<Value>, String> {
    let template = [
        "template",
        "keyservice",
        "deploy/helm",
        "--namespace",
        "keyservice",
    ];
    let ran = helm(&[&template, arguments].concat());
    if ran.status.success() {
        Ok(in_json(&ran.stdout))
    } else {
        Err(String::from_utf8_lossy(&ran.stderr).into_owned())
    }
}
