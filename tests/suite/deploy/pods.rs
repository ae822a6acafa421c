//! The pods on both stores: their version, settings, secrets, rights and resources.

use crate::net::{http2::MOST_BROKEN, takes_nothing::STALLED_CONNECTION};
use crate::support::{
    kubernetes::{
        manifests::{
            FIRST_POSTGRES, FIRST_SQLITE, Manifests, POSTGRES, SQLITE, list, number, overlays, text,
        },
        pods::Pods,
    },
    postgres::Cluster,
    server::{self, assert_refused},
};
use keyservice::config::Settings;
use serde_json::{Value, json};
use std::time::Duration;

/// The time to return the lease after the drain, also on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// The memory of a process with a million keys, without calls and connections.
const MILLION_KEYS_MIB: u64 = 100;

#[test]
fn the_oldest_and_the_newest_kubernetes_accept_both_overlays() {
    for manifests in overlays() {
        assert!(manifests.kinds().contains(&"Namespace"));
    }
}

/// Checks each field that the level "restricted" of the Pod Security Standards requires, and that the
/// root file system is read-only.
#[test]
fn pods_meet_the_restricted_level_and_their_namespace_enforces_it() {
    for manifests in overlays() {
        let namespace = &manifests.one("Namespace")["metadata"];
        let enforced = &namespace["labels"]["pod-security.kubernetes.io/enforce"];
        assert_eq!(enforced, "restricted");

        let pod = &manifests.pod()["spec"];
        for host in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
            assert!(pod[host].is_null(), "{host}");
        }
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_ne!(number(&security["runAsUser"]), 0);
        assert_eq!(
            security["seccompProfile"],
            json!({"type": "RuntimeDefault"})
        );
        for volume in list(&pod["volumes"]) {
            assert!(volume["secret"].is_object(), "{volume}");
        }
        let allowed = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        });
        assert_eq!(manifests.container()["securityContext"], allowed);
        for port in list(&manifests.container()["ports"]) {
            assert!(port["hostPort"].is_null(), "{port}");
        }
    }
}

