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
