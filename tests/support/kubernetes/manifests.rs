//! The Kubernetes manifests as `kubectl` builds them and as the API of Kubernetes takes them.

use crate::support::tools::{client, fed, tool};
use serde_json::Value;
use std::{process::Command, sync::LazyLock};

/// The oldest Kubernetes that the manifests are for, and the newest.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

pub static SQLITE: LazyLock<Manifests> = LazyLock::new(|| Manifests::build("sqlite"));
pub static POSTGRES: LazyLock<Manifests> = LazyLock::new(|| Manifests::build("postgres"));

/// Both overlays.
pub fn overlays() -> [&'static Manifests; 2] {
    [&SQLITE, &POSTGRES]
}

/// All that one overlay applies. A field that a manifest lacks reads as `null`.
pub struct Manifests {
    pub overlay: &'static str,
    pub all: Vec<Value>,
}

impl Manifests {
    fn build(overlay: &'static str) -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/");
        let built = Command::new(tool("kubectl"))
            .args(["kustomize", &format!("{directory}{overlay}")])
            .output()
            .expect("kubectl runs");
        let error = String::from_utf8_lossy(&built.stderr);
        // It also warns there, of what later versions will not take.
        assert!(built.status.success() && error.is_empty(), "{error}");
        let all = in_json(&built.stdout);
        Self { overlay, all }
    }

    pub fn kinds(&self) -> Vec<&str> {
        self.all.iter().map(|it| text(&it["kind"])).collect()
    }

    /// The one manifest of a kind.
    pub fn one(&self, kind: &str) -> &Value {
        let mut found = self.all.iter().filter(|manifest| manifest["kind"] == kind);
        let (Some(one), None) = (found.next(), found.next()) else {
            panic!("{} has not one {kind}: {:?}", self.overlay, self.kinds());
        };
        one
    }

    /// What makes the pods: a StatefulSet or a Deployment.
    pub fn workload(&self) -> &Value {
        let mut found = self
            .all
            .iter()
            .filter(|it| !it["spec"]["template"].is_null());
        let (Some(one), None) = (found.next(), found.next()) else {
            panic!("{} has not one workload: {:?}", self.overlay, self.kinds());
        };
        one
    }

    /// What each pod is made from, with its `metadata` and `spec`.
    pub fn pod(&self) -> &Value {
        &self.workload()["spec"]["template"]
    }

    /// The one container of each pod.
    pub fn container(&self) -> &Value {
        let spec = &self.pod()["spec"];
        assert!(spec["initContainers"].is_null());
        let [container] = list(&spec["containers"]) else {
            panic!("{} has not one container", self.overlay);
        };
        container
    }

    /// The value of an environment variable, if it is there in plain text.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let variables = list(&self.container()["env"]);
        let found = variables.iter().find(|it| it["name"] == name)?;
        found["value"].as_str()
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

pub fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

pub fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
}

/// What manifests in YAML say, after they are checked.
pub fn in_json(yaml: &[u8]) -> Vec<Value> {
    let read = fed(client("manifests.py").args(VERSIONS), yaml);
    let error = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{error}");
    serde_json::from_slice(&read.stdout).expect("JSON")
}
