//! Clients that keep connections and calls busy, and come back when the server evicts them.

use crate::support::hostile::{
    frames::{
        DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RawClient, frame, headers_of,
        no_settings,
    },
    random_tokens::authorize,
};
use std::time::Duration;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// Short enough that a connection is never idle if its client works this often.
const WORK_INTERVAL: Duration = Duration::from_millis(200);

const AUTHORIZE: &str = "/tosend.keys.v1.KeyService/Authorize";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// What a client does on each of its connections, again and again.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Nothing that the server has to work for: HTTP/2 PINGs.
    Pings,
    /// A small call.
    Calls,
    /// PINGs, beside this many calls whose messages never come.
    UnfinishedCalls(u32),
    /// PINGs, beside this many watches of health.
    Watches(u32),
}

/// A client with many connections. It connects again whenever the server closes one.
pub struct PersistentClient {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl PersistentClient {
    /// Returns when all connections are open and have sent their first calls. With a secret, the
    /// first call on each is an Authorize with that secret.
    pub async fn start(port: u16, connections: usize, work: Work, secret: Option<&str>) -> Self {
        let work = Worker {
            port,
            work,
            bearer: secret.map(|secret| format!("Bearer {secret}")),
        };
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(work.connect().await);
        }
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                // All are checked before any connects again, since that may evict others.
                let is_open: Vec<_> = open.iter_mut().map(|(raw, _)| raw.is_open()).collect();
                for (connection, is_open) in open.iter_mut().zip(is_open) {
                    if !is_open {
                        *connection = work.connect().await;
                    }
                    work.go_on(connection).await;
                }
                sleep(WORK_INTERVAL).await;
            }
        });
        Self { stop, task }
    }

    /// Closes all connections.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

struct Worker {
    port: u16,
    work: Work,
    bearer: Option<String>,
}

/// A connection and the number of its next stream.
type Connection = (RawClient, u32);

impl Worker {
    async fn connect(&self) -> Connection {
        let mut bytes = [PREFACE, &no_settings()].concat();
        let mut stream = 1;
        if self.bearer.is_some() {
            bytes.extend(self.authorize(stream));
            stream += 2;
        }
        let (calls, path) = match self.work {
            Work::Pings | Work::Calls => (0, AUTHORIZE),
            Work::UnfinishedCalls(calls) => (calls, AUTHORIZE),
            Work::Watches(calls) => (calls, WATCH),
        };
        for _ in 0..calls {
            bytes.extend(self.headers(stream, path));
            if let Work::Watches(_) = self.work {
                // An empty message watches the server as a whole.
                bytes.extend(frame(DATA, END_STREAM, stream, &[0; 5]));
            }
            stream += 2;
        }
        let mut raw = RawClient::connect(self.port).await;
        raw.send(&bytes).await;
        (raw, stream)
    }

    async fn go_on(&self, (raw, stream): &mut Connection) {
        if let Work::Calls = self.work {
            raw.send(&self.authorize(*stream)).await;
            *stream += 2;
        } else {
            raw.send(&frame(PING, 0, 0, &[7; 8])).await;
        }
    }

    fn authorize(&self, stream: u32) -> Vec<u8> {
        let message = frame(DATA, END_STREAM, stream, &authorize("no token".to_owned()));
        [self.headers(stream, AUTHORIZE), message].concat()
    }

    fn headers(&self, stream: u32, path: &str) -> Vec<u8> {
        let bearer = self.bearer.as_deref();
        let bearer: Vec<_> = bearer.map(|it| ("authorization", it)).into_iter().collect();
        frame(HEADERS, END_HEADERS, stream, &headers_of(path, &bearer))
    }
}
