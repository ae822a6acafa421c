//! A hash table that leads from a digest to the number of its record. It uses open addressing with
//! linear probing.
//!
//! Promises that the record of every number that is found here has been filled.
//! Must never be more than half full, so that a look-up ends after a step or two.

use super::record::{lower_half, upper_half};
use crate::model::token::TokenDigest;
use std::sync::atomic::{AtomicU64, Ordering};

/// The slots, whose number is a power of two. An empty slot is 0. A used slot has the digest's tag
/// in its upper 32 bits, and the record's number plus one in its lower 32 bits.
pub(super) struct Index(Box<[AtomicU64]>);

/// An index for more records would need more than 2^32 slots, and a tag has only 32 bits to choose
/// one.
pub(super) const MAX_RECORDS: usize = 1 << 31;

/// The first 4 bytes of a digest. They choose its slot. A look-up compares them before it reads a
/// record, so it rarely reads the record of another key.
///
/// No further hash is needed. Digests of random tokens are spread evenly, and nobody can choose the
/// digests in the table.
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

    /// How many records the index may lead to, which is half of its slots.
    pub(super) fn capacity(&self) -> usize {
        self.0.len() / 2
    }

    /// The numbers of the records whose digests have this tag. Usually there is one or none.
    pub(super) fn candidates(&self, tag: Tag) -> impl Iterator<Item = u32> {
        self.slots_from(tag)
            .map(|slot| slot.load(Ordering::Acquire))
            .take_while(|&slot| slot != 0)
            .filter(move |&slot| Tag::of_slot(slot) == tag)
            .map(|slot| lower_half(slot) - 1)
    }

    /// Publishes a record, which must have been filled. Only one thread may write, and there must
    /// be room.
    pub(super) fn insert(&self, tag: Tag, number: u32) {
        self.put(u64::from(tag.0) << 32 | u64::from(number + 1));
    }

    /// An index of twice the size that leads to the same records.
    pub(super) fn doubled(&self) -> Self {
        let doubled = Self::with_slots(self.0.len() * 2);
        for slot in &self.0 {
            match slot.load(Ordering::Relaxed) {
                0 => {}
                used => doubled.put(used),
            }
        }
        doubled
    }

    fn put(&self, used: u64) {
        self.slots_from(Tag::of_slot(used))
            .find(|slot| slot.load(Ordering::Relaxed) == 0)
            .expect("an index is never more than half full")
            // Whoever reads the number with `Acquire` then sees the whole record.
            .store(used, Ordering::Release);
    }

    /// Every slot once. The first is the one that the tag chooses.
    fn slots_from(&self, tag: Tag) -> impl Iterator<Item = &AtomicU64> {
        let home = upper_half(u64::from(tag.0) * self.0.len() as u64);
        let (before, after) = self.0.split_at(home as usize);
        after.iter().chain(before)
    }
}
