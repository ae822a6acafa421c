//! The limits on the message of a request: its size, and the time that it takes to come.
//!
//! Promises that a message which has come already costs no timer.

use super::{cancelled::cancelled, messages::PREFIX_SIZE};
use crate::{
    callers::{
        Caller,
        shares::{Share, Shares},
    },
    config::ClientLimits,
};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::{self, Sleep, sleep_until};
use tonic::Status;

/// The most that the message of a request may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::grpc) struct MessageLimits {
    /// In bytes.
    size: u32,
    /// The size of the largest message that is read without a share of large ones.
    without_share: u32,
    /// The flag that limits the size, if one can raise it, or why the size is not larger.
    setting: Option<&'static str>,
    /// From the call's headers.
    time: Duration,
    /// Whether the deadline of the caller is what limits the time.
    is_deadline: bool,
}

impl MessageLimits {
    pub(in crate::grpc) fn of(limits: &ClientLimits) -> Self {
        Self {
            size: limits.max_message_size,
            without_share: limits.max_message_size,
            setting: Some("--max-message-size"),
            time: limits.message_timeout,
            is_deadline: false,
        }
    }

    /// These, for messages of up to this size, which no setting raises.
    pub(in crate::grpc) fn with_size_of_at_most(self, size: u32) -> Self {
        if size > self.size {
            return self;
        }
        Self {
            size,
            without_share: size,
            setting: None,
            ..self
        }
    }

    /// These, for messages of up to this size, which no setting changes. The larger ones need a share.
    pub(super) fn with_large_size(self, size: u32) -> Self {
        Self {
            size: self.size.max(size),
            setting: None,
            ..self
        }
    }

    /// These, where a message above this size needs a share.
    pub(super) fn with_shares_above(self, size: u32) -> Self {
        let without_share = self.without_share.min(size);
        Self {
            without_share,
            ..self
        }
    }

    /// These, for a call that is answered after this time at the latest. A message that is late by then
    /// is its client's fault, and no delay of the service's.
    pub(super) fn before_deadline(self, answer_time: Option<Duration>) -> Self {
        match answer_time {
            Some(time) if time < self.time => Self {
                time,
                is_deadline: true,
                ..self
            },
            _ => self,
        }
    }
}

impl MessageLimits {
    pub(in crate::grpc) fn size(&self) -> u32 {
        self.size
    }

    /// A message of a stream has begun, and its rest does not come.
    pub(in crate::grpc) fn rest_too_late(&self) -> Status {
        Status::cancelled(format!(
            "the rest of a message did not come within {:?} of its beginning (--message-timeout): send \
             each message whole",
            self.time
        ))
    }

    /// The most bytes that a message takes on its way.
    pub(super) fn whole_message(&self) -> usize {
        self.size.saturating_add(PREFIX_SIZE) as usize
    }

    pub(in crate::grpc) fn too_large(&self, size: u32) -> Status {
        let Self {
            size: limit,
            setting,
            ..
        } = self;
        let setting = setting.map_or(String::new(), |flag| format!(" ({flag})"));
        Status::resource_exhausted(format!(
            "the message takes {size} bytes, and the limit is {limit}{setting}: send less"
        ))
    }

    /// Whether a message of this size is read only with a share of large ones.
    pub(super) fn needs_share(&self, size: u32) -> bool {
        size > self.without_share
    }

    pub(super) fn no_share(&self, size: u32) -> Status {
        Status::resource_exhausted(format!(
            "the message takes {size} bytes, and the limit is {} while as many large messages are read as may be at \
             once, of this caller or of all: send less, or try again in a moment",
            self.without_share
        ))
    }

    pub(super) fn too_late(&self) -> Status {
        let end = if self.is_deadline {
            "before the call's deadline".to_owned()
        } else {
            format!(
                "within {:?} of the call's headers (--message-timeout)",
                self.time
            )
        };
        cancelled(format!(
            "the message and its end did not come {end}, and a call without it would be in flight \
             forever: send the whole message with the headers, and end the request"
        ))
    }
}

/// The share of large messages that a caller may take for its call.
pub(in crate::grpc) enum LargeMessage {
    Possible {
        shares: Arc<Shares>,
        caller: Arc<Caller>,
    },
    Taken(#[expect(dead_code, reason = "it is held")] Share),
}

impl LargeMessage {
    /// Takes so many bytes, unless they are taken. Returns false if there are not as many left.
    pub(super) fn take(&mut self, bytes: u32) -> bool {
        let Self::Possible { shares, caller } = self else {
            return true;
        };
        let share = shares.take_for(caller, bytes as usize);
        share.map(|share| *self = Self::Taken(share)).is_some()
    }
}

/// How long a service waits for a message.
///
/// A message nearly always comes with its headers. So a timer, which costs an allocation, is made
/// only when a service has to wait.
pub(in crate::grpc) struct Patience {
    end: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// The patience with a call whose headers came at this time.
    pub(in crate::grpc) fn of(limits: &MessageLimits, began: Instant) -> Self {
        Self {
            end: began + limits.time,
            timer: None,
        }
    }

    /// Ready when it is over.
    ///
    /// The clock decides, and the timer only wakes. `Deadline` has a timer for the same instant. When
    /// that one ends, this is over too, whichever of the two the runtime ends first.
    pub(in crate::grpc) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if time::Instant::now() >= self.end.into() {
            return Poll::Ready(());
        }
        let end = self.end.into();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        timer.as_mut().poll(context)
    }
}
