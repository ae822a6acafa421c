//! Owns what is served over a connection: services, layers around them, and HTTP/2's limits.
//! Promises that every call passes authentication, and that its span and its count cover that too.
//! Must never serve anything but health in plain text for probes.

use super::{
    ServingState,
    keys::KeyHandlers,
    layers::{
        AuthenticateLayer, CallMetricsLayer, CallPlaceLayer, CallSpanLayer, DeadlineLayer,
        DispatchLayer, HeaderSizeLayer,
    },
    methods::assert_has_rows,
    proto::key_service_server::KeyServiceServer,
    reflection, reflection_v1alpha,
};
use crate::{
    app::{App, Counts},
    config::ClientLimits,
    net::connection::Connection,
};
use futures::Stream;
use http::{Request, Response};
use std::{convert::Infallible, io, sync::Arc};
use tonic::{body::Body, server::NamedService, service::RoutesBuilder, transport::Server};
use tower::{
    Service,
    layer::util::{Identity, Stack},
};

/// By how much metadata may be over its limit and still be answered with a status. What is further
/// over is HTTP/2's to refuse, whose clients are told no more than `UNKNOWN`, and may lose their
/// connection. Up to 64 KiB in all, h2 takes no more memory for headers that do not come to an end.
const HEADER_LEEWAY: u32 = 56 * 1024;

/// Serves the API to those who may call, until told to drain, and then to the last call.
pub async fn serve(
    connections: impl Stream<Item = io::Result<Connection>>,
    app: &Arc<App>,
    state: &ServingState,
    reflects: bool,
    limits: &ClientLimits,
    drain: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let authenticate = AuthenticateLayer::new(app.callers.clone(), app.recorder.clone());
    let key_service = KeyServiceServer::new(KeyHandlers::new(app.clone()));
    let mut services = Services::default();
    services.add(state.service());
    if reflects {
        services.add(reflection());
        services.add(reflection_v1alpha());
    }
    builder(limits, app.counts)
        .layer(CallSpanLayer)
        .layer(HeaderSizeLayer::new(limits))
        .layer(authenticate)
        .layer(DeadlineLayer)
        .layer(DispatchLayer {
            key_service: Some(key_service),
            max_message_size: limits.max_message_size,
        })
        .add_routes(services.0.routes())
        .serve_with_incoming_shutdown(connections, drain)
        .await
}

/// Serves health alone, for ever.
pub async fn serve_health(
    connections: impl Stream<Item = io::Result<Connection>>,
    state: &ServingState,
    counts: &'static Counts,
    limits: &ClientLimits,
) -> Result<(), tonic::transport::Error> {
    let mut services = Services::default();
    services.add(state.service());
    builder(limits, counts)
        .layer(HeaderSizeLayer::new(limits))
        .layer(DispatchLayer {
            key_service: None::<KeyServiceServer<KeyHandlers>>,
            max_message_size: limits.max_message_size,
        })
        .add_routes(services.0.routes())
        .serve_with_incoming(connections)
        .await
}

/// The services that a router calls: all but `KeyService`.
#[derive(Default)]
struct Services(RoutesBuilder);

impl Services {
    fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        const { assert_has_rows(S::NAME) };
        self.0.add_service(service);
    }
}

/// With the two outermost layers: tonic boxes the body of what it is given, so that theirs cost no
/// other box.
fn builder(
    limits: &ClientLimits,
    counts: &'static Counts,
) -> Server<Stack<CallMetricsLayer, Stack<CallPlaceLayer, Identity>>> {
    Server::builder()
        .max_concurrent_streams(limits.max_streams)
        .http2_max_header_list_size(limits.max_header_size.saturating_add(HEADER_LEEWAY))
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        // No `max_connection_age_grace`: with it, tonic cuts connections off without telling them
        // to end first. The connections themselves know when their grace is over.
        .max_connection_age(limits.max_connection_age)
        .layer(CallPlaceLayer)
        .layer(CallMetricsLayer::new(&counts.calls))
}
