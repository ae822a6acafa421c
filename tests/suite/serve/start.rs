//! The process serves, and reports that it serves, only after its keys are loaded.

use crate::support::{
    eventually,
    postgres::{
        Cluster, steady_port,
        table_lock::{LONG_STATEMENT_TIMEOUT, TableLock, with_schema},
    },
    server::{Server, command_on},
};
use keyservice::grpc::proto::key_service_server::SERVICE_NAME;
use std::{io::ErrorKind, net::TcpStream};
use tonic_health::pb::health_check_response::ServingStatus;

/// A unit test shows that the process cannot be dumped to a program either.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_forbids_core_dumps_of_itself() {
    let server = Server::on_sqlite().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid()));
    let limits = limits.expect("it runs");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<_> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(words[4..], ["0", "0", "bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_reports_that_it_does_not_serve_and_does_not_listen_until_its_keyring_is_loaded() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let lock = TableLock::on_keys(&store).await;
    let port = steady_port();
    let mut command = command_on(port, &store);
    command.args(["--health-listen", "127.0.0.1:0"]);
    let mut server = Server::launch(command.args(LONG_STATEMENT_TIMEOUT));
    let mut health = server.health_on_its_own_port().await;
    let status = health.check(SERVICE_NAME).await;
    assert_eq!(status, ServingStatus::NotServing);
    let of_server = health.check("").await;
    assert_eq!(of_server, ServingStatus::Serving, "a restart helps nothing");
    let refused = TcpStream::connect(("127.0.0.1", port)).expect_err("it does not listen");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    drop(lock);
    health.wait_until_serving().await;
    eventually("it listens", async || server.is_listening()).await;
    let mut client = server.client().await;
    let answer = client.authorize("tsend_unknown", "example.com").await;
    answer.expect("a decision");
}
