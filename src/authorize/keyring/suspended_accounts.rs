//! Which accounts are suspended: a bit for each account.
//!
//! A hundred thousand accounts take 12 KiB, so the bits stay in the processor's caches.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

const CHUNK_WORDS: usize = 16;

/// How many accounts a chunk has.
const CHUNK_LEN: usize = CHUNK_WORDS * 64;

/// The bits by account. A clone shares them.
#[derive(Clone, Default)]
pub(super) struct SuspendedAccounts(Vec<Arc<[AtomicU64; CHUNK_WORDS]>>);

impl SuspendedAccounts {
    /// An account that is newer than this clone is not suspended.
    pub(super) fn contains(&self, account: NonZeroU32) -> bool {
        let (chunk, word, bit) = place(account);
        let chunk = self.0.get(chunk);
        chunk.is_some_and(|words| words[word].load(Acquire) & bit != 0)
    }

    pub(super) fn count(&self) -> usize {
        let words = self.0.iter().flat_map(|words| words.iter());
        let counts = words.map(|word| word.load(Relaxed).count_ones() as usize);
        counts.sum()
    }

    /// Only the writer may call this, and there must be room.
    pub(super) fn set(&self, account: NonZeroU32, is_suspended: bool) {
        let (chunk, word, bit) = place(account);
        let word = &self.0[chunk][word];
        let others = word.load(Relaxed) & !bit;
        word.store(others | if is_suspended { bit } else { 0 }, Release);
    }

    /// The same with room for one account more than `len`, if there is none.
    pub(super) fn with_room(&self, len: usize) -> Option<Self> {
        let mut grown = (len / CHUNK_LEN == self.0.len()).then(|| self.clone())?;
        grown.make_room(len);
        Some(grown)
    }

    /// Makes room for one account more than `len`, where nobody shares the bits.
    pub(super) fn make_room(&mut self, len: usize) {
        if len / CHUNK_LEN == self.0.len() {
            self.0.push(Arc::default());
        }
    }
}

fn place(account: NonZeroU32) -> (usize, usize, u64) {
    let at = account.get() as usize - 1;
    let (chunk, at) = (at / CHUNK_LEN, at % CHUNK_LEN);
    (chunk, at / 64, 1 << (at % 64))
}
