//! Owns the port for Prometheus: HTTP/1.1 in plain text, one request a connection.
//! Promises the metrics to `GET /metrics`, and 404 or 405 to anything else.
//! Must never let a slow client, or many, keep the next one waiting for long.

use crate::listener::Acceptor;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::prometheus_text, registry::Registry};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

/// Connections open at once; more wait to be accepted. Enough for two Prometheus servers and a
/// person with curl.
const MAX_CONNECTIONS: usize = 8;

/// For a whole connection. Prometheus itself waits for 10 s by default.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Serves the metrics, for ever.
pub async fn serve(listener: TcpListener, registry: Registry) {
    let mut socket = Acceptor::new(listener);
    let (registry, places) = (
        Arc::new(registry),
        Arc::new(Semaphore::new(MAX_CONNECTIONS)),
    );
    loop {
        let place = places.clone().acquire_owned().await;
        let place = place.expect("nobody closes it");
        let (stream, peer) = socket.accept().await;
        let registry = registry.clone();
        tokio::spawn(async move {
            match timeout(TIME_LIMIT, answer_on(stream, registry)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%peer, "closed: {error}"),
                Err(_) => tracing::debug!(%peer, "closed: no request, or not read, in time"),
            }
            drop(place);
        });
    }
}

async fn answer_on(stream: TcpStream, registry: Arc<Registry>) -> Result<(), hyper::Error> {
    let service =
        service_fn(async |request| Ok::<_, Infallible>(answer(&request, &registry).await));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: &Request<Incoming>, registry: &Arc<Registry>) -> Response<String> {
    if request.uri().path() != "/metrics" {
        return refusal(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    if request.method() != Method::GET {
        let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        let get = HeaderValue::from_static("GET");
        refused.headers_mut().insert(ALLOW, get);
        return refused;
    }
    let registry = registry.clone();
    // Counting the keys takes milliseconds where they are many; calls shall not wait for that.
    let written = tokio::task::spawn_blocking(move || {
        let mut page = String::new();
        prometheus_text::encode(&mut page, &registry).expect("a string takes all");
        page
    });
    let mut response = Response::new(written.await.expect("writing metrics does not panic"));
    let content_type = HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn refusal(status: StatusCode, advice: &str) -> Response<String> {
    let mut response = Response::new(advice.to_owned());
    *response.status_mut() = status;
    response
}
