//! The domains of all accounts: a hash table from an account and a name to what is verified by it.
//! It uses open addressing with linear probing.
//!
//! Promises that a look-up reads one cache line as a rule, that this line can be fetched before the
//! account is known, and that the whole old state or the whole new state of a domain is seen.
//! Must never be more than three quarters full, so that a look-up ends after a few steps.

use super::record::{lower_half, upper_half};
use crate::model::verified_domain::Coverage;
use siphasher::sip::SipHasher13;
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
///
/// A domain has one of two places. For the first account that has a name, the name alone chooses the
/// place, so that a look-up can begin before the account is known. For every other account with this name,
/// the account chooses too, because all of them would fill a long row at one place.
pub(super) struct Domains {
    slots: Box<[Slot]>,
    /// With a key of this process, so that nobody can choose names whose hashes are alike.
    hasher: SipHasher13,
}

/// A domain of an account, in 16 bytes.
///
/// A reader first reads `state`, with `Acquire`. It is 0 in an empty slot. The writer fills `owner`
/// before it stores `state` with `Release`, and never changes it afterwards.
#[derive(Default)]
struct Slot {
    /// The account's number in the upper half, and the name's in the lower half.
    owner: AtomicU64,
    /// The name's hash and the coverage. They are one word, so that a change of the coverage is one
    /// store.
    state: AtomicU64,
}

const COVERAGE_MASK: u64 = 0b11;

/// Stands for a name: 62 bits of a keyed hash, where they stand in a slot's state. Two domains are the
/// same if their accounts and these bits are. Nobody who does not know the key can do better than to
/// guess, at one chance in 2^62 for each domain of his own account.
#[derive(Clone, Copy, PartialEq, Eq)]
struct NameHash(u64);

/// A name that is looked for. Its slot is being fetched into the processor's caches.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    name: NameHash,
    first: Entry<'a>,
}

/// What a table is to hold of a domain.
pub(super) struct Prepared {
    owner: u64,
    state: u64,
}

/// A slot as it was when it was read.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    slot: &'a Slot,
    state: u64,
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
    /// Begins to look for a name.
    pub(super) fn seek(&self, name: &str) -> Sought<'_> {
        let name = self.hash(name);
        let first = self.entries_from(name.0).next();
        let first = first.expect("a table has slots");
        Sought { name, first }
    }

    /// The domain of an account, which may have been removed.
    pub(super) fn find<'a>(
        &'a self,
        account: NonZeroU32,
        sought: &Sought<'a>,
    ) -> Option<Entry<'a>> {
        if sought.first.is_of(account, sought.name) {
            return Some(sought.first);
        }
        self.find_hash(account, sought.name)
    }

    fn find_hash(&self, account: NonZeroU32, name: NameHash) -> Option<Entry<'_>> {
        let find = |home| {
            let mut used = self.used_from(home);
            used.find(|entry| entry.is_of(account, name))
        };
        find(name.0).or_else(|| find(self.second_home(account, name)))
    }

    /// Every domain, with its account's number, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NonZeroU32, Entry<'_>)> {
        let entries = self.slots.iter().map(Slot::read);
        let used = entries.filter(Entry::is_used);
        used.map(|entry| (entry.account(), entry))
    }

    /// Adds a domain that the table does not have. Only one thread may write, and there must be room.
    pub(super) fn insert(
        &self,
        account: NonZeroU32,
        name: &str,
        number: NonZeroU32,
        coverage: Coverage,
    ) {
        let Prepared { owner, state } = self.prepare(account, name, number, coverage);
        self.put(owner, state);
    }

    /// What [`Self::filled`] takes of a domain.
    pub(super) fn prepare(
        &self,
        account: NonZeroU32,
        name: &str,
        number: NonZeroU32,
        coverage: Coverage,
    ) -> Prepared {
        Prepared {
            owner: u64::from(account.get()) << 32 | u64::from(number.get()),
            state: self.hash(name).0 | code(coverage),
        }
    }

    /// A table of the size for these domains, which were prepared by this one, and how many there are. Of
    /// several that are the same, the last counts.
    pub(super) fn filled(&self, domains: &[Prepared]) -> (Self, usize) {
        let filled = Self {
            slots: empty((domains.len() / 5 * 8).max(FIRST_SLOTS)),
            hasher: self.hasher,
        };
        let mut len = 0;
        for &Prepared { owner, state } in domains {
            if let Some(held) = filled.find_hash(account_of(owner), NameHash::of(state)) {
                held.slot.state.store(state, Release);
            } else {
                filled.put(owner, state);
                len += 1;
            }
        }
        (filled, len)
    }

    /// A larger table with the same domains, if this one has no room for one more than `len`.
    pub(super) fn with_room(&self, len: usize) -> Option<Self> {
        (len + 1 > self.slots.len() / 4 * 3).then(|| self.grown())
    }

    /// Half as large again. So the slots take from 21 to 32 bytes a domain.
    fn grown(&self) -> Self {
        let grown = Self {
            slots: empty(self.slots.len() / 2 * 3),
            hasher: self.hasher,
        };
        for slot in &self.slots {
            let Entry { slot, state } = slot.read();
            if state != 0 {
                grown.put(slot.owner.load(Relaxed), state);
            }
        }
        grown
    }

    fn put(&self, owner: u64, state: u64) {
        let name = NameHash::of(state);
        let has_name = |entry: Entry<'_>| NameHash::of(entry.state) == name;
        let home = if self.used_from(name.0).any(has_name) {
            self.second_home(account_of(owner), name)
        } else {
            name.0
        };
        let slot = self
            .entries_from(home)
            .find(|entry| !entry.is_used())
            .expect("a table is never more than three quarters full")
            .slot;
        slot.owner.store(owner, Relaxed);
        slot.state.store(state, Release);
    }

    fn hash(&self, name: &str) -> NameHash {
        NameHash::of(self.hasher.hash(name.as_bytes()))
    }

    fn second_home(&self, account: NonZeroU32, name: NameHash) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u32(account.get());
        hasher.write_u64(name.0);
        hasher.finish()
    }

    /// The slots from a home on, up to the first empty one.
    fn used_from(&self, home: u64) -> impl Iterator<Item = Entry<'_>> {
        self.entries_from(home).take_while(Entry::is_used)
    }

    /// Every slot once. A home is a hash, and its part of 2^64 chooses the first slot.
    fn entries_from(&self, home: u64) -> impl Iterator<Item = Entry<'_>> {
        let home = (u128::from(home) * self.slots.len() as u128) >> 64;
        let home = usize::try_from(home).expect("it is less than the number of slots");
        let (before, after) = self.slots.split_at(home);
        after.iter().chain(before).map(Slot::read)
    }
}

