//! What HTTP/2 holds of the answer to a stream.
//!
//! Promises that an answer which asks here gives HTTP/2 one frame at a time. Otherwise HTTP/2 takes up to
//! 400 KiB for a client that does not read.

use bytes::Bytes;
use futures::task::AtomicWaker;
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::sleep;

/// One of an answer's frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameNumber(u64);

/// Whether HTTP/2 still has a frame of the answer.
#[derive(Default)]
pub(super) struct Unwritten {
    is_some: AtomicBool,
    /// How many frames it has had.
    begun: AtomicU64,
    waker: AtomicWaker,
}

impl Unwritten {
    /// The bytes of a frame, which are unwritten until HTTP/2 drops them.
    pub(super) fn begin(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.begun.fetch_add(1, Relaxed);
        self.is_some.store(true, Release);
        let unwritten = self.clone();
        Bytes::from_owner(UnwrittenFrame { bytes, unwritten })
    }

    /// Waits until one frame is unwritten for this long, or for up to twice this long.
    pub(super) async fn stalled(&self, time: Duration) -> FrameNumber {
        let mut before = None;
        loop {
            sleep(time).await;
            let now = self.frame();
            match now {
                Some(frame) if now == before => return frame,
                _ => before = now,
            }
        }
    }

    /// Waits until this frame is written, and up to this long after that.
    pub(super) async fn written(&self, frame: FrameNumber, time: Duration) {
        while self.frame() == Some(frame) {
            sleep(time).await;
        }
    }

    fn frame(&self) -> Option<FrameNumber> {
        let is_some = self.is_some.load(Acquire);
        is_some.then(|| FrameNumber(self.begun.load(Relaxed)))
    }

    /// Ready when it has none.
    pub(super) fn poll_none(&self, context: &Context<'_>) -> Poll<()> {
        // Before it is asked, so that no end is missed.
        self.waker.register(context.waker());
        if self.is_some.load(Acquire) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// A frame, which is written when this is dropped.
struct UnwrittenFrame {
    bytes: Bytes,
    unwritten: Arc<Unwritten>,
}

impl AsRef<[u8]> for UnwrittenFrame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for UnwrittenFrame {
    fn drop(&mut self) {
        self.unwritten.is_some.store(false, Release);
        self.unwritten.waker.wake();
    }
}
