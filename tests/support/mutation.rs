//! Nearly valid bytes: the bytes of a seed with a few random changes.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use std::{fs, path::Path};

/// The greatest length of an input. All limits on the lengths of fields are lower.
const MAX_LEN: usize = 4096;

/// The initial inputs of a target, from `fuzz/seeds`.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    // So that a random seed always gives the same inputs.
    paths.sort();
    let seeds: Vec<_> = paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect();
    assert!(!seeds.is_empty(), "{directory:?} is empty");
    seeds
}

/// A random seed with one to four changes.
pub fn mutated(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds.choose(random).expect("there are some").clone();
    for _ in 0..random.random_range(1..=4) {
        change(&mut bytes, seeds, random);
    }
    bytes.truncate(MAX_LEN);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    let end = random.random_range(at..=bytes.len());
    match random.random_range(0..7) {
        0 => bytes.insert(at, random.random()),
        1 => bytes.insert(at, *b" .-_@=:/#%?,0Aa\n".choose(random).expect("one")),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let piece = bytes[at..end].repeat(random.random_range(1..8));
            bytes.splice(at..at, piece);
        }
        4 => {
            let other = seeds.choose(random).expect("there are some");
            let from = random.random_range(0..=other.len());
            bytes.splice(at..end, other[from..].iter().copied());
        }
        5 => bytes
            .splice(at..at, "ü。\u{200d}\u{10348}".bytes())
            .for_each(drop),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
    }
}