impl Slot {
    fn read(&self) -> Entry<'_> {
        Entry {
            slot: self,
            state: self.state.load(Acquire),
        }
    }
}

impl Entry<'_> {
    /// The number of its name.
    pub(super) fn number(&self) -> NonZeroU32 {
        NonZeroU32::new(lower_half(self.slot.owner.load(Relaxed))).expect(IN_USE)
    }

    pub(super) fn coverage(&self) -> Coverage {
        match self.state & COVERAGE_MASK {
            1 => Coverage::Removed,
            2 => Coverage::Domain,
            _ => Coverage::DomainAndSubdomains,
        }
    }

    /// Changes what is verified, for every look-up that begins after this has returned. Only the
    /// writer may call this.
    pub(super) fn set_coverage(&self, coverage: Coverage) {
        let state = NameHash::of(self.state).0 | code(coverage);
        self.slot.state.store(state, Release);
    }

    fn account(&self) -> NonZeroU32 {
        account_of(self.slot.owner.load(Relaxed))
    }

    fn is_used(&self) -> bool {
        self.state != 0
    }

    fn is_of(&self, account: NonZeroU32, name: NameHash) -> bool {
        self.is_used() && NameHash::of(self.state) == name && self.account() == account
    }
}

const IN_USE: &str = "a slot in use has an account and a name";

fn account_of(owner: u64) -> NonZeroU32 {
    NonZeroU32::new(upper_half(owner)).expect(IN_USE)
}

impl NameHash {
    fn of(word: u64) -> Self {
        Self(word & !COVERAGE_MASK)
    }
}

/// Never 0, which is an empty slot.
fn code(coverage: Coverage) -> u64 {
    match coverage {
        Coverage::Removed => 1,
        Coverage::Domain => 2,
        Coverage::DomainAndSubdomains => 3,
    }
}

fn empty(count: usize) -> Box<[Slot]> {
    (0..count).map(|_| Slot::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not 0")
    }

    fn filled(domains: impl Iterator<Item = (u32, u32)>) -> Domains {
        let mut table = Domains::default();
        for (len, (account, name)) in domains.enumerate() {
            table = table.with_room(len).unwrap_or(table);
            let text = name.to_string();
            table.insert(number(account), &text, number(name), Coverage::Domain);
        }
        table
    }

    fn name_of(table: &Domains, account: u32, name: u32) -> Option<u32> {
        let found = table.find(number(account), &table.seek(&name.to_string()));
        found.map(|entry| entry.number().get())
    }

    #[test]
    fn a_name_that_many_accounts_have_is_found_for_each_of_them_and_for_nobody_else() {
        const ACCOUNTS: u32 = 20_000;
        let table = filled(
            (1..=ACCOUNTS)
                .flat_map(|account| [(account, 1), (account, account)])
                .skip(1),
        );
        for account in 1..=ACCOUNTS {
            assert_eq!(name_of(&table, account, 1), Some(1));
            assert_eq!(name_of(&table, account, account), Some(account));
            assert_eq!(name_of(&table, account, account + 1), None);
            assert_eq!(name_of(&table, ACCOUNTS + account, account), None);
        }
        assert_eq!(table.iter().count(), ACCOUNTS as usize * 2 - 1);
    }

    #[test]
    fn a_name_that_many_accounts_have_makes_no_long_row() {
        let table = filled((1..=20_000).map(|account| (account, 1)));
        let longest = table.slots.split(|slot| !slot.read().is_used());
        let longest = longest.map(<[Slot]>::len).max();
        assert!(longest < Some(500), "{longest:?} slots in use in a row");
    }
}
