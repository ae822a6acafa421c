//! Owns what readers of the keyring share: index, records and names, as of one moment.
//! Promises that a grown table holds all that the one before it holds, in the same memory.
//! Must never move or free a record that a reader may be looking at.

use super::{
    Writer,
    index::{Index, MAX_RECORDS, Tag},
    names::Names,
    record::Record,
};
use crate::model::{key::KeyState, token::TokenDigest};
use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// Records a chunk: 256 KiB, which the allocator gets from the system and leaves untouched by
/// what else it does.
const CHUNK_LEN: usize = 4096;

/// Slots of the first index.
const FIRST_SLOTS: usize = 1024;

/// Index, records and names. Cloning shares them.
#[derive(Clone)]
pub(super) struct Table {
    index: Arc<Index>,
    records: Vec<Arc<[Record]>>,
    len: Arc<AtomicU32>,
    pub(super) accounts: Names,
    pub(super) domains: Names,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            index: Arc::new(Index::with_slots(FIRST_SLOTS)),
            records: Vec::new(),
            len: Arc::default(),
            accounts: Names::default(),
            domains: Names::default(),
        }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) as usize
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<&Record> {
        self.index
            .candidates(Tag::of(digest))
            .filter_map(|number| self.record(number))
            .find(|record| record.has_digest(digest))
    }

    /// Every record, in no order; but for those that are added meanwhile.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .flat_map(|chunk| chunk.iter())
            .take(self.len())
    }

    /// Adds a key that is not held. Only by the writer, in a table with room.
    pub(super) fn insert(&self, state: &KeyState, account: NonZeroU32, domain: Option<NonZeroU32>) {
        let number = self.len.load(Ordering::Relaxed);
        self.record(number)
            .expect("a table with room has the record's chunk")
            .fill(state, account, domain);
        self.index.insert(Tag::of(&state.digest), number);
        self.len.store(number + 1, Ordering::Release);
    }

    /// This table with room for one more record, account and domain, if this one lacks it.
    pub(super) fn with_room_for_one_more(&self, writer: &Writer) -> Option<Self> {
        let len = self.len();
        assert!(len < MAX_RECORDS, "a keyring holds at most 2^31 keys");
        let index = (len == self.index.capacity()).then(|| self.index.doubled());
        let needs_chunk = len == self.records.len() * CHUNK_LEN;
        let accounts = self.accounts.with_room(writer.accounts.len());
        let domains = self.domains.with_room(writer.domains.len());
        if index.is_none() && !needs_chunk && accounts.is_none() && domains.is_none() {
            return None;
        }
        let mut grown = self.clone();
        if let Some(index) = index {
            grown.index = Arc::new(index);
        }
        if needs_chunk {
            let chunk = (0..CHUNK_LEN).map(|_| Record::default()).collect();
            grown.records.push(chunk);
        }
        grown.accounts = accounts.unwrap_or(grown.accounts);
        grown.domains = domains.unwrap_or(grown.domains);
        Some(grown)
    }

    /// The record with a number that the index gave. None where the index, which tables share,
    /// has grown past this table: a key that was added since this table was read.
    fn record(&self, number: u32) -> Option<&Record> {
        let at = number as usize;
        self.records.get(at / CHUNK_LEN)?.get(at % CHUNK_LEN)
    }
}
