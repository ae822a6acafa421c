//! The messages in the body of a request, as their bytes pass by.
//!
//! Owns how "gRPC over HTTP2" frames a message: five bytes stand before it. One says whether it is
//! compressed, and four, the first the highest, how many bytes it has.
//! Promises to find a message that is too large by its length alone, before its bytes come.
//! Must never keep a message, but for a method whose service does not check its messages itself.

use super::unreadable::Unreadable;
use crate::grpc::methods::IsMessage;

/// What is known of a body's messages from the bytes that have passed.
pub(super) struct Messages {
    /// In bytes.
    limit: u32,
    check: Option<Check>,
    pub(super) none_began: bool,
    /// All bytes of the first message have passed.
    pub(super) one_came: bool,
    /// A byte has passed that stands behind the first message.
    pub(super) more_than_one: bool,
    /// How many of the five bytes have passed.
    prefix_bytes: u32,
    /// As far as its bytes have passed.
    length: u32,
    /// How many bytes of the message are still to pass.
    message_left: usize,
}

/// Checks each message for a service that would not blame its client for an invalid one.
struct Check {
    is_message: IsMessage,
    /// The bytes of the message that have passed.
    bytes: Vec<u8>,
}

/// Why a message is not read to its end.
#[derive(Debug)]
pub(super) enum Refused {
    TooLarge { size: u32 },
    Unreadable(Unreadable),
}

/// How many bytes stand before each message.
pub(in crate::grpc) const PREFIX_SIZE: u32 = 5;

impl Messages {
    pub(super) fn limited_to(limit: u32, is_message: Option<IsMessage>) -> Self {
        let bytes = Vec::new();
        Self {
            limit,
            check: is_message.map(|is_message| Check { is_message, bytes }),
            none_began: true,
            one_came: false,
            more_than_one: false,
            prefix_bytes: 0,
            length: 0,
            message_left: 0,
        }
    }

    /// Whether some bytes of a message have passed, and not all.
    pub(super) fn is_within_one(&self) -> bool {
        self.prefix_bytes > 0 || self.message_left > 0
    }

    /// How many bytes the last message has, once that is known.
    pub(super) fn known_size(&self) -> Option<u32> {
        (self.prefix_bytes == 0).then_some(self.length)
    }

    /// How many bytes the last message has, as far as they are known.
    pub(super) fn message_size(&self) -> usize {
        self.length as usize
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        self.none_began &= bytes.is_empty();
        loop {
            let (passing, behind) = bytes.split_at(self.message_left.min(bytes.len()));
            self.pass(passing)?;
            let [next, rest @ ..] = behind else {
                return Ok(());
            };
            bytes = rest;
            // No compression is offered, so a request that names one does not come so far.
            if self.prefix_bytes == 0 && *next != 0 {
                let why = if *next == 1 {
                    Unreadable::Compressed
                } else {
                    Unreadable::NoFrame
                };
                return Err(Refused::Unreadable(why));
            }
            self.more_than_one |= self.one_came;
            // The first of the five is shifted out again.
            self.length = self.length << 8 | u32::from(*next);
            self.prefix_bytes += 1;
            if self.prefix_bytes == PREFIX_SIZE {
                if self.length > self.limit {
                    return Err(Refused::TooLarge { size: self.length });
                }
                self.prefix_bytes = 0;
                self.message_left = self.length as usize;
                self.one_came |= self.length == 0;
            }
        }
    }

    /// Passes bytes of one message.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.message_left -= bytes.len();
        let is_whole = self.message_left == 0;
        self.one_came |= is_whole;
        if let Some(check) = &mut self.check {
            check.bytes.extend_from_slice(bytes);
            if is_whole && !(check.is_message)(&std::mem::take(&mut check.bytes)) {
                return Err(Refused::Unreadable(Unreadable::NoProtobuf));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(length: usize) -> Vec<u8> {
        let prefix = u32::try_from(length).expect("short").to_be_bytes();
        [&[0][..], &prefix, &vec![7; length]].concat()
    }

    proptest! {
        #[test]
        fn a_message_over_the_limit_is_found_wherever_its_bytes_are_split(
            lengths in prop::collection::vec(0..20usize, 0..5),
            splits in prop::collection::vec(1..9usize, 1..9),
        ) {
            let limit = 15;
            let bytes: Vec<_> = lengths.iter().flat_map(|length| message(*length)).collect();
            let mut messages = Messages::limited_to(limit, None);
            let (mut rest, mut result) = (&bytes[..], Ok(()));
            for split in splits.iter().cycle() {
                let (now, later) = rest.split_at((*split).min(rest.len()));
                result = result.and_then(|()| messages.read(now));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let excess = lengths.iter().find(|length| **length > limit as usize);
            match (result, excess) {
                (Ok(()), None) => {
                    prop_assert_eq!(messages.none_began, lengths.is_empty());
                    prop_assert_eq!(messages.one_came, !lengths.is_empty());
                }
                (Err(Refused::TooLarge { size }), Some(excess)) => {
                    prop_assert_eq!(size as usize, *excess);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
