//! Owns the way from a digest to the number of its record: open addressing, linear probing.
//! Promises that a number found here leads to a record that is wholly written.
//! Must never be more than half full, so that a look-up ends after a step or two.

use super::record::{lower_half, upper_half};
use crate::model::token::TokenDigest;
use std::sync::atomic::{AtomicU64, Ordering};

/// A power of two of slots. An empty slot is 0; a taken one holds the digest's tag in its upper
/// and the record's number plus one in its lower 32 bits.
pub(super) struct Index(Box<[AtomicU64]>);

/// 2^31: with the index at most half full, its 2^32 slots can be told apart by the tag's 32 bits.
pub(super) const MAX_RECORDS: usize = 1 << 31;

/// The digest's first 4 bytes: they choose a slot and spare most look-ups of another's record.
/// Digests of tokens that were drawn at random are spread evenly, so no further hash is needed;
/// nobody can make the table hold digests of their choosing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u32);

impl Tag {
    pub(super) fn of(digest: &TokenDigest) -> Self {
        let head = digest.as_bytes().first_chunk();
        Self(u32::from_be_bytes(*head.expect("32 bytes hold 4")))
    }

    fn of_slot(slot: u64) -> Self {
        Self(upper_half(slot))
    }
}

impl Index {
    pub(super) fn with_slots(count: usize) -> Self {
        assert!(count.is_power_of_two() && count >= 2);
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    /// How many records it may point to: half its slots.
    pub(super) fn capacity(&self) -> usize {
        self.0.len() / 2
    }

    /// The numbers of the records whose digests may have this tag; few, and usually one or none.
    pub(super) fn candidates(&self, tag: Tag) -> impl Iterator<Item = u32> {
        self.slots_from(tag)
            .map(|slot| slot.load(Ordering::Acquire))
            .take_while(|&slot| slot != 0)
            .filter(move |&slot| Tag::of_slot(slot) == tag)
            .map(|slot| lower_half(slot) - 1)
    }

    /// Publishes a record that is wholly written. One writer at a time; there must be room.
    pub(super) fn insert(&self, tag: Tag, number: u32) {
        self.put(u64::from(tag.0) << 32 | u64::from(number + 1));
    }

    /// An index of twice the size that points to the same records.
    pub(super) fn doubled(&self) -> Self {
        let doubled = Self::with_slots(self.0.len() * 2);
        for slot in &self.0 {
            match slot.load(Ordering::Relaxed) {
                0 => {}
                taken => doubled.put(taken),
            }
        }
        doubled
    }

    fn put(&self, taken: u64) {
        self.slots_from(Tag::of_slot(taken))
            .find(|slot| slot.load(Ordering::Relaxed) == 0)
            .expect("an index is never more than half full")
            .store(taken, Ordering::Release);
    }

    /// Every slot once, beginning at the tag's own.
    fn slots_from(&self, tag: Tag) -> impl Iterator<Item = &AtomicU64> {
        let home = upper_half(u64::from(tag.0) * self.0.len() as u64);
        let (before, after) = self.0.split_at(home as usize);
        after.iter().chain(before)
    }
}
