//! A client of `grpc.health.v1`.

use crate::support::eventually;
use keyservice::grpc::proto::key_service_server::SERVICE_NAME;
use tonic::{Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

/// The service `""` is the server as a whole.
pub struct Health(HealthClient<Channel>);

impl Health {
    pub fn new(channel: Channel) -> Self {
        Self(HealthClient::new(channel))
    }

    pub async fn check(&mut self, service: &str) -> ServingStatus {
        self.try_check(service).await.expect("an answer")
    }

    /// Returns `None` when there is no answer.
    pub async fn try_check(&mut self, service: &str) -> Option<ServingStatus> {
        let answer = self.0.check(Self::question(service)).await;
        Some(answer.ok()?.into_inner().status())
    }

    pub async fn wait_until_serving(&mut self) {
        eventually("the server reports SERVING", async || {
            self.try_check(SERVICE_NAME).await == Some(ServingStatus::Serving)
        })
        .await;
    }

    /// The updates that a watch receives.
    pub async fn watch(&mut self, service: &str) -> Streaming<HealthCheckResponse> {
        let watch = self.0.watch(Self::question(service)).await;
        watch.expect("a watch").into_inner()
    }

    fn question(service: &str) -> HealthCheckRequest {
        HealthCheckRequest {
            service: service.into(),
        }
    }
}
