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

/// How many texts a chunk has. It takes 24 KiB while it fills, so that a small service stays small.
const CHUNK_LEN: usize = 1024;

/// The texts by number, for readers and the writer. A clone shares them.
#[derive(Clone, Default)]
pub(super) struct Texts(Vec<Chunk>);

#[derive(Clone)]
enum Chunk {
    /// The last one, to which the writer adds.
    Filling(Arc<[OnceLock<Box<str>>]>),
    /// Any other. It takes 2 bytes a text beside the text itself, and not 24 and an allocation.
    Full(Arc<Packed>),
}

/// Texts one behind the other.
struct Packed {
    texts: Box<str>,
    ends: Ends,
}

/// Where each text ends.
enum Ends {
    /// All texts together are short, as names are.
    Short(Box<[u16]>),
    Long(Box<[u32]>),
}

impl Texts {
    /// The text with a number from [`Interner::intern`]. There is none if that number is newer than
    /// this clone.
    pub(super) fn get(&self, number: NonZeroU32) -> Option<&str> {
        let at = number.get() as usize - 1;
        match self.0.get(at / CHUNK_LEN)? {
            Chunk::Filling(texts) => texts[at % CHUNK_LEN].get().map(|text| &**text),
            Chunk::Full(packed) => packed.get(at % CHUNK_LEN),
        }
    }

    /// Whether the text with a number from [`Interner::intern`] is among these, which it is not if
    /// the number is newer than this clone. Reads no text.
    pub(super) fn reach(&self, number: NonZeroU32) -> bool {
        (number.get() as usize) <= self.0.len() * CHUNK_LEN
    }

    /// The same texts with room for one more, if `len` texts use all the room.
    pub(super) fn with_room(&self, len: usize) -> Option<Self> {
        self.is_full(len).then(|| {
            let mut grown = self.clone();
            grown.add_chunk();
            grown
        })
    }

    /// Makes room for one more, if `len` texts use all the room, where nobody shares these texts.
    pub(super) fn make_room(&mut self, len: usize) {
        if self.is_full(len) {
            self.add_chunk();
        }
    }

    fn is_full(&self, len: usize) -> bool {
        len == self.0.len() * CHUNK_LEN
    }

    fn add_chunk(&mut self) {
        if let Some(last) = self.0.last_mut() {
            *last = last.packed();
        }
        let empty = (0..CHUNK_LEN).map(|_| OnceLock::new()).collect();
        self.0.push(Chunk::Filling(empty));
    }

    fn add(&self, at: usize, text: &str) {
        let Some(Chunk::Filling(texts)) = self.0.get(at / CHUNK_LEN) else {
            unreachable!("texts with room have a chunk that fills");
        };
        let added = texts[at % CHUNK_LEN].set(text.into());
        added.expect("a number is given once");
    }
}

impl Chunk {
    fn packed(&self) -> Self {
        let Self::Filling(texts) = self else {
            return self.clone();
        };
        let texts = texts.iter().map_while(OnceLock::get);
        let mut packed = String::with_capacity(texts.clone().map(|text| text.len()).sum());
        let ends = texts.map(|text| {
            packed.push_str(text);
            u32::try_from(packed.len()).expect("a text is short")
        });
        let ends = Ends::of(ends.collect());
        let texts = packed.into_boxed_str();
        Self::Full(Arc::new(Packed { texts, ends }))
    }
}

impl Packed {
    fn get(&self, at: usize) -> Option<&str> {
        let start = match at.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before)?,
        };
        self.texts.get(start..self.ends.get(at)?)
    }
}

impl Ends {
    fn of(ends: Vec<u32>) -> Self {
        let short = ends.iter().map(|&end| u16::try_from(end));
        match short.collect() {
            Ok(short) => Self::Short(short),
            Err(_) => Self::Long(ends.into()),
        }
    }

    fn get(&self, at: usize) -> Option<usize> {
        match self {
            Self::Short(ends) => ends.get(at).map(|&end| end.into()),
            Self::Long(ends) => ends.get(at).map(|&end| end as usize),
        }
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
        let number = number.expect("a keyring holds fewer than 2^32 texts");
        texts.add(len, text);
        self.numbers
            .insert_unique(hash, number, |&number| hasher.hash_one(texts.get(number)));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_keeps_its_number_while_chunks_fill() {
        let (mut interner, mut texts) = (Interner::default(), Texts::default());
        let chunk_len = u32::try_from(CHUNK_LEN).expect("small");
        // The texts of the second chunk need more than 64 KiB.
        let text = |at: u32| {
            format!(
                "{}{at}",
                "ü".repeat((at % 5 * (at / chunk_len * 20)) as usize)
            )
        };
        let count = 3 * chunk_len + 7;
        let older = texts.clone();
        for at in 0..count {
            texts = texts.with_room(interner.len()).unwrap_or(texts);
            let number = interner.intern(&text(at), &texts);
            assert_eq!(number.get(), at + 1);
        }
        for at in 0..count {
            let number = interner.intern(&text(at), &texts);
            assert_eq!(number.get(), at + 1);
            assert_eq!(texts.get(number), Some(&*text(at)));
            assert!(texts.reach(number) && !older.reach(number));
            assert_eq!(older.get(number), None);
        }
        let next = NonZeroU32::new(count + 1).expect("not 0");
        assert_eq!(texts.get(next), None);
    }
}
