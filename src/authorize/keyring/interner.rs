//! Numbers for the texts that many records share: account ids and domains.
//!
//! Promises that a number stands for the same text forever.
//! Must never hold a text twice.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::{
    hash::BuildHasher,
    num::NonZeroU32,
    sync::{Arc, OnceLock},
};

/// How many texts a chunk has. It takes 24 KiB, so that a small service stays small.
const CHUNK_LEN: usize = 1024;

/// The texts by number, for readers and the writer. A clone shares them.
#[derive(Clone, Default)]
pub(super) struct Texts(Vec<Arc<[OnceLock<Box<str>>]>>);

impl Texts {
    /// The text with a number from [`Interner::intern`]. There is none if that number is newer than
    /// this clone.
    pub(super) fn get(&self, number: NonZeroU32) -> Option<&str> {
        let at = number.get() as usize - 1;
        let text = self.0.get(at / CHUNK_LEN)?[at % CHUNK_LEN].get()?;
        Some(text)
    }

    /// Whether the text with a number from [`Interner::intern`] is among these, which it is not if
    /// the number is newer than this clone. Reads no text.
    pub(super) fn reach(&self, number: NonZeroU32) -> bool {
        (number.get() as usize) <= self.0.len() * CHUNK_LEN
    }

    /// The same texts with room for one more, if `len` texts use all the room.
    pub(super) fn with_room(&self, len: usize) -> Option<Self> {
        (len == self.0.len() * CHUNK_LEN).then(|| {
            let mut grown = self.clone();
            grown
                .0
                .push((0..CHUNK_LEN).map(|_| OnceLock::new()).collect());
            grown
        })
    }
}

/// The numbers by text, for the writer alone. The first number is 1.
#[derive(Default)]
pub(super) struct Interner {
    numbers: HashTable<NonZeroU32>,
    hasher: DefaultHashBuilder,
}

impl Interner {
    /// How many texts have a number.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the number of a text. A new text gets the next number and is stored in `texts`,
    /// which must have room.
    pub(super) fn intern(&mut self, text: &str, texts: &Texts) -> NonZeroU32 {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(Some(text));
        let is_same = |&number: &NonZeroU32| texts.get(number) == Some(text);
        if let Some(&number) = self.numbers.find(hash, is_same) {
            return number;
        }
        let len = self.numbers.len();
        let number = u32::try_from(len + 1).ok().and_then(NonZeroU32::new);
        let number = number.expect("there are no more texts than keys, and fewer than 2^32 keys");
        texts.0[len / CHUNK_LEN][len % CHUNK_LEN]
            .set(text.into())
            .expect("a number is given once");
        self.numbers
            .insert_unique(hash, number, |&number| hasher.hash_one(texts.get(number)));
        number
    }
}
