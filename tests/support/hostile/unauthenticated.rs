//! Clients without credentials that keep connections and calls busy: they watch health.

use crate::support::hostile::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RawClient, WINDOW_UPDATE, frame, headers_of,
    no_settings,
};
use std::time::Duration;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// Short enough that the server never regards the connections as idle.
const FRAME_INTERVAL: Duration = Duration::from_millis(200);

/// Connections with health watches. Each sends a frame again and again, and connects again when the
/// server closes it.
pub struct UnauthenticatedClients {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl UnauthenticatedClients {
    /// Returns when all clients have sent their first calls.
    pub async fn start(port: u16, connections: usize, watches: u32) -> Self {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(connect_and_watch(port, watches).await);
        }
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let small_frame = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                // All are checked before any connects again, since that may evict others.
                let is_open: Vec<bool> = clients.iter_mut().map(RawClient::is_open).collect();
                for (client, is_open) in clients.iter_mut().zip(is_open) {
                    if !is_open {
                        *client = connect_and_watch(port, watches).await;
                    }
                    client.send(&small_frame).await;
                }
                sleep(FRAME_INTERVAL).await;
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

async fn connect_and_watch(port: u16, watches: u32) -> RawClient {
    let mut client = RawClient::connect(port).await;
    let headers = headers_of("/grpc.health.v1.Health/Watch", &[]);
    let all = (0..watches).map(|watch| 2 * watch + 1).flat_map(|stream| {
        // An empty message watches the server as a whole.
        let message = frame(DATA, END_STREAM, stream, &[0; 5]);
        [frame(HEADERS, END_HEADERS, stream, &headers), message].concat()
    });
    let greeting = [PREFACE, &no_settings()].concat();
    let bytes: Vec<u8> = greeting.into_iter().chain(all).collect();
    client.send(&bytes).await;
    client
}
