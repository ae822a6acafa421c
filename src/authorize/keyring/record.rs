//! The state of one key in memory: 64 bytes, which is one cache line.
//!
//! Promises that a record is not changed while the index leads to it, but for being marked as forgotten.
//! Must never hold text. A record has numbers for its account and its domain (see `interner`).

use crate::model::{
    key::{KeyId, KeyState},
    time::Timestamp,
    token::TokenDigest,
};
use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use uuid::Uuid;

/// The state of one key.
///
/// The words are atomic so that safe code can fill a record in memory that readers share. Access is
/// relaxed, because a reader learns the number of a record only from the index. The index publishes
/// the number with `Release` and reads it with `Acquire`, so the reader sees everything before that.
///
/// A record to which the index leads no more is filled again for another state. A reader that still looks
/// at it may see a mixture: see `Keyring::at_one_moment`.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Record([AtomicU64; 8]);

const DIGEST: usize = 0;
const KEY_ID: usize = 4;
/// The account's number in the upper half, and the domain's in the lower half. Without a domain it
/// is 0.
const TEXTS: usize = 6;
const VALIDITY: usize = 7;

/// The top bits of the validity word. The other bits are the expiry in microseconds since 1970.
const REVOKED: u64 = 1 << 63;
const SUSPENDED: u64 = 1 << 62;
const FORGOTTEN: u64 = 1 << 61;

/// The expiry of a key that never expires. It is larger than every [`Timestamp`].
const NEVER: u64 = FORGOTTEN - 1;

/// What a record says, beside its digest.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) id: KeyId,
    pub(super) account: NonZeroU32,
    pub(super) domain: Option<NonZeroU32>,
    pub(super) expire_time: Option<Timestamp>,
    pub(super) is_revoked: bool,
    pub(super) is_suspended: bool,
}

impl Record {
    /// Writes every word. The index must not lead to this record.
    pub(super) fn fill(&self, state: &KeyState, account: NonZeroU32, domain: Option<NonZeroU32>) {
        for (word, value) in self.0[DIGEST..].iter().zip(digest_words(&state.digest)) {
            word.store(value, Relaxed);
        }
        let (high, low) = state.id.as_uuid().as_u64_pair();
        self.0[KEY_ID].store(high, Relaxed);
        self.0[KEY_ID + 1].store(low, Relaxed);
        let domain = domain.map_or(0, NonZeroU32::get);
        self.0[TEXTS].store(u64::from(account.get()) << 32 | u64::from(domain), Relaxed);
        let expiry = state
            .expire_time
            .map_or(NEVER, |time| time.as_micros().unsigned_abs());
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(state.revoked, REVOKED) | flag(state.suspended, SUSPENDED);
        self.0[VALIDITY].store(expiry | flags, Relaxed);
    }

    /// Marks the record of a key that the keyring is to hold no more.
    pub(super) fn forget(&self) {
        self.0[VALIDITY].fetch_or(FORGOTTEN, Relaxed);
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.0[VALIDITY].load(Relaxed) & FORGOTTEN != 0
    }

    /// Whether this is the record of the token with this digest. The comparison may take a time
    /// that depends on the bytes, because nobody can choose the bytes of a BLAKE3 digest.
    pub(super) fn has_digest(&self, digest: &TokenDigest) -> bool {
        self.0[DIGEST..]
            .iter()
            .zip(digest_words(digest))
            .all(|(word, value)| word.load(Relaxed) == value)
    }

    pub(super) fn digest(&self) -> TokenDigest {
        let mut bytes = [0; 32];
        for (part, word) in bytes.chunks_exact_mut(8).zip(&self.0[DIGEST..]) {
            part.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        TokenDigest::from_bytes(bytes)
    }

    /// The number of the account.
    pub(super) fn account(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(upper_half(self.0[TEXTS].load(Relaxed)))
    }

    pub(super) fn held(&self) -> Held {
        let word = |at: usize| self.0[at].load(Relaxed);
        let (texts, validity) = (word(TEXTS), word(VALIDITY));
        let account = NonZeroU32::new(upper_half(texts));
        let expiry = i64::try_from(validity & NEVER).ok();
        Held {
            id: KeyId::from_uuid(Uuid::from_u64_pair(word(KEY_ID), word(KEY_ID + 1))),
            account: account.expect("the index leads only to records that were filled"),
            domain: NonZeroU32::new(lower_half(texts)),
            expire_time: expiry.and_then(Timestamp::from_micros),
            is_revoked: validity & REVOKED != 0,
            is_suspended: validity & SUSPENDED != 0,
        }
    }
}

fn digest_words(digest: &TokenDigest) -> [u64; 4] {
    let (words, _) = digest.as_bytes().as_chunks();
    std::array::from_fn(|at| u64::from_le_bytes(words[at]))
}

pub(super) fn upper_half(word: u64) -> u32 {
    lower_half(word >> 32)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "half of the word is asked for"
)]
pub(super) fn lower_half(word: u64) -> u32 {
    word as u32
}
