//! Serves the metrics to Prometheus: HTTP/1.1 in plain text, one request a connection.
//! Owns the port's connections.
//! Promises the metrics to `GET /metrics`, and 404 or 405 to anything else.
//! Must never let slow clients, however many, keep the next one waiting for long.

use super::page::MetricsPage;
use crate::net::open_files::Acceptor;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::prometheus_text, registry::Registry};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::{sleep, timeout},
};

/// Connections open at once. Two Prometheus servers and a person with curl need three. The others
/// are for clients that send nothing or read nothing.
pub(crate) const MAX_CONNECTIONS: usize = 128;

/// How long a client may keep the server waiting before it is closed for a new connection. That is
/// enough to send a request, or to read an answer, on a local network. In each such time, as many
/// new connections as there may be get a turn, so that one behind 1,000 others waits for 0.2 s.
const MIN_WAIT: Duration = Duration::from_millis(25);

/// How often a new connection looks for one to close, if all are within [`MIN_WAIT`] or are being
/// answered.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// From connecting to the end of the request's head, which a scrape sends at once.
const HEAD_LIMIT: Duration = Duration::from_secs(1);

/// Bytes of a request's head. A scrape's takes some hundred. hyper's default is 400 KiB a connection.
const MAX_HEAD: usize = 16 * 1024;

/// For a whole connection, so that even a slow line can read the answer. Prometheus itself waits for
/// 10 s by default.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Serves the metrics, forever.
pub(crate) async fn serve(listener: TcpListener, registry: Registry) {
    let mut socket = Acceptor::new(listener);
    let page = Arc::new(MetricsPage::new(registry));
    let mut connections = Connections::new(MAX_CONNECTIONS);
    loop {
        let (stream, peer) = socket.accept().await;
        connections.make_room().await;
        let page = page.clone();
        connections.spawn(async move |turn| {
            match timeout(TIME_LIMIT, serve_connection(stream, &turn, &page)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%peer, "closed: {error}"),
                Err(_) => tracing::debug!(%peer, "closed: the answer was not read in time"),
            }
        });
    }
}

/// The open connections, no more than a maximum.
struct Connections {
    max: usize,
    open: Vec<Connection>,
}

struct Connection {
    task: AbortHandle,
    turn: Arc<Turn>,
}

impl Connections {
    fn new(max: usize) -> Self {
        let open = Vec::with_capacity(max);
        Self { max, open }
    }

    /// Waits until one more connection may be open. If necessary, closes the one whose client has kept
    /// the server waiting for longest. It never closes one that the server is answering.
    async fn make_room(&mut self) {
        loop {
            self.open.retain(|it| !it.task.is_finished());
            if self.open.len() < self.max {
                return;
            }
            let open = self.open.iter().enumerate();
            let waiting = open.filter_map(|(index, it)| Some((it.turn.client_since()?, index)));
            match waiting.min() {
                Some((since, index)) if since.elapsed() >= MIN_WAIT => {
                    self.open.swap_remove(index).task.abort();
                }
                _ => sleep(RETRY_INTERVAL).await,
            }
        }
    }

    fn spawn<F>(&mut self, serve: impl FnOnce(Arc<Turn>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let turn = Arc::new(Turn::of_server());
        let task = tokio::spawn(serve(turn.clone())).abort_handle();
        self.open.push(Connection { task, turn });
    }
}

/// Whose turn it is on a connection. It is the client's since an instant: to send its request, or to
/// read the answer. It is the server's if there is `None`: to answer, which depends on no client.
struct Turn(Mutex<Option<Instant>>);

impl Turn {
    /// It is the server's at first, until the connection's task has begun to read. A client that has
    /// already sent its request is therefore answered, however late a busy server comes to that.
    fn of_server() -> Self {
        Self(Mutex::new(None))
    }

    fn client_since(&self) -> Option<Instant> {
        *self.0.lock().expect("nothing panics while it is held")
    }

    fn set(&self, client_since: Option<Instant>) {
        *self.0.lock().expect("nothing panics while it is held") = client_since;
    }

    async fn while_server<T>(&self, answer: impl Future<Output = T>) -> T {
        self.set(None);
        let answer = answer.await;
        self.set(Some(Instant::now()));
        answer
    }
}

async fn serve_connection(
    stream: TcpStream,
    turn: &Turn,
    page: &MetricsPage,
) -> Result<(), hyper::Error> {
    turn.set(Some(Instant::now()));
    let service = service_fn(async |request| {
        let answer = turn.while_server(answer(&request, page)).await;
        Ok::<_, Infallible>(answer)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: &Request<Incoming>, page: &MetricsPage) -> Response<Full<Bytes>> {
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
    let mut response = Response::new(Full::new(page.read().await));
    let content_type = HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn refusal(status: StatusCode, advice: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(advice));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::task::yield_now;

    /// Connections that stay open until they are closed, and whose turn it is on each.
    fn connections(turns: &[Option<Instant>]) -> Connections {
        let mut connections = Connections::new(turns.len());
        for turn in turns {
            connections.spawn(async |_| pending().await);
            connections.open.last().expect("it is open").turn.set(*turn);
        }
        connections
    }

    fn turns(connections: &Connections) -> Vec<Option<Instant>> {
        let turns = connections.open.iter().map(|it| it.turn.client_since());
        turns.collect()
    }

    #[tokio::test]
    async fn the_client_that_keeps_the_server_waiting_for_longest_is_closed() {
        let now = Instant::now();
        let past = |millis| now.checked_sub(Duration::from_millis(millis));
        let mut connections = connections(&[past(100), past(300), past(200)]);
        let tasks: Vec<_> = connections.open.iter().map(|it| it.task.clone()).collect();
        connections.make_room().await;
        assert_eq!(turns(&connections), [past(100), past(200)]);
        yield_now().await;
        let closed: Vec<_> = tasks.iter().map(AbortHandle::is_finished).collect();
        assert_eq!(closed, [false, true, false]);
    }

    #[tokio::test]
    async fn a_client_has_a_while_and_one_that_is_being_answered_is_not_closed() {
        let now = Instant::now();
        let mut connections = connections(&[None, Some(now), None]);
        connections.make_room().await;
        assert!(now.elapsed() >= MIN_WAIT);
        assert_eq!(turns(&connections), [None, None]);
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_leaves_room_at_once() {
        let now = Instant::now();
        let mut connections = connections(&[None, Some(now)]);
        connections.open[0].task.abort();
        yield_now().await;
        connections.make_room().await;
        assert_eq!(turns(&connections), [Some(now)]);
    }
}
