//! `grpc.health.v1`: whether this replica serves.
//!
//! Owns the statuses, and tonic-health's service, whose watches it ends.
//! Promises `NOT_SERVING` for `KeyService` until told otherwise. From the first moment of a shutdown on, promises it for
//! all names, and for good.
//! Must never keep a server from draining: a watch without an end would outlive every other call.

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

/// The names that have a status: the server as a whole, and `KeyService`.
const NAMES: [&str; 2] = ["", SERVICE_NAME];

/// Whether this replica serves, and who is told when that changes.
#[derive(Clone)]
pub(crate) struct ServingState {
    reporter: HealthReporter,
    ending: CancellationToken,
    draining: CancellationToken,
    /// Holds a token of each watch.
    watches: TaskTracker,
}

impl ServingState {
    /// The state at the start: nothing serves yet, and a restart would not make that sooner.
    pub(crate) async fn not_serving() -> Self {
        let state = Self {
            reporter: HealthReporter::new(),
            ending: CancellationToken::new(),
            draining: CancellationToken::new(),
            watches: TaskTracker::new(),
        };
        state.set(ServingStatus::Serving).await;
        state.pause().await;
        state
    }

    /// Says that the replica serves, unless it is ending.
    pub(crate) async fn serve(&self) {
        self.set(ServingStatus::Serving).await;
        // This is asked last, so that an end that began meanwhile prevails.
        if self.ending.is_cancelled() {
            self.set(ServingStatus::NotServing).await;
        }
    }

    /// Says that `KeyService` does not serve. The server as a whole still does, because a restart would bring
    /// neither its lease back nor its database.
    pub(crate) async fn pause(&self) {
        self.reporter
            .set_service_status(SERVICE_NAME, ServingStatus::NotServing)
            .await;
    }

    /// Says that nothing serves any more, and never will.
    pub(crate) async fn end(&self) {
        self.ending.cancel();
        self.set(ServingStatus::NotServing).await;
    }

    /// Whether a client watches the state.
    pub(crate) fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Ends all watches, with a last `NOT_SERVING`. Clients then begin a new one at once.
    pub(crate) fn end_watches(&self) {
        self.draining.cancel();
    }

    /// Cancelled when streams are to end.
    pub(super) fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// The service that tells clients this state.
    pub(super) fn service(&self) -> HealthServer<Health> {
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
pub(super) struct Health {
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
            // The protocol wants this of a watch: after an error a client would try again and again.
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

    async fn status(state: &ServingState, service: &str) -> ServingStatus {
        let health = Health {
            inner: HealthService::from_health_reporter(state.reporter.clone()),
            draining: state.draining.clone(),
            watches: state.watches.clone(),
        };
        let service = service.to_owned();
        let answer = health.check(Request::new(HealthCheckRequest { service }));
        let status = answer.await.expect("a known name").get_ref().status();
        if status == ProtoStatus::Serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }

    #[tokio::test]
    async fn a_server_that_ends_never_serves_again() {
        let [serving, not_serving] = [ServingStatus::Serving, ServingStatus::NotServing];
        let state = ServingState::not_serving().await;
        let statuses = async || {
            let [server, service] = NAMES;
            [status(&state, server).await, status(&state, service).await]
        };
        assert_eq!(statuses().await, [serving, not_serving]);
        state.serve().await;
        assert_eq!(statuses().await, [serving, serving]);
        state.end().await;
        assert_eq!(statuses().await, [not_serving, not_serving]);
        state.serve().await;
        assert_eq!(statuses().await, [not_serving, not_serving]);
    }
}
