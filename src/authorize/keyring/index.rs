//! A hash table that leads from a digest to the number of its record. It uses open addressing with
//! linear probing.
//!
//! Promises that the record of every number that is found here has been filled.
//! Must never be more than half full, so that a look-up ends after a step or two.

use super::record::{lower_half, upper_half};
use crate::model::token::TokenDigest;
use std::{
    hint::black_box,
    ops::BitOr,
    sync::atomic::{AtomicU64, Ordering},
};

/// How many slots the first index has.
const FIRST_SLOTS: usize = 1024;

/// How many slots are fetched at once where many records are published: more than the processor fetches
/// at the same time, and so few that they are still in its first cache when they are used.
const FETCH_LEN: u32 = 64;

/// The slots, whose number is a power of two. An empty slot is 0. A used slot has the digest's tag
/// in its upper 32 bits, and the record's number plus one in its lower 32 bits.
pub(super) struct Index {
    slots: Box<[AtomicU64]>,
    mixer: Mixer,
}

/// The number to which the slot of a key leads that was forgotten. There is no such record.
const FORGOTTEN: u32 = u32::MAX - 1;

/// An index for more records would need more than 2^32 slots, and a tag has only 32 bits to choose
/// one.
pub(super) const MAX_RECORDS: usize = 1 << 31;

/// 32 bits of a digest, mixed. They choose its slot. A look-up compares them before it reads a record,
/// so it rarely reads the record of another key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u32);

impl Tag {
    fn of_slot(slot: u64) -> Self {
        Self(upper_half(slot))
    }
}

/// Mixes digests with secret random numbers. Digests of random tokens are spread evenly. But a role that
/// may insert rows into the store chooses their digests, and without the mixer it would choose their
/// slots.
///
/// This is the hash NH of UMAC (Black and others, 1999): for random keys, the sums of any two digests are
/// equal with a probability of at most 2 in 2^64. This holds for digests that an attacker chose, too. A tag is 32 bits of the sum's halves.
#[derive(Clone, Copy)]
struct Mixer([u64; 4]);

impl Mixer {
    fn random() -> Self {
        Self(std::array::from_fn(|_| rand::random()))
    }

    fn tag(self, digest: &TokenDigest) -> Tag {
        let (words, _) = digest.as_bytes().as_chunks::<8>();
        let keyed = |at: usize| {
            let word = u64::from_be_bytes(words[at]);
            u128::from(word.wrapping_add(self.0[at]))
        };
        let sum = (keyed(0) * keyed(1)).wrapping_add(keyed(2) * keyed(3));
        let sum = sum.to_be_bytes();
        let (halves, _) = sum.as_chunks::<8>();
        let [upper, lower] = [0, 1].map(|at| u64::from_be_bytes(halves[at]));
        Tag(upper_half(upper ^ lower))
    }
}

fn entry(tag: Tag, number: u32) -> u64 {
    u64::from(tag.0) << 32 | u64::from(number + 1)
}

fn number(entry: u64) -> u32 {
    lower_half(entry) - 1
}

impl Default for Index {
    fn default() -> Self {
        Self::with_mixer(FIRST_SLOTS, Mixer::random())
    }
}

impl Index {
    /// An index that leads to the records with the numbers from 1 to `len`. It has the size to which one
    /// would have grown that they were added to one by one. Of several records with the same digest it
    /// leads to the last: the numbers of the others are given too.
    pub(super) fn of(len: u32, digest: impl Fn(u32) -> TokenDigest) -> (Self, Vec<u32>) {
        let slots = (len as usize * 2).next_power_of_two().max(FIRST_SLOTS);
        let index = Self::with_mixer(slots, Mixer::random());
        let (mut tags, mut replaced) = (Vec::new(), Vec::new());
        for first in (1..=len).step_by(FETCH_LEN as usize) {
            let numbers = first..=len.min(first + (FETCH_LEN - 1));
            tags.clear();
            tags.extend(numbers.clone().map(|number| index.tag(&digest(number))));
            index.fetch(&tags);
            for (number, &tag) in numbers.zip(&tags) {
                let mut same = index.candidates(tag);
                match same.find(|&before| digest(before) == digest(number)) {
                    None => index.insert(tag, number),
                    Some(before) => {
                        index.replace(tag, before, number);
                        replaced.push(before);
                    }
                }
            }
        }
        (index, replaced)
    }

