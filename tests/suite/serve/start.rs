//! The process serves, and reports that it serves, only after its keys are loaded.

use crate::support::{
    postgres::{
        Cluster,
        table_lock::{LONG_STATEMENT_TIMEOUT, TableLock, with_schema},
    },
    server::Server,
};
use keyservice::grpc::proto::key_service_server::SERVICE_NAME;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt;

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
async fn a_server_does_not_serve_until_its_keyring_is_loaded() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let lock = TableLock::on_keys(&store).await;
    let server = Server::start_listening(&store, &LONG_STATEMENT_TIMEOUT, &[]).await;
    let mut health = server.health().await;
    for service in ["", SERVICE_NAME] {
        assert_eq!(health.check(service).await, ServingStatus::NotServing);
    }
    let mut client = server.client().await;
    let answer = client.authorize("tsend_unknown", "example.com").await;
    let refused = answer.expect_err("no key is loaded");
    assert_eq!(refused.code(), Code::Unavailable);
    let info = refused.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "KEYRING_LOADING");

    drop(lock);
    health.wait_until_serving().await;
    assert_eq!(health.check(SERVICE_NAME).await, ServingStatus::Serving);
    let answer = client.authorize("tsend_unknown", "example.com").await;
    answer.expect("a decision");
}
