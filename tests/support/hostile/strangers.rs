//! Strangers that hold what they can get: watches of health, which need no credentials.

use crate::support::hostile::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RawClient, WINDOW_UPDATE, frame, headers_of,
    no_settings,
};
use std::time::Duration;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// More often than the server asks for of a connection at work.
const BETWEEN_BEATS: Duration = Duration::from_millis(200);

/// Connections with watches, each of which says something again and again, and comes back when it
/// is closed.
pub struct Strangers {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Strangers {
    /// Returns once all have come.
    pub async fn start(port: u16, connections: usize, watches: u32) -> Self {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(watching(port, watches).await);
        }
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let beat = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                // Before any of them comes back, since that closes others.
                let stands: Vec<bool> = clients.iter_mut().map(RawClient::stands).collect();
                for (client, stands) in clients.iter_mut().zip(stands) {
                    if !stands {
                        *client = watching(port, watches).await;
                    }
                    client.send(&beat).await;
                }
                sleep(BETWEEN_BEATS).await;
            }
        });
        Self { stop, task }
    }

    /// Closes all.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

async fn watching(port: u16, watches: u32) -> RawClient {
    let mut client = RawClient::connect(port).await;
    let headers = headers_of("/grpc.health.v1.Health/Watch", &[]);
    let all = (0..watches).map(|watch| 2 * watch + 1).flat_map(|stream| {
        // A message without a field: the server as a whole.
        let message = frame(DATA, END_STREAM, stream, &[0; 5]);
        [frame(HEADERS, END_HEADERS, stream, &headers), message].concat()
    });
    let greeting = [PREFACE, &no_settings()].concat();
    let bytes: Vec<u8> = greeting.into_iter().chain(all).collect();
    client.send(&bytes).await;
    client
}
