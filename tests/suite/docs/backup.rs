//! Runs the commands of the page about backups, on a store of each kind that is in use.

use super::production::{blocks, path};
use crate::replay::calls::whole_log;
use crate::support::{
    directory, eventually,
    kubernetes::manifests::{POSTGRES, SQLITE, list, text},
    postgres::{self, Cluster},
    server::{Server, assert_refused, command},
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

const PAGE: &str = include_str!("../../../docs/backup.md");

/// The blocks of the page: the backup, the restore and its acceptance of SQLite, then the backup and the restore of
/// PostgreSQL and the replay from its former database, the acceptance of either, and the replay.
fn block(index: usize) -> &'static str {
    let blocks: Vec<_> = blocks(PAGE, "sh").collect();
    assert_eq!(blocks.len(), 8);
    blocks[index]
}

fn run(script: &str, directory: &Path, variables: &[(&str, &str)]) {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        .env("PATH", path(directory))
        .envs(variables.iter().copied());
    let ran = bash.output().expect("bash runs");
    assert!(ran.status.success(), "{script}: {ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_backed_up_beside_its_service_and_restored() {
    let directory = directory();
    let store = format!("sqlite:{}/keyservice.db", directory.path().display());
    let server = Server::start(&store).await;
    let (token, key_id) = server.client().await.create_key().await;
    run(block(0), directory.path(), &[]);
    server.client().await.revoke(&key_id).await.unwrap();
    let (lost, _) = server.client().await.create_key().await;
    let log = whole_log(server).await;
    fs::write(directory.path().join("service.log"), log).expect("written");
    run(block(1), directory.path(), &[]);
    let parts = ["was restored from a backup, or copied"];
    assert_refused(&mut command(&store), &parts).await;
    run(block(7), directory.path(), &[]);
    run(block(2), directory.path(), &[]);
    run(block(6), directory.path(), &[("KEYSERVICE_STORE", &store)]);
    let server = Server::start(&store).await;
    assert!(!server.client().await.is_granted(&token).await);
    assert!(!server.client().await.is_granted(&lost).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_under_a_running_replica_brings_no_revoked_key_back() {
    let (cluster, directory) = (Cluster::start(), directory());
    cluster.psql("postgres", "CREATE DATABASE keyservice");
    let owner = postgres::address(cluster.port(), "keyservice");
    Server::start(&owner).await.terminate().await;
    cluster.psql("postgres", "CREATE ROLE keyservice_service LOGIN");
    let port = cluster.port().to_string();
    let variables = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", &port),
        ("PGUSER", "keyservice"),
    ];
    let rights = "keyservice grants --role keyservice_service --for service | psql --quiet --dbname keyservice";
    run(rights, directory.path(), &variables);
    let store = cluster.address_for("keyservice_service", "keyservice");
    let server = Server::start_command(command(&store).args(["--lease", "2s"])).await;
    let mut client = server.client().await;
    let (kept, kept_id) = client.create_key().await;
    let mut revoked = Vec::new();
    for _ in 0..20 {
        revoked.push(client.create_key().await);
    }
    run(block(3), directory.path(), &variables);
    for (_, key_id) in &revoked {
        client.revoke(key_id).await.unwrap();
    }
    let (lost, _) = client.create_key().await;

    run(block(4), directory.path(), &variables);
    // Who starts now knows nothing but the restored database.
    let mut newcomer = command(&store);
    newcomer.env_remove("KEYSERVICE_STORE_WAIT_LIMIT");
    let mut newcomer = Server::launch(&mut newcomer);
    eventually("it serves by the restored database", async || {
        for (token, _) in &revoked {
            assert!(!client.is_granted(token).await);
        }
        server.log().contains("the store lost writes") && client.is_granted(&kept).await
    })
    .await;
    assert!(!client.is_granted(&lost).await);
    for (token, _) in &revoked {
        assert!(!client.is_granted(token).await);
    }
    eventually("it listens", async || newcomer.is_listening()).await;
    for (token, _) in &revoked {
        assert!(!newcomer.client().await.is_granted(token).await);
    }

    // And once more, where nobody remembers but the former database.
    fs::remove_file(directory.path().join("backup.dump")).expect("deleted");
    run(block(3), directory.path(), &variables);
    client.revoke(&kept_id).await.unwrap();
    newcomer.terminate().await;
    server.terminate().await;
    run(block(4), directory.path(), &variables);
    let here = format!("@127.0.0.1:{port}/");
    let replay = block(5).replace("@db.example.com/", &here);
    let former = "SELECT max(datname) FROM pg_database WHERE datname LIKE 'keyservice_replaced_%'";
    let former = cluster.psql("postgres", former);
    let mut variables = variables.to_vec();
    variables.push(("former", former.trim()));
    run(&replay, directory.path(), &variables);
    run(block(6), directory.path(), &[("KEYSERVICE_STORE", &store)]);
    let server = Server::start_command(&mut command(&store)).await;
    assert!(!server.client().await.is_granted(&kept).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_postgresql_that_fails_leaves_the_service_its_database() {
    let (cluster, directory) = (Cluster::start(), directory());
    cluster.psql("postgres", "CREATE DATABASE keyservice");
    // As a restore leaves it that stopped half-way, with a dump that is none.
    for left in ["CREATE DATABASE keyservice_restored", "SELECT 1"] {
        cluster.psql("postgres", left);
        fs::write(directory.path().join("backup.dump"), "no dump").expect("written");
        // A shell at a terminal goes on after a command that failed.
        let mut bash = Command::new("bash");
        bash.args(["-c", block(4)])
            .current_dir(directory.path())
            .env("PATH", path(directory.path()))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", cluster.port().to_string())
            .env("PGUSER", "keyservice");
        let ran = bash.output().expect("bash runs");
        assert!(!ran.status.success(), "{ran:?}");
        let open = "SELECT datallowconn FROM pg_database WHERE datname = 'keyservice'";
        assert_eq!(cluster.psql("postgres", open).trim(), "t", "{left}");
        cluster.psql("postgres", "DROP DATABASE keyservice_restored");
    }
}

/// A cluster would refuse another pod, or it would find another volume.
#[test]
fn the_pod_that_restores_in_kubernetes_has_the_volume_and_the_rights_of_the_service() {
    let (pod, workload) = (&pods()[0], SQLITE.workload());
    let container = alike(pod, SQLITE.pod());
    let claim = &workload["spec"]["volumeClaimTemplates"][0]["metadata"]["name"];
    let name = text(&workload["metadata"]["name"]);
    let claim = format!("{}-{name}-0", text(claim));
    let mount = &container["volumeMounts"][0];
    assert_eq!(pod["volumes"][0]["name"], mount["name"]);
    assert_eq!(
        pod["volumes"][0]["persistentVolumeClaim"]["claimName"],
        claim
    );
    assert!(list(&SQLITE.container()["env"]).contains(&container["env"][0]));
    assert_eq!(container["args"], json!(["restore", "-"]));
}

#[test]
fn the_pod_that_replays_as_the_owner_in_kubernetes_has_the_files_and_the_rights_of_the_service() {
    let pod = &pods()[1];
    let container = alike(pod, POSTGRES.pod());
    let volumes = list(&POSTGRES.pod()["spec"]["volumes"]);
    for volume in list(&pod["volumes"]) {
        assert!(volumes.contains(volume), "{volume}");
    }
    let [store, secret] = list(&container["env"]) else {
        panic!("two variables");
    };
    assert_eq!(store["name"], "KEYSERVICE_STORE");
    let key = &store["valueFrom"]["secretKeyRef"];
    assert_eq!(key, &json!({"name": "keyservice-owner", "key": "address"}));
    assert!(PAGE.contains("kubectl create secret generic keyservice-owner --from-file address"));
    assert!(list(&POSTGRES.container()["env"]).contains(secret));
    assert_eq!(container["args"], json!(["replay", "-"]));
    assert_eq!(pod["automountServiceAccountToken"], false);
}

/// The pods of the page.
fn pods() -> Vec<Value> {
    let overrides = PAGE.split("--overrides '").skip(1);
    let pods = overrides.map(|it| -> Value {
        let (json, _) = it.split_once('\'').expect("its end");
        serde_json::from_str(json).expect("JSON")
    });
    pods.map(|pod| pod["spec"].clone()).collect()
}

/// The container of a pod that has no more rights than those of a template, and no other mount.
fn alike<'a>(pod: &'a Value, template: &Value) -> &'a Value {
    let [container] = list(&pod["containers"]) else {
        panic!("one container");
    };
    let (template, service) = (&template["spec"], &template["spec"]["containers"][0]);
    assert_eq!(pod["securityContext"], template["securityContext"]);
    assert_eq!(container["securityContext"], service["securityContext"]);
    for mount in list(&container["volumeMounts"]) {
        assert!(list(&service["volumeMounts"]).contains(mount), "{mount}");
    }
    container
}
