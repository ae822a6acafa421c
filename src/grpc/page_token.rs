//! What the page tokens of all lists have in common: a place in a list, and a checksum.
//!
//! Promises that a page token is accepted only for the list that it was made for.
//! Must never be trusted for anything but where to go on.

use data_encoding::BASE64URL_NOPAD;

/// The checksum covers the list and the place. It detects mistakes. It need not detect forgery, because
/// a forged page token shows no more than the same call without one.
const CHECKSUM_LEN: usize = 8;

/// Makes the page token for a place in a list. `kind` is the context of the checksum, one for each RPC.
pub(super) fn seal(kind: &str, list: &str, place: &[u8]) -> String {
    let sealed = [place, &checksum(kind, list, place)].concat();
    BASE64URL_NOPAD.encode(&sealed)
}

/// The place in a page token that [`seal`] made for the same list. `None` for any other text.
pub(super) fn open(kind: &str, list: &str, text: &str) -> Option<Vec<u8>> {
    let sealed = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let (place, sum) = sealed.split_last_chunk()?;
    (*sum == checksum(kind, list, place)).then(|| place.to_vec())
}

fn checksum(kind: &str, list: &str, place: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut hasher = blake3::Hasher::new_derive_key(kind);
    let full = hasher.update(list.as_bytes()).update(place).finalize();
    *full.as_bytes().first_chunk().expect("32 bytes hold 8")
}
