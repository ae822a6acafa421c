//! The histories of a store: a restore that loses writes ends one and begins another.
//!
//! In one history, a revision is given to one write. After a restore, revisions that were lost are given once more, so
//! only a history and a revision together name a write.

use super::time::Timestamp;
use std::fmt;
use uuid::Uuid;

/// Names one history, by 16 hexadecimal digits. They are random, but for the first history of a store: it has the first
/// 16 digits of the store's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryId(u64);

impl HistoryId {
    /// The one whose id stands in the first half of this UUID, as it does in the id of each of its writes.
    #[must_use]
    pub fn from_first_half(of: Uuid) -> Self {
        Self(of.as_u64_pair().0)
    }

    /// Reads what [`Display`](fmt::Display) has written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok();
        number.filter(|_| is_hex).map(Self)
    }
}

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where a history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Its name.
    pub id: HistoryId,
    /// The one that it goes on from. None: nothing was written before it.
    pub parent: Option<HistoryId>,
    /// The last revision that it has from that one, or 0.
    pub after: i64,
    /// If a replay has begun it, to write again what was lost: when the last write was that it read of. Its writes
    /// repeat others, up to that time.
    pub replayed_until: Option<Timestamp>,
}

impl History {
    /// All histories of a store, in order, by where each begins. One in which nothing was written is nobody's parent.
    #[must_use]
    pub fn chain(begun: &[(HistoryId, i64, Option<Timestamp>)]) -> Vec<Self> {
        let with_parent = |(place, &(id, after, replayed_until)): (usize, _)| {
            let mut before = begun[..place].iter().rev();
            let parent = before.find(|(_, of_other, _)| *of_other < after);
            Self {
                id,
                parent: parent.map(|(id, ..)| *id),
                after,
                replayed_until,
            }
        };
        begun.iter().enumerate().map(with_parent).collect()
    }

    /// Of all histories of a store, in order, the one to which the write with this revision belongs.
    #[must_use]
    pub fn of(all: &[Self], revision: i64) -> Option<Self> {
        let mut begun = all.iter().filter(|history| history.after < revision);
        begun.next_back().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = HistoryId::from_first_half(Uuid::from_u128(0x00f3 << 112 | 7));
        assert_eq!(id.to_string(), "00f3000000000000");
        assert_eq!(HistoryId::parse("00f3000000000000"), Some(id));
        for text in [
            "",
            "+0f3000000000000",
            "f3",
            "00f30000000000000",
            "00f300000000000g",
        ] {
            assert_eq!(HistoryId::parse(text), None, "{text}");
        }
    }
}
