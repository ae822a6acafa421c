//! Owns what is served over a connection: services, layers around them, and HTTP/2's limits.
//! Promises that every call passes authentication, and that its span and its count cover that too.
//! Must never serve anything but health in plain text for probes.

use super::{
    AuthenticateLayer, CallMetricsLayer, CallPlaceLayer, CallSpanLayer, Callers, DeadlineLayer,
    KeyServiceImpl, ServingState, dispatch::DispatchLayer,
    proto::key_service_server::KeyServiceServer, reflection, reflection_v1alpha,
};
use crate::{listener::Connection, settings::Limits};
use futures::Stream;
use http::{HeaderValue, Response};
use http_body::Body as HttpBody;
use std::io;
use tonic::{Code, body::Body, service::RoutesBuilder, transport::Server};
use tower::util::MapResponseLayer;

/// Serves the API to those who may call, until told to drain, and then to the last call.
pub async fn serve(
    connections: impl Stream<Item = io::Result<Connection>>,
    callers: Callers,
    service: KeyServiceImpl,
    state: ServingState,
    reflects: bool,
    limits: &Limits,
    drain: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let message_size = limits.max_message_size as usize;
    let metrics = CallMetricsLayer::new(&service.counts.calls);
    let authenticate = AuthenticateLayer::new(callers, service.recorder.clone());
    let key_service = KeyServiceServer::new(service).max_decoding_message_size(message_size);
    let mut routes = RoutesBuilder::default();
    routes.add_service(state.service().max_decoding_message_size(message_size));
    if reflects {
        routes
            .add_service(reflection().max_decoding_message_size(message_size))
            .add_service(reflection_v1alpha().max_decoding_message_size(message_size));
    }
    builder(limits)
        // The two outermost: tonic boxes the body of what it is given, so that theirs cost no other
        // box.
        .layer(CallPlaceLayer)
        .layer(metrics)
        .layer(CallSpanLayer)
        .layer(authenticate)
        .layer(DeadlineLayer)
        .layer(MapResponseLayer::new(name_excess))
        .layer(DispatchLayer { key_service })
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(connections, drain)
        .await
}

/// Serves health alone, for ever.
pub async fn serve_health(
    connections: impl Stream<Item = io::Result<Connection>>,
    state: ServingState,
    metrics: CallMetricsLayer,
    limits: &Limits,
) -> Result<(), tonic::transport::Error> {
    builder(limits)
        .layer(CallPlaceLayer)
        .layer(metrics)
        .add_service(state.service())
        .serve_with_incoming(connections)
        .await
}

fn builder(limits: &Limits) -> Server {
    Server::builder()
        .max_concurrent_streams(limits.max_streams)
        .http2_max_header_list_size(limits.max_header_size)
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        // No `max_connection_age_grace`: with it, tonic cuts connections off without telling them
        // to end first. The connections themselves know when their grace is over.
        .max_connection_age(limits.max_connection_age)
}

/// Gives a call whose message was over the limit gRPC's status for that, `RESOURCE_EXHAUSTED`.
/// tonic, which counts the bytes, gives it `OUT_OF_RANGE`, which no service here does.
fn name_excess(mut response: Response<Body>) -> Response<Body> {
    // A call that failed before its first message has all in its headers, and no body.
    if response.body().is_end_stream() {
        let status = response.headers_mut().get_mut("grpc-status");
        let over = status.filter(|status| Code::from_bytes(status.as_bytes()) == Code::OutOfRange);
        if let Some(status) = over {
            *status = HeaderValue::from(Code::ResourceExhausted as i32);
        }
    }
    response
}
