//! A connection whose client takes nothing of what is written to it.
//!
//! Owns since when that is so, and how long it may be.
//! Must never count one whose client takes a byte now and then.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// The writes of one connection, and whether they are stalled.
pub(super) struct Writes {
    limit: Duration,
    end_of_stall: Option<Pin<Box<Sleep>>>,
}

impl Writes {
    /// `limit` is how long they may be stalled.
    pub(super) fn new(limit: Duration) -> Self {
        let end_of_stall = None;
        Self {
            limit,
            end_of_stall,
        }
    }

    /// Notes that the client has taken something.
    pub(super) fn go_on(&mut self) {
        self.end_of_stall = None;
    }

    /// Notes that the client takes nothing. Ready when it has done so for too long.
    pub(super) fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let end = self
            .end_of_stall
            .get_or_insert_with(|| Box::pin(sleep(self.limit)));
        ready!(end.as_mut().poll(context));
        let why = "the client takes nothing";
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}
