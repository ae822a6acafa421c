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

/// A client is slow if it takes fewer frames than this in the time of one sample. Eight frames of 12 KiB in a second
/// are 96 KiB. For a client that takes a little now and then, as much waits all the time as for one that takes nothing.
const LEAST_FRAMES: u64 = 8;

/// Whether HTTP/2 still has a frame of the answer.
#[derive(Default)]
pub(super) struct Unwritten {
    is_some: AtomicBool,
    /// How many frames it has had.
    begun: AtomicU64,
    /// How many times everything that had come was answered.
    caught_up: AtomicU64,
    waker: AtomicWaker,
}

/// How far an answer has come that has an unwritten frame.
struct Progress {
    begun: u64,
    caught_up: u64,
}

impl Unwritten {
    /// The bytes of a frame, which are unwritten until HTTP/2 drops them.
    pub(super) fn begin(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.begun.fetch_add(1, Relaxed);
        self.is_some.store(true, Release);
        let unwritten = self.clone();
        Bytes::from_owner(UnwrittenFrame { bytes, unwritten })
    }

    /// Notes that all that has come is answered, in frames that have begun or are about to.
    pub(super) fn catch_up(&self) {
        self.caught_up.fetch_add(1, Relaxed);
    }

    /// Waits until the client is slow for this long, or for up to twice this long.
    pub(super) async fn slow(&self, time: Duration) {
        while !self.is_slow_for(time).await {}
    }

    /// Waits until the client is not slow for this long.
    pub(super) async fn not_slow(&self, time: Duration) {
        while self.is_slow_for(time).await {}
    }

    /// Looks for this long whether answers wait all the time, and few of them are taken.
    async fn is_slow_for(&self, time: Duration) -> bool {
        let before = self.progress();
        sleep(time).await;
        let (Some(before), Some(now)) = (before, self.progress()) else {
            return false;
        };
        now.caught_up == before.caught_up && now.begun - before.begun < LEAST_FRAMES
    }

    fn progress(&self) -> Option<Progress> {
        self.is_some.load(Acquire).then(|| Progress {
            begun: self.begun.load(Relaxed),
            caught_up: self.caught_up.load(Relaxed),
        })
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
