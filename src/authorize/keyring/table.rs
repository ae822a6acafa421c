//! What readers of the keyring share with its writer: the index, the records, the domains and the
//! interned texts.
//!
//! Promises that a grown table has everything that the table before it has, in the same memory.
//! Must never move or free a record that a reader may be using.

use super::{
    domains::Domains,
    index::{Index, MAX_RECORDS},
    interner::Texts,
    record::Record,
    suspended_accounts::SuspendedAccounts,
    uses::LastUse,
    writer::Writer,
};
use crate::model::{key::KeyStateRef, token::TokenDigest};
use std::{
    hint::black_box,
    num::NonZeroU32,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// How many records a chunk has. It takes 1 MiB. The allocator gets so large a piece from the system in whole
/// pages, and loses up to one of them, a quarter of a byte for each record.
const CHUNK_LEN: usize = 16_384;

/// The number of a record that belongs to no key. A key's new state stands there while the key's own
/// record is written, so that a key keeps its number.
const SPARE: u32 = 0;

const TOO_MANY_KEYS: &str = "a keyring holds at most 2^31 keys";

/// Some records, and what is noted beside them.
#[derive(Clone)]
struct Chunk {
    records: Arc<[Record]>,
    last_uses: Arc<[LastUse]>,
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            records: (0..CHUNK_LEN).map(|_| Record::default()).collect(),
            last_uses: (0..CHUNK_LEN).map(|_| LastUse::default()).collect(),
        }
    }
}

/// A key where it is.
#[derive(Clone, Copy)]
pub(super) struct StoredKey<'a> {
    pub(super) number: u32,
    pub(super) record: &'a Record,
    pub(super) last_use: &'a LastUse,
}

/// Fewer keys are in the processor's caches anyway.
const FETCHED_KEYS: usize = 20_000;

/// A place in a chunk.
struct Place<'a> {
    record: &'a Record,
    last_use: &'a LastUse,
}

