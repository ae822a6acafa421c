//! Owns the port for Prometheus: HTTP/1.1 in plain text, one request a connection.
//! Promises the metrics to `GET /metrics`, and 404 or 405 to anything else.
//! Must never let a slow client, or many, keep the next one waiting for long.

use super::{
    page::Page,
    places::{Place, Places},
};
use crate::net::open_files::Acceptor;
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
    time::timeout,
};

/// Connections open at once. Two Prometheus servers and a person with curl need three; the others
/// are for those that say nothing, each of which has a while to ask before it is sent away.
pub(crate) const MAX_CONNECTIONS: usize = 128;

/// From connecting to the end of the request's head, which a scrape sends at once.
const HEAD_LIMIT: Duration = Duration::from_secs(1);

/// For a whole connection, to read the answer on a slow line. Prometheus itself waits for 10 s by
/// default.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Serves the metrics, for ever.
pub(crate) async fn serve(listener: TcpListener, registry: Registry) {
    let mut socket = Acceptor::new(listener);
    let (page, places) = (Arc::new(Page::of(registry)), Places::new(MAX_CONNECTIONS));
    loop {
        let (stream, peer) = socket.accept().await;
        let page = page.clone();
        let connection =
            async move |place: Place| match timeout(TIME_LIMIT, answer_on(stream, &place, &page))
                .await
            {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%peer, "closed: {error}"),
                Err(_) => tracing::debug!(%peer, "closed: the answer was not read in time"),
            };
        places.take(connection).await;
    }
}

async fn answer_on(stream: TcpStream, place: &Place, page: &Page) -> Result<(), hyper::Error> {
    let service = service_fn(async |request| {
        let answer = place.answering(answer(&request, page)).await;
        Ok::<_, Infallible>(answer)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: &Request<Incoming>, page: &Page) -> Response<String> {
    if request.uri().path() != "/metrics" {
        return refusal(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    // hyper leaves the body out of an answer to HEAD.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    let mut response = Response::new(page.read().await);
    let content_type = HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn refusal(status: StatusCode, advice: &str) -> Response<String> {
    let mut response = Response::new(advice.to_owned());
    *response.status_mut() = status;
    response
}