#[test]
fn pods_get_no_service_account_token() {
    for manifests in overlays() {
        let account = manifests.one("ServiceAccount");
        assert_eq!(account["automountServiceAccountToken"], false);
        let pod = &manifests.pod()["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
        assert!(!manifests.kinds().iter().any(|kind| kind.contains("Role")));
    }
}

#[test]
fn the_image_tag_is_the_version_of_this_release() {
    for manifests in overlays() {
        let image = text(&manifests.container()["image"]);
        let tag = concat!(":", env!("CARGO_PKG_VERSION"));
        assert!(image.ends_with(tag), "{image}");
    }
}

#[test]
fn every_environment_variable_is_a_setting_of_serve() {
    let help = server::help();
    for manifests in overlays() {
        for name in variables(manifests) {
            // The help also shows the current value, unless it may be secret.
            let listed = ["=", "]"].map(|end| format!("[env: {name}{end}"));
            assert!(listed.iter().any(|it| help.contains(it)), "{name}");
        }
    }
}

/// Kubernetes would name them after the Service, for example KEYSERVICE_PORT.
#[test]
fn kubernetes_adds_no_environment_variables_of_its_own() {
    for manifests in overlays() {
        assert_eq!(manifests.pod()["spec"]["enableServiceLinks"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_serves_over_mtls_with_its_secrets_and_its_store() {
    let cluster = Cluster::start();
    for pods in [
        Pods::on_sqlite(),
        Pods::on_postgres(&cluster, &cluster.create_database()),
    ] {
        let pod = pods.start_first().await;
        let mut operator = pods.operator(&pod).await;
        let (token, key_id) = operator.create_key().await;
        let mut domains = pods.operators_domains(&pod).await;
        domains.add("acme", "example.com").await.expect("added");
        assert!(operator.is_granted(&token).await);
        operator.revoke(&key_id).await.expect("revoked");
        assert!(operator.is_revoked(&token).await);
        assert!(pod.server.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_start_creates_a_store() {
    let cluster = Cluster::start();
    for pods in [
        Pods::on_sqlite(),
        Pods::on_postgres(&cluster, &cluster.create_database()),
    ] {
        assert_refused(&mut pods.command(), &["there is no store at"]).await;
        let first = pods.start_first().await;
        assert!(first.server.terminate().await.success());
        pods.start().await;
    }
}

#[test]
fn the_first_start_differs_from_the_others_in_that_alone() {
    for (first, later) in [(&FIRST_SQLITE, &SQLITE), (&FIRST_POSTGRES, &POSTGRES)] {
        let without = |manifests: &Manifests, value: &str| {
            assert_eq!(manifests.variable("KEYSERVICE_CREATE_STORE"), Some(value));
            let mut all = manifests.all.clone();
            for env in all
                .iter_mut()
                .filter_map(|it| it.pointer_mut("/spec/template/spec/containers/0/env"))
            {
                let set = env.as_array_mut().expect("variables");
                set.retain(|it| it["name"] != "KEYSERVICE_CREATE_STORE");
            }
            all
        };
        assert_eq!(without(first, "true"), without(later, "false"));
    }
}

#[test]
fn every_file_that_a_setting_names_comes_from_a_wholly_mounted_secret() {
    for manifests in overlays() {
        let files = variables(manifests).filter_map(|name| manifests.variable(name));
        let files: Vec<&str> = files.filter(|value| value.starts_with('/')).collect();
        assert_eq!(files.len(), 5, "{files:?}");
        for file in files {
            let (directory, _) = file.rsplit_once('/').expect("a folder");
            let mount = mount_at(manifests, directory);
            // A file that is mounted alone never changes, so a renewed certificate would not arrive.
            assert!(mount["subPath"].is_null(), "{mount}");
            assert_eq!(mount["readOnly"], true, "{mount}");
        }
    }
}

#[test]
fn only_the_process_can_read_its_secrets() {
    for manifests in overlays() {
        let pod = &manifests.pod()["spec"];
        // Mounted secrets belong to root, and the process reads them through its group.
        assert_ne!(number(&pod["securityContext"]["fsGroup"]), 0);
        for volume in list(&pod["volumes"]) {
            assert_eq!(volume["secret"]["defaultMode"], 0o440, "{volume}");
        }
        assert!(!manifests.kinds().contains(&"Secret"), "others can read it");
    }
}

#[test]
fn the_readme_gives_the_command_that_creates_each_secret() {
    let readme = include_str!("../../../deploy/README.md");
    let waits_for = |name: &str, key: &str| {
        let command = format!("kubectl create secret generic {name} ");
        let mut commands = readme.lines().filter(|line| line.contains(&command));
        let command = commands.next().unwrap_or_else(|| panic!("{name}"));
        assert!(
            command.contains(&format!("--from-file {key}")),
            "{name}: {key}"
        );
    };
    for manifests in overlays() {
        for volume in list(&manifests.pod()["spec"]["volumes"]) {
            let mounted = format!("/etc/keyservice/{}/", text(&volume["name"]));
            let files = variables(manifests).filter_map(|name| manifests.variable(name));
            for key in files.filter_map(|file| file.strip_prefix(&mounted)) {
                waits_for(text(&volume["secret"]["secretName"]), key);
            }
        }
        for variable in list(&manifests.container()["env"]) {
            if let Some(source) = variable["valueFrom"].get("secretKeyRef") {
                waits_for(text(&source["name"]), text(&source["key"]));
            }
        }
    }
}

#[test]
fn pods_have_time_to_drain_before_they_are_killed() {
    for manifests in overlays() {
        let delay = manifests.duration("KEYSERVICE_SHUTDOWN_DELAY");
        let drain = manifests.duration("KEYSERVICE_DRAIN_LIMIT");
        let grace = number(&manifests.pod()["spec"]["terminationGracePeriodSeconds"]);
        assert!(Duration::from_secs(grace) >= delay + drain + SLACK);
    }
}

#[test]
fn pods_request_the_memory_that_they_use_and_have_no_cpu_limit() {
    for manifests in overlays() {
        let resources = &manifests.container()["resources"];
        assert!(resources["requests"]["cpu"].is_string());
        let [requested, limit] =
            ["requests", "limits"].map(|it| mebibytes(&resources[it]["memory"]));
        assert!(requested >= MILLION_KEYS_MIB);
        let worst = worst_memory_mib(manifests);
        let has_room = (worst..worst + 128).contains(&limit);
        assert!(has_room, "{worst} MiB are needed, and the limit is {limit}");
        assert!(resources["limits"]["cpu"].is_null());
    }
}

/// What clients can do to the memory at worst, by the figures of `docs/operations.md`.
fn worst_memory_mib(manifests: &Manifests) -> u64 {
    let limits = Settings::parse_from(&[]).expect("defaults").limits;
    let set = list(&manifests.container()["env"]).iter();
    let mut set = set.filter(|it| it["name"] == "KEYSERVICE_MAX_CONNECTIONS");
    let connections = text(&set.next().expect("it is set")["value"]);
    let connections: u64 = connections.parse().expect("a number");
    let (calls, answers) = (limits.max_calls as u64, limits.max_admin_calls as u64);

    let per_connection = figure(OPERATIONS, " KiB for each of `--max-connections`");
    let in_kernel = figure(OPERATIONS, " KiB more in the kernel");
    let per_call = figure(OPERATIONS, " KiB for each of `--max-calls`");
    let of_clients = (connections * (per_connection + in_kernel) + calls * per_call).div_ceil(1024);
    let of_answers = answers * figure(OPERATIONS, " MiB for each of `--max-admin-calls`");
    let streams = figure(OPERATIONS, " streams of AuthorizeStream");
    let of_streams = streams * figure(OPERATIONS, " KiB for each of the 4096 streams") / 1024;
    let stalled = figure(OPERATIONS, " that may be [stalled]");
    let of_stalled = stalled * figure(OPERATIONS, " MiB for each of the 64 that");
    // The measured figures, which other tests hold against a process.
    assert_eq!(per_connection, STALLED_CONNECTION);
    assert_eq!(
        per_connection,
        figure(ABUSE, " KiB, which is what HTTP/2 keeps")
    );
    assert_eq!(
        in_kernel,
        figure(ABUSE, " KiB more, half of it in each direction")
    );
    assert_eq!(
        per_call,
        figure(ABUSE, " KiB: 30 KiB if it is a stranger's")
    );
    let most_broken = figure(ABUSE, ", then the connection is closed |\n| admin calls");
    assert_eq!(most_broken, u64::from(MOST_BROKEN));
    let of_streams = of_streams + of_stalled;
    let of_batches = figure(OPERATIONS, " MiB for BatchRevoke");
    MILLION_KEYS_MIB
        + of_clients
        + of_streams
        + of_answers
        + of_batches
        + figure(OPERATIONS, " MiB |\n| open files")
}

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const ABUSE: &str = include_str!("../../../docs/abuse.md");

/// The number before these words of a page.
fn figure(page: &str, words: &str) -> u64 {
    let (before, _) = page
        .split_once(words)
        .unwrap_or_else(|| panic!("no {words:?}"));
    let digits = before.rsplit(|it: char| !it.is_ascii_digit()).next();
    digits.expect("a number").parse().expect("a number")
}

fn mebibytes(memory: &Value) -> u64 {
    let count = text(memory).strip_suffix("Mi").expect("in MiB");
    count.parse().expect("a number")
}

fn variables(manifests: &Manifests) -> impl Iterator<Item = &str> {
    let variables = list(&manifests.container()["env"]).iter();
    variables.map(|variable| text(&variable["name"]))
}

fn mount_at<'a>(manifests: &'a Manifests, path: &str) -> &'a Value {
    let mut mounts = list(&manifests.container()["volumeMounts"]).iter();
    let found = mounts.find(|mount| mount["mountPath"] == path);
    found.unwrap_or_else(|| panic!("nothing is mounted at {path}"))
}
