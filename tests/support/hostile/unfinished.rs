//! Calls whose messages begin, and do not end.

use crate::support::eventually;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::task::JoinSet;
use tonic::{Status, body::Body, transport::Channel};
use tower::ServiceExt;

/// Calls in flight, which end when this is dropped.
pub struct UnfinishedCalls {
    count: usize,
    calls: JoinSet<()>,
    sent: Arc<AtomicUsize>,
}

impl UnfinishedCalls {
    /// Opens so many calls of this path. Each brings so many bytes of a message that has one more.
    pub fn open(
        channel: &Channel,
        path: &str,
        secret: Option<&str>,
        count: usize,
        bytes: u32,
    ) -> Self {
        let (mut calls, sent) = (JoinSet::new(), Arc::<AtomicUsize>::default());
        for _ in 0..count {
            let mut request = Request::post(path)
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            if let Some(secret) = secret {
                request = request.header("authorization", format!("Bearer {secret}"));
            }
            let request = request.body(message_without_end(bytes, sent.clone()));
            let (channel, request) = (channel.clone(), request.expect("a request"));
            calls.spawn(async move {
                let answer = channel.oneshot(request).await;
                drop(answer);
            });
        }
        Self { count, calls, sent }
    }

    /// Waits until each call has sent all that it brings, or is answered.
    pub async fn wait_until_sent(&mut self) {
        let mut answered = 0;
        eventually("all is sent", async || {
            while self.calls.try_join_next().is_some() {
                answered += 1;
            }
            self.sent.load(Relaxed) + answered >= self.count
        })
        .await;
    }
}

/// Counts in `sent` when the last of the bytes are asked for.
fn message_without_end(bytes: u32, sent: Arc<AtomicUsize>) -> Body {
    let prefix = [&[0][..], &(bytes + 1).to_be_bytes()].concat();
    let piece = Bytes::from(vec![b'a'; 16 * 1024]);
    let last = piece.slice(..bytes as usize % piece.len());
    let pieces = stream::iter([prefix.into()])
        .chain(stream::iter(vec![
            piece.clone();
            bytes as usize / piece.len()
        ]))
        .chain(stream::iter([last]));
    let end = stream::once(async move {
        sent.fetch_add(1, Relaxed);
        future::pending().await
    });
    let frames = pieces.chain(end);
    Body::new(StreamBody::new(
        frames.map(|bytes| Ok::<_, Status>(Frame::data(bytes))),
    ))
}
