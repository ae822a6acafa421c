//! The Kubernetes manifests, built by `kubectl` and checked against the schemas of Kubernetes' API.

use crate::support::{
    directory,
    tools::{python_client, run_with_input, tool},
};
use serde_json::Value;
use std::{fs, path::Path, process::Command, sync::LazyLock, time::Duration};

/// The oldest and the newest Kubernetes version that the manifests support.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

pub static SQLITE: LazyLock<Manifests> = LazyLock::new(|| Manifests::build("sqlite"));
pub static POSTGRES: LazyLock<Manifests> = LazyLock::new(|| Manifests::build("postgres"));

/// The same, for the start that creates the store.
pub static FIRST_SQLITE: LazyLock<Manifests> = LazyLock::new(|| Manifests::build_first("sqlite"));
pub static FIRST_POSTGRES: LazyLock<Manifests> =
    LazyLock::new(|| Manifests::build_first("postgres"));

pub fn overlays() -> [&'static Manifests; 2] {
    [&SQLITE, &POSTGRES]
}

/// All manifests of one overlay. A field that a manifest lacks reads as `null`.
pub struct Manifests {
    pub overlay: &'static str,
    pub all: Vec<Value>,
}

impl Manifests {
    pub fn build(overlay: &'static str) -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes");
        Self::build_in(Path::new(directory), overlay)
    }

    /// Builds an overlay for the start that creates the store.
    pub fn build_first(overlay: &'static str) -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/first-start");
        Self::build_in(Path::new(directory), overlay)
    }

    /// Builds an overlay with components that its file names in a comment: without the `# ` of that
    /// comment, as the file says.
    pub fn build_with(components: &[&str], overlay: &'static str) -> Self {
        let copy = directory();
        let copied = Command::new("cp")
            .args(["-a", "deploy/kubernetes"])
            .arg(copy.path())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(copied.expect("cp runs").success());
        let copy = copy.path().join("kubernetes");
        let file = copy.join(overlay).join("kustomization.yaml");
        let commented = fs::read_to_string(&file).expect("a file");
        let mut text = commented.replace("# components:\n", "components:\n");
        for component in components {
            for before in ["# - ../", "#   - ../"] {
                let line = format!("{before}{component}\n");
                text = text.replace(
                    &line,
                    &line.replacen(before, &before.replacen("# ", "", 1), 1),
                );
            }
        }
        fs::write(&file, text).expect("written");
        let built = Self::build_in(&copy, overlay);
        assert_ne!(
            built.all,
            Self::build(overlay).all,
            "{components:?} add nothing"
        );
        built
    }

    fn build_in(directory: &Path, overlay: &'static str) -> Self {
        let built = Command::new(tool("kubectl"))
            .arg("kustomize")
            .arg(directory.join(overlay))
            .output()
            .expect("kubectl runs");
        let error = String::from_utf8_lossy(&built.stderr);
        // kubectl also prints warnings there, about deprecated fields.
        assert!(built.status.success() && error.is_empty(), "{error}");
        let all = in_json(&built.stdout);
        Self { overlay, all }
    }

    pub fn kinds(&self) -> Vec<&str> {
        self.all.iter().map(|it| text(&it["kind"])).collect()
    }

    /// The only manifest of a kind.
    pub fn one(&self, kind: &str) -> &Value {
        let mut found = self.all.iter().filter(|manifest| manifest["kind"] == kind);
        let (Some(one), None) = (found.next(), found.next()) else {
            panic!("{} has not one {kind}: {:?}", self.overlay, self.kinds());
        };
        one
    }

    /// The StatefulSet or the Deployment that creates the pods.
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

    /// The template of the pods, with `metadata` and `spec`.
    pub fn pod(&self) -> &Value {
        &self.workload()["spec"]["template"]
    }

    /// The only container of each pod.
    pub fn container(&self) -> &Value {
        let spec = &self.pod()["spec"];
        assert!(spec["initContainers"].is_null());
        let [container] = list(&spec["containers"]) else {
            panic!("{} has not one container", self.overlay);
        };
        container
    }

    /// The value of an environment variable, if it is set in plain text.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let variables = list(&self.container()["env"]);
        let found = variables.iter().find(|it| it["name"] == name)?;
        found["value"].as_str()
    }

    /// A setting that is set, and is a duration.
    pub fn duration(&self, name: &str) -> Duration {
        let value = self.variable(name).expect("it is set");
        humantime::parse_duration(value).expect("a duration")
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

/// Checks manifests in YAML and returns them as JSON.
pub fn in_json(yaml: &[u8]) -> Vec<Value> {
    let read = run_with_input(python_client("manifests.py").args(VERSIONS), yaml);
    let error = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{error}");
    serde_json::from_slice(&read.stdout).expect("JSON")
}