    /// Reads the slots that these tags choose, none of which depends on another, so that the processor
    /// fetches many of them at the same time.
    fn fetch(&self, tags: &[Tag]) {
        let slots = tags.iter().map(|&tag| &self.slots[self.home(tag)]);
        let read = slots.map(|slot| slot.load(Ordering::Relaxed));
        black_box(read.fold(0, BitOr::bitor));
    }

    fn with_mixer(count: usize, mixer: Mixer) -> Self {
        let slots = (0..count).map(|_| AtomicU64::new(0)).collect();
        Self { slots, mixer }
    }

    pub(super) fn tag(&self, digest: &TokenDigest) -> Tag {
        self.mixer.tag(digest)
    }

    /// How many records the index may lead to, which is half of its slots.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len() / 2
    }

    /// The numbers of the records whose digests have this tag. Usually there is one or none.
    pub(super) fn candidates(&self, tag: Tag) -> impl Iterator<Item = u32> {
        self.slots_from(tag)
            .map(|slot| slot.load(Ordering::Acquire))
            .take_while(|&slot| slot != 0)
            .filter(move |&slot| Tag::of_slot(slot) == tag)
            .map(number)
    }

    /// The number in the first slot that a look-up of this tag reads. It may be the number of another key.
    pub(super) fn first_number(&self, tag: Tag) -> Option<u32> {
        let slot = self.slots_from(tag).next()?.load(Ordering::Acquire);
        (slot != 0).then(|| number(slot))
    }

    /// Publishes a record, which must have been filled. Only one thread may write, and there must
    /// be room.
    pub(super) fn insert(&self, tag: Tag, number: u32) {
        self.put(entry(tag, number));
    }

    /// Publishes another record of a key instead of the one with the number `before`.
    pub(super) fn replace(&self, tag: Tag, before: u32, after: u32) {
        self.slots_from(tag)
            .find(|slot| slot.load(Ordering::Relaxed) == entry(tag, before))
            .expect("the record of a key that is held is in the index")
            .store(entry(tag, after), Ordering::Release);
    }

    /// Leads to no record any more where it led to the one with this number. The slot stays used, because
    /// a look-up ends at a slot that is not.
    pub(super) fn forget(&self, tag: Tag, number: u32) {
        self.replace(tag, number, FORGOTTEN);
    }

    /// An index of twice the size that leads to the same records.
    pub(super) fn doubled(&self) -> Self {
        let doubled = Self::with_mixer(self.slots.len() * 2, self.mixer);
        for slot in &self.slots {
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
        let (before, after) = self.slots.split_at(self.home(tag));
        after.iter().chain(before)
    }

    fn home(&self, tag: Tag) -> usize {
        upper_half(u64::from(tag.0) * self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_that_somebody_chose_do_not_share_a_slot() {
        let index = Index::with_mixer(1 << 16, Mixer(KEYS));
        for at in 0..8 {
            let digest = |number: u32| {
                let mut bytes = [0; 32];
                bytes[at * 4..at * 4 + 4].copy_from_slice(&number.to_le_bytes());
                TokenDigest::from_bytes(bytes)
            };
            let slots = (1..=1000).map(|number| index.tag(&digest(number)).0 >> 16);
            let slots: std::collections::HashSet<_> = slots.collect();
            assert!(slots.len() > 700, "{at}: {}", slots.len());
        }
    }

    /// Products alone would lose the upper bits of the words.
    #[test]
    fn digests_that_differ_in_the_upper_bits_of_their_words_do_not_share_a_tag() {
        const BITS: u32 = 4;
        let mixer = Mixer(KEYS);
        for shift in [0, 30, u64::BITS - BITS] {
            let digest = |number: u64| {
                let word = |at: u32| (number >> (BITS * at) & ((1 << BITS) - 1)) << shift;
                let words: Vec<u8> = (0..4).flat_map(|at| word(at).to_be_bytes()).collect();
                TokenDigest::from_bytes(words.try_into().expect("four words"))
            };
            let tags = (0..1 << (4 * BITS)).map(|number| mixer.tag(&digest(number)).0);
            let tags: std::collections::HashSet<_> = tags.collect();
            assert!(tags.len() > 65_000, "{shift}: {}", tags.len());
        }
    }

    const KEYS: [u64; 4] = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
    ];
}
