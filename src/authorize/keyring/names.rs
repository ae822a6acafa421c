//! Owns the texts that records refer to by number: account ids, and domains.
//! Promises that a number once given stands for the same text for ever.
//! Must never hold a text twice.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::{
    hash::BuildHasher,
    num::NonZeroU32,
    sync::{Arc, OnceLock},
};

/// Texts a chunk: 24 KiB of them, so that a small service stays small.
const CHUNK_LEN: usize = 1024;

/// Texts by number, shared with readers. Cloning shares the texts.
#[derive(Clone, Default)]
pub(super) struct Names(Vec<Arc<[OnceLock<Box<str>>]>>);

impl Names {
    /// The text with a number that [`Numbers::number`] gave. None where these names were read
    /// before the number was given.
    pub(super) fn get(&self, number: NonZeroU32) -> Option<&str> {
        let at = number.get() as usize - 1;
        let text = self.0.get(at / CHUNK_LEN)?[at % CHUNK_LEN].get()?;
        Some(text)
    }

    /// The same names with room for one more, if these have none left.
    pub(super) fn with_room(&self, taken: usize) -> Option<Self> {
        (taken == self.0.len() * CHUNK_LEN).then(|| {
            let mut grown = self.clone();
            grown
                .0
                .push((0..CHUNK_LEN).map(|_| OnceLock::new()).collect());
            grown
        })
    }
}

/// Numbers by text, for the writer alone. Numbers begin at 1.
#[derive(Default)]
pub(super) struct Numbers {
    by_text: HashTable<NonZeroU32>,
    hasher: DefaultHashBuilder,
}

impl Numbers {
    /// How many texts have a number.
    pub(super) fn len(&self) -> usize {
        self.by_text.len()
    }

    /// The text's number: the one it has, or the next, stored in `names`, which must have room.
    pub(super) fn number(&mut self, text: &str, names: &Names) -> NonZeroU32 {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(Some(text));
        let same = |&number: &NonZeroU32| names.get(number) == Some(text);
        if let Some(&number) = self.by_text.find(hash, same) {
            return number;
        }
        let taken = self.by_text.len();
        let number = u32::try_from(taken + 1).ok().and_then(NonZeroU32::new);
        let number = number.expect("there are no more names than keys, and fewer than 2^32 keys");
        names.0[taken / CHUNK_LEN][taken % CHUNK_LEN]
            .set(text.into())
            .expect("a number is given once");
        self.by_text
            .insert_unique(hash, number, |&number| hasher.hash_one(names.get(number)));
        number
    }
}
