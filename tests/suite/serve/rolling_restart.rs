//! Clients that balance between replicas notice nothing of a rolling restart.

use crate::support::{
    clients::balanced_load::Load,
    eventually,
    postgres::{Cluster, steady_port},
    server::{
        Server, command_on,
        scrape::{METRICS, Scrape},
    },
};
use std::process::Command;

const REPLICAS: usize = 3;
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_replicas_are_restarted_one_by_one() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(Server::start_command(&mut replica(steady_port(), &store)).await);
    }
    let ports: Vec<u16> = replicas.iter().map(Server::port).collect();
    let load = Load::start(&ports);

    for server in &replicas {
        wait_until_called(server).await;
    }
    for _ in 0..ROUNDS {
        for (server, port) in replicas.iter_mut().zip(&ports) {
            server.signal("TERM");
            assert!(server.wait_for_exit().await.success());
            *server = Server::start_command(&mut replica(*port, &store)).await;
            wait_until_called(server).await;
        }
    }

    let report = load.end();
    println!("{report:?}");
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert!(report.calls["Authorize"] > 1000);
    // Each restart ended the streams to that replica, and each question was answered on the next one.
    assert!(report.calls["AuthorizeStream"] > 1000);
    assert!(report.calls["a stream has ended"] > ROUNDS);
    for method in ["Create", "List", "Revoke"] {
        assert!(report.calls[method] > REPLICAS);
    }
}

fn replica(port: u16, store: &str) -> Command {
    let mut command = command_on(port, store);
    // Longer than the clients' timeout, so that a call fails if it waits for a lease to lapse.
    command.args(["--lease", "30s", METRICS]);
    command
}

/// Waits until clients call a replica, as a rollout waits before it restarts the next one.
async fn wait_until_called(replica: &Server) {
    eventually("it answers calls", async || {
        Scrape::of(replica).calls("Authorize", "OK") > 0.0
    })
    .await;
}
