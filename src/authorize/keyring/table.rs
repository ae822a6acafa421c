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
            names: Texts::default(),
        }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) as usize
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<&Record> {
        self.index
            .candidates(self.index.tag(digest))
            .filter_map(|number| self.record(number))
            .find(|record| record.has_digest(digest))
    }

    /// Every record, in no particular order. Records that are added meanwhile may be missing.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .flat_map(|chunk| chunk.iter())
            .take(self.len())
    }

    /// Adds a key that the table does not have. Only the writer may call this, and there must be
    /// room.
    pub(super) fn insert(&self, state: &KeyState, account: NonZeroU32, domain: Option<NonZeroU32>) {
        let number = self.len.load(Ordering::Relaxed);
        self.record(number)
            .expect("a table with room has the record's chunk")
            .fill(state, account, domain);
        self.index.insert(self.index.tag(&state.digest), number);
        self.len.store(number + 1, Ordering::Release);
    }

    /// The same table with room for one more key, if this one has no room.
    pub(super) fn with_room_for_key(&self, writer: &Writer) -> Option<Self> {
        let len = self.len();
        assert!(len < MAX_RECORDS, "a keyring holds at most 2^31 keys");
        let index = (len == self.index.capacity()).then(|| self.index.doubled());
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

    fn with_room_for_texts(&self, writer: &Writer) -> Option<Self> {
        let account_ids = self.account_ids.with_room(writer.account_ids.len());
        let names = self.names.with_room(writer.names.len());
        (account_ids.is_some() || names.is_some()).then(|| Self {
            account_ids: account_ids.unwrap_or_else(|| self.account_ids.clone()),
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
