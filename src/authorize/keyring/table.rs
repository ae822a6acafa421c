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
    writer::Writer,
};
use crate::model::{key::KeyState, token::TokenDigest};
use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// How many records a chunk has. It takes 256 KiB, which the allocator gets from the system
/// directly, apart from all smaller allocations.
const CHUNK_LEN: usize = 4096;

/// How many slots the first index has.
const FIRST_SLOTS: usize = 1024;

/// A table of keys and domains. A clone shares its parts.
#[derive(Clone)]
pub(super) struct Table {
    index: Arc<Index>,
    records: Vec<Arc<[Record]>>,
    len: Arc<AtomicU32>,
    pub(super) domains: Arc<Domains>,
    pub(super) account_ids: Texts,
    pub(super) suspended_accounts: SuspendedAccounts,
    pub(super) names: Texts,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            index: Arc::new(Index::with_slots(FIRST_SLOTS)),
            records: Vec::new(),
            len: Arc::default(),
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
        self.records.len()
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<&Record> {
        self.record(self.find_number(digest)?)
    }

    /// The number of the record of the key with this digest.
    pub(super) fn find_number(&self, digest: &TokenDigest) -> Option<u32> {
        let mut candidates = self.index.candidates(self.index.tag(digest));
        candidates.find(|&number| {
            let record = self.record(number);
            record.is_some_and(|record| record.has_digest(digest))
        })
    }

    /// Every record, in no particular order. Records that are added meanwhile may be missing.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let numbers = self.index.numbers();
        numbers.filter_map(|number| self.record(number))
    }

    /// Writes a key's state to the spare record, and makes the index lead to it. Gives the record that is
    /// spare now. Only the writer may call this, and there must be room.
    pub(super) fn put(
        &self,
        spare: u32,
        state: &KeyState,
        account: NonZeroU32,
        domain: Option<NonZeroU32>,
    ) -> u32 {
        let record = self.record(spare);
        let record = record.expect("a table with room has the record's chunk");
        record.fill(state, account, domain);
        let tag = self.index.tag(&state.digest);
        // The spare record itself is not in the index.
        if let Some(before) = self.find_number(&state.digest) {
            self.index.replace(tag, before, spare);
            return before;
        }
        self.index.insert(tag, spare);
        self.len.fetch_add(1, Ordering::Release) + 1
    }

    /// The same table with room for one more key, or for one more state of a key, if this one has no room.
    pub(super) fn with_room_for_key(&self, writer: &Writer) -> Option<Self> {
        let len = self.len();
        assert!(len < MAX_RECORDS, "a keyring holds at most 2^31 keys");
        let index = (len == self.index.capacity()).then(|| self.index.doubled());
        // The keys and the spare record have the numbers up to `len`.
        let needs_chunk = len == self.records.len() * CHUNK_LEN;
        let texts = self.with_room_for_texts(writer);
        if index.is_none() && !needs_chunk {
            return texts;
        }
        let mut grown = texts.unwrap_or_else(|| self.clone());
        if let Some(index) = index {
            grown.index = Arc::new(index);
        }
        if needs_chunk {
            let chunk = (0..CHUNK_LEN).map(|_| Record::default()).collect();
            grown.records.push(chunk);
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
    fn record(&self, number: u32) -> Option<&Record> {
        let at = number as usize;
        self.records.get(at / CHUNK_LEN)?.get(at % CHUNK_LEN)
    }
}
