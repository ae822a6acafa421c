//! Owns `grpc.health.v1`: tonic-health's service, with an end to its watches.
//! Promises NOT_SERVING until told otherwise and from the first moment of a shutdown, for good.
//! Must never keep a server from draining: a watch would otherwise outlive every other call.

use super::proto::key_service_server::SERVICE_NAME;
use futures::{Stream, StreamExt, stream};
use std::pin::Pin;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_check_response::ServingStatus as ProtoStatus,
        health_server::{Health as HealthRpc, HealthServer},
    },
    server::{HealthReporter, HealthService},
};

/// The names that have a status: the server as a whole, and its one service.
const NAMES: [&str; 2] = ["", SERVICE_NAME];

/// Says whether this replica serves.
#[derive(Clone)]
pub struct ServingState {
    reporter: HealthReporter,
    ending: CancellationToken,
    draining: CancellationToken,
    /// Holds a token of each watch.
    watches: TaskTracker,
}

impl ServingState {
    /// Not serving, yet.
    pub async fn not_serving() -> Self {
        let state = Self {
            reporter: HealthReporter::new(),
            ending: CancellationToken::new(),
            draining: CancellationToken::new(),
            watches: TaskTracker::new(),
        };
        state.set(ServingStatus::NotServing).await;
        state
    }

    /// From now on it serves, unless it is ending.
    pub async fn serve(&self) {
        self.set(ServingStatus::Serving).await;
        // Looked at last: an end that began meanwhile has the last word.
        if self.ending.is_cancelled() {
            self.set(ServingStatus::NotServing).await;
        }
    }

    /// From now on `KeyService` does not serve. The server as a whole still does: to restart it
    /// would not bring its lease back.
    pub async fn pause(&self) {
        self.reporter
            .set_service_status(SERVICE_NAME, ServingStatus::NotServing)
            .await;
    }

    /// From now on it does not serve, for good, and watches are told so.
    pub async fn end(&self) {
        self.ending.cancel();
        self.set(ServingStatus::NotServing).await;
    }

    /// Whether there is anybody who is told of it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Ends the watches, with a last NOT_SERVING. A client whose watch ends at once begins another.
    pub fn end_watches(&self) {
        self.draining.cancel();
    }

    /// The service that answers with this state.
    #[must_use]
    pub fn service(&self) -> HealthServer<Health> {
        HealthServer::new(Health {
            inner: HealthService::from_health_reporter(self.reporter.clone()),
            draining: self.draining.clone(),
            watches: self.watches.clone(),
        })
    }

    async fn set(&self, status: ServingStatus) {
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// `grpc.health.v1.Health`.
pub struct Health {
    inner: HealthService,
    draining: CancellationToken,
    watches: TaskTracker,
}

#[tonic::async_trait]
impl HealthRpc for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.inner.check(request).await
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (draining, watch) = (self.draining.clone(), self.watches.token());
        let drained = async move {
            draining.cancelled().await;
            drop(watch);
        };
        if !NAMES.contains(&request.get_ref().service.as_str()) {
            // As the protocol has it for a watch: after an error a client would try again and again.
            let statuses = one(ProtoStatus::ServiceUnknown).chain(stream::pending());
            return Ok(Response::new(Box::pin(statuses.take_until(drained))));
        }
        let statuses = self.inner.watch(request).await?.into_inner();
        let until_drained = statuses
            .take_until(drained)
            .chain(one(ProtoStatus::NotServing));
        Ok(Response::new(Box::pin(until_drained)))
    }
}

fn one(status: ProtoStatus) -> impl Stream<Item = Result<HealthCheckResponse, Status>> {
    stream::iter([Ok(HealthCheckResponse {
        status: status.into(),
    })])
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn status(state: &ServingState) -> i32 {
        let health = Health {
            inner: HealthService::from_health_reporter(state.reporter.clone()),
            draining: state.draining.clone(),
            watches: state.watches.clone(),
        };
        let answer = health.check(Request::new(HealthCheckRequest::default()));
        answer.await.expect("a known name").get_ref().status
    }

    #[tokio::test]
    async fn a_server_that_ends_never_serves_again() {
        let [serving, not_serving] = [ServingStatus::Serving, ServingStatus::NotServing];
        let state = ServingState::not_serving().await;
        assert_eq!(status(&state).await, not_serving as i32);
        state.serve().await;
        assert_eq!(status(&state).await, serving as i32);
        state.end().await;
        assert_eq!(status(&state).await, not_serving as i32);
        state.serve().await;
        assert_eq!(status(&state).await, not_serving as i32);
    }
}
