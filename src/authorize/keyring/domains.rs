//! The domains of all accounts: a hash table from an account and a name to what is verified by it.
//! It uses open addressing with linear probing.
//!
//! Promises that a look-up reads one cache line as a rule, and sees the whole old state or the whole
//! new state of a domain.
//! Must never be more than three quarters full, so that a look-up ends after a few steps.

use super::record::upper_half;
use crate::model::verified_domain::Coverage;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{
    hash::Hasher,
    num::NonZeroU32,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// How many slots the first table has. They take 16 KiB.
const FIRST_SLOTS: usize = 1024;

/// The table. Domains are added and change, but are never taken out: one that was removed may come
/// back.
pub(super) struct Domains {
    slots: Box<[Slot]>,
    /// With a key of this process, so that nobody can choose names whose fingerprints are alike.
    hasher: SipHasher13,
}

/// A domain of an account, in 16 bytes. Two domains are the same if their fingerprints are: 94 bits of
/// a keyed hash of the account and the name. Nobody who does not know the key can do better than to
/// guess, at one chance in 2^94.
///
/// A reader first reads `entry`, with `Acquire`. It is 0 in an empty slot. The writer fills
/// `fingerprint` before it stores `entry` with `Release`, and never changes it afterwards.
#[derive(Default)]
struct Slot {
    /// The first 64 bits of the fingerprint, which also choose the slot.
    fingerprint: AtomicU64,
    /// The name's number, the other 30 bits of the fingerprint, and the coverage. They are one word,
    /// so that a change of the coverage is one store.
    entry: AtomicU64,
}

const COVERAGE_MASK: u64 = 0b11;
const NUMBER_SHIFT: u32 = 32;
const TAIL_MASK: u64 = (1 << NUMBER_SHIFT) - 1 - COVERAGE_MASK;

#[derive(Clone, Copy)]
struct Fingerprint {
    head: u64,
    /// 30 bits, where they stand in an entry.
    tail: u64,
}

/// A domain that was found.
pub(super) struct Entry<'a> {
    slot: &'a Slot,
    entry: u64,
}

impl Default for Domains {
    fn default() -> Self {
        Self {
            slots: empty(FIRST_SLOTS),
            hasher: SipHasher13::new_with_keys(rand::random(), rand::random()),
        }
    }
}

impl Domains {
    /// The domain of an account, which may have been removed.
    pub(super) fn find(&self, account: NonZeroU32, name: &str) -> Option<Entry<'_>> {
        let wanted = self.fingerprint(account, name);
        for slot in self.slots_from(wanted) {
            let entry = slot.entry.load(Acquire);
            if entry == 0 {
                return None;
            }
            if wanted.is_of(slot, entry) {
                return Some(Entry { slot, entry });
            }
        }
        None
    }

    /// Adds a domain that the table does not have. Only one thread may write, and there must be room.
    pub(super) fn insert(
        &self,
        account: NonZeroU32,
        name: &str,
        number: NonZeroU32,
        coverage: Coverage,
    ) {
        let fingerprint = self.fingerprint(account, name);
        let number = u64::from(number.get()) << NUMBER_SHIFT;
        self.put(fingerprint, number | fingerprint.tail | code(coverage));
    }

    /// A larger table with the same domains, if this one has no room for one more than `len`.
    pub(super) fn with_room(&self, len: usize) -> Option<Self> {
        (len + 1 > self.slots.len() / 4 * 3).then(|| self.grown())
    }

    /// How many domains are verified. The removed ones do not count.
    pub(super) fn verified_count(&self) -> usize {
        let entries = self.slots.iter().map(|slot| slot.entry.load(Relaxed));
        entries.filter(|entry| entry & COVERAGE_MASK != 0).count()
    }

    /// Half as large again. So the slots take from 21 to 32 bytes a domain.
    fn grown(&self) -> Self {
        let grown = Self {
            slots: empty(self.slots.len() / 2 * 3),
            hasher: self.hasher,
        };
        for slot in &self.slots {
            let entry = slot.entry.load(Relaxed);
            if entry != 0 {
                grown.put(Fingerprint::of(slot, entry), entry);
            }
        }
        grown
    }

    fn put(&self, fingerprint: Fingerprint, entry: u64) {
        let slot = self
            .slots_from(fingerprint)
            .find(|slot| slot.entry.load(Relaxed) == 0)
            .expect("a table is never more than three quarters full");
        slot.fingerprint.store(fingerprint.head, Relaxed);
        slot.entry.store(entry, Release);
    }

    fn fingerprint(&self, account: NonZeroU32, name: &str) -> Fingerprint {
        let mut hasher = self.hasher;
        hasher.write_u32(account.get());
        hasher.write(name.as_bytes());
        let hash = hasher.finish128();
        Fingerprint {
            head: hash.h1,
            tail: tail(hash.h2),
        }
    }

    /// Every slot once. The first is the one that the fingerprint chooses.
    fn slots_from(&self, fingerprint: Fingerprint) -> impl Iterator<Item = &Slot> {
        let home = (u128::from(fingerprint.head) * self.slots.len() as u128) >> 64;
        let home = usize::try_from(home).expect("it is less than the number of slots");
        let (before, after) = self.slots.split_at(home);
        after.iter().chain(before)
    }
}

impl Entry<'_> {
    /// The number of its name.
    pub(super) fn number(&self) -> NonZeroU32 {
        NonZeroU32::new(upper_half(self.entry)).expect("an entry in use has a name")
    }

    pub(super) fn coverage(&self) -> Coverage {
        match self.entry & COVERAGE_MASK {
            0 => Coverage::Removed,
            1 => Coverage::Domain,
            _ => Coverage::DomainAndSubdomains,
        }
    }

    /// Changes what is verified, for every look-up that begins after this has returned. Only the
    /// writer may call this.
    pub(super) fn set_coverage(&self, coverage: Coverage) {
        let entry = self.entry & !COVERAGE_MASK | code(coverage);
        self.slot.entry.store(entry, Release);
    }
}

impl Fingerprint {
    fn of(slot: &Slot, entry: u64) -> Self {
        Self {
            head: slot.fingerprint.load(Relaxed),
            tail: tail(entry),
        }
    }

    fn is_of(self, slot: &Slot, entry: u64) -> bool {
        let held = Self::of(slot, entry);
        self.head == held.head && self.tail == held.tail
    }
}

fn tail(word: u64) -> u64 {
    word & TAIL_MASK
}

fn code(coverage: Coverage) -> u64 {
    match coverage {
        Coverage::Removed => 0,
        Coverage::Domain => 1,
        Coverage::DomainAndSubdomains => 2,
    }
}

fn empty(count: usize) -> Box<[Slot]> {
    (0..count).map(|_| Slot::default()).collect()
}