/// A table of keys and domains. A clone shares its parts.
#[derive(Clone)]
pub(super) struct Table {
    index: Arc<Index>,
    chunks: Vec<Chunk>,
    /// How many records keys have, those that were forgotten too. They have the numbers from 1 on.
    len: Arc<AtomicU32>,
    /// The number of the key whose state is in the spare record.
    in_spare: Arc<AtomicU32>,
    pub(super) domains: Arc<Domains>,
    pub(super) account_ids: Texts,
    pub(super) suspended_accounts: SuspendedAccounts,
    pub(super) names: Texts,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            index: Arc::default(),
            // The first one has the spare record.
            chunks: vec![Chunk::default()],
            len: Arc::default(),
            in_spare: Arc::default(),
            domains: Arc::default(),
            account_ids: Texts::default(),
            suspended_accounts: SuspendedAccounts::default(),
            names: Texts::default(),
        }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) as usize
    }

    #[cfg(test)]
    pub(super) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// The number of the record to which the index leads for this digest.
    pub(super) fn find_number(&self, digest: &TokenDigest) -> Option<u32> {
        let mut candidates = self.index.candidates(self.index.tag(digest));
        candidates.find(|&number| {
            let record = self.record(number);
            record.is_some_and(|record| record.has_digest(digest))
        })
    }

    /// Reads where look-ups of these digests begin: slots, then records, then texts. In each of these loops no
    /// step needs what another one reads, so the processor waits for all of them together.
    pub(super) fn fetch<'a>(&self, digests: impl Iterator<Item = &'a TokenDigest>) {
        if self.len() < FETCHED_KEYS {
            return;
        }
        let slots = digests.map(|digest| self.index.first_number(self.index.tag(digest)));
        let slots: Vec<_> = slots.collect();
        let places = slots.into_iter().flatten();
        let places = places.filter_map(|number| self.place(number));
        let accounts = places.map(|place| {
            black_box(place.last_use.minute());
            place.record.account()
        });
        let accounts: Vec<_> = accounts.collect();
        for account in accounts.into_iter().flatten() {
            let text = self.account_ids.get(account);
            black_box(text.and_then(|text| text.bytes().next()));
        }
    }

    /// The keys with these numbers, by their own records. Keys that are added meanwhile may be missing.
    pub(super) fn keys(
        &self,
        numbers: impl IntoIterator<Item = u32>,
    ) -> impl Iterator<Item = StoredKey<'_>> {
        let keys = numbers.into_iter().map_while(|number| {
            let Place { record, last_use } = self.place(number)?;
            Some(StoredKey {
                number,
                record,
                last_use,
            })
        });
        keys.filter(|key| !key.record.is_forgotten())
    }

    /// The numbers that keys have, or had before they were forgotten.
    pub(super) fn numbers(&self) -> RangeInclusive<u32> {
        1..=self.len.load(Ordering::Acquire)
    }

    /// The number of the key whose state is in a record.
    pub(super) fn own_number(&self, number: u32) -> u32 {
        match number {
            SPARE => self.in_spare.load(Ordering::Relaxed),
            own => own,
        }
    }

    /// Adds a key that the table does not have. Only the writer may call this, and there must be room.
    pub(super) fn add(
        &self,
        state: &KeyStateRef<'_>,
        account: NonZeroU32,
        domain: Option<NonZeroU32>,
    ) {
        let number = self.len.load(Ordering::Relaxed) + 1;
        self.room(number).record.fill(state, account, domain);
        self.index.insert(self.index.tag(&state.digest), number);
        self.len.store(number, Ordering::Release);
    }

    /// Adds a key to a table that nobody reads. The index leads to it from [`Self::make_index`] on.
    pub(super) fn push(
        &mut self,
        state: &KeyStateRef<'_>,
        account: NonZeroU32,
        domain: Option<NonZeroU32>,
    ) {
        let len = self.len();
        assert!(len < MAX_RECORDS, "{TOO_MANY_KEYS}");
        if len + 1 == self.chunks.len() * CHUNK_LEN {
            self.chunks.push(Chunk::default());
        }
        let number = self.len.load(Ordering::Relaxed) + 1;
        self.room(number).record.fill(state, account, domain);
        self.len.store(number, Ordering::Relaxed);
    }

    /// Makes the index lead to every key that was pushed. Of several with the same digest it leads to the
    /// last. The others are forgotten: gives how many.
    pub(super) fn make_index(&mut self) -> usize {
        let digest = |number| self.room(number).record.digest();
        let (index, replaced) = Index::of(self.len.load(Ordering::Relaxed), digest);
        for &number in &replaced {
            self.room(number).record.forget();
        }
        self.index = Arc::new(index);
        replaced.len()
    }

    /// Writes a key's new state to the spare record, and makes the index lead there. Only the writer may
    /// call this.
    pub(super) fn replace_by_spare(
        &self,
        number: u32,
        state: &KeyStateRef<'_>,
        account: NonZeroU32,
        domain: Option<NonZeroU32>,
    ) {
        self.in_spare.store(number, Ordering::Relaxed);
        self.room(SPARE).record.fill(state, account, domain);
        let tag = self.index.tag(&state.digest);
        self.index.replace(tag, number, SPARE);
    }

    /// Writes the state that the spare record has to the key's own record, and makes the index lead there
    /// again.
    pub(super) fn bring_home(
        &self,
        number: u32,
        state: &KeyStateRef<'_>,
        account: NonZeroU32,
        domain: Option<NonZeroU32>,
    ) {
        self.room(number).record.fill(state, account, domain);
        let tag = self.index.tag(&state.digest);
        self.index.replace(tag, SPARE, number);
    }

    /// Makes the index lead to a key no more. Only the writer may call this.
    pub(super) fn forget(&self, key: StoredKey<'_>) {
        let tag = self.index.tag(&key.record.digest());
        self.index.forget(tag, key.number);
        key.record.forget();
    }

    /// Whether a table of before, which somebody still reads, has the same keys.
    pub(super) fn shares_uses(&self) -> bool {
        let mut chunks = self.chunks.iter();
        chunks.any(|chunk| Arc::strong_count(&chunk.last_uses) > 1)
    }

    /// The last use of the key with this number.
    pub(super) fn last_use(&self, number: u32) -> Option<&LastUse> {
        Some(self.place(number)?.last_use)
    }

    /// The same table with room for one more key, if this one has no room.
    pub(super) fn with_room_for_key(&self, writer: &Writer) -> Option<Self> {
        let len = self.len();
        assert!(len < MAX_RECORDS, "{TOO_MANY_KEYS}");
        let index = (len == self.index.capacity()).then(|| self.index.doubled());
        let needs_chunk = len + 1 == self.chunks.len() * CHUNK_LEN;
        let texts = self.with_room_for_texts(writer);
        if index.is_none() && !needs_chunk {
            return texts;
        }
        let mut grown = texts.unwrap_or_else(|| self.clone());
        if let Some(index) = index {
            grown.index = Arc::new(index);
        }
        if needs_chunk {
            grown.chunks.push(Chunk::default());
        }
        Some(grown)
    }

    /// The same table with room for one more domain, if this one has no room.
    pub(super) fn with_room_for_domain(&self, writer: &Writer) -> Option<Self> {
        let domains = self.domains.with_room(writer.domains);
        let texts = self.with_room_for_texts(writer);
        let Some(domains) = domains else {
            return texts;
        };
        Some(Self {
            domains: Arc::new(domains),
            ..texts.unwrap_or_else(|| self.clone())
        })
    }

    /// The same table with room for one more account and one more name, if this one has no room.
    pub(super) fn with_room_for_texts(&self, writer: &Writer) -> Option<Self> {
        let accounts = writer.account_ids.len();
        let account_ids = self.account_ids.with_room(accounts);
        let suspended = self.suspended_accounts.with_room(accounts);
        let names = self.names.with_room(writer.names.len());
        let has_grown = account_ids.is_some() || suspended.is_some() || names.is_some();
        has_grown.then(|| Self {
            account_ids: account_ids.unwrap_or_else(|| self.account_ids.clone()),
            suspended_accounts: suspended.unwrap_or_else(|| self.suspended_accounts.clone()),
            names: names.unwrap_or_else(|| self.names.clone()),
            ..self.clone()
        })
    }

    /// The record with a number that the index gave. Tables share the index, so the number may
    /// belong to a key that was added after this clone of the table was read. Then there is no
    /// record.
    pub(super) fn record(&self, number: u32) -> Option<&Record> {
        Some(self.place(number)?.record)
    }

    fn place(&self, number: u32) -> Option<Place<'_>> {
        let at = number as usize;
        let chunk = self.chunks.get(at / CHUNK_LEN)?;
        Some(Place {
            record: &chunk.records[at % CHUNK_LEN],
            last_use: &chunk.last_uses[at % CHUNK_LEN],
        })
    }

    fn room(&self, number: u32) -> Place<'_> {
        self.place(number)
            .expect("a table with room has the record's chunk")
    }
}
