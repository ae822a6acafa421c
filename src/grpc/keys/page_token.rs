//! The page token: text that tells a List where to go on, and means nothing to its holder.
//!
//! Promises that a page token is accepted only for a list with the same filters.
//! Must never be trusted for anything but where to go on. The account comes from the request.

use crate::{
    model::domain::Domain,
    store::{ListQuery, Revision},
};
use data_encoding::BASE64URL_NOPAD;

/// The text is not a page token of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a page token of this list; use the next_page_token of the previous response with the \
     same account_id, status and domain, or leave it empty to begin again"
)]
pub struct InvalidPageToken;

/// The revision at which the last key was created.
const REVISION_LEN: usize = 8;

/// The checksum covers the revision and the list's filters.
const CHECKSUM_LEN: usize = 8;

/// Makes the page token for a list that goes on after the key that was created at `last`.
#[must_use]
pub fn encode(query: &ListQuery, last: Revision) -> String {
    let revision = last.number().to_be_bytes();
    let mut bytes = [0; REVISION_LEN + CHECKSUM_LEN];
    bytes[..REVISION_LEN].copy_from_slice(&revision);
    bytes[REVISION_LEN..].copy_from_slice(&checksum(query, revision));
    BASE64URL_NOPAD.encode(&bytes)
}

/// Parses a page token that [`encode`] made for a query with the same filters.
pub fn decode(query: &ListQuery, text: &str) -> Result<Revision, InvalidPageToken> {
    if text.len() > 64 {
        return Err(InvalidPageToken);
    }
    let bytes = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| InvalidPageToken)?;
    let (revision, sum) = bytes.split_first_chunk().ok_or(InvalidPageToken)?;
    if sum != checksum(query, *revision) {
        return Err(InvalidPageToken);
    }
    Ok(Revision::from_number(i64::from_be_bytes(*revision)))
}

/// The checksum detects mistakes. It need not detect forgery, because a forged page token shows no
/// more than the same call without one.
fn checksum(query: &ListQuery, revision: [u8; REVISION_LEN]) -> [u8; CHECKSUM_LEN] {
    let filters = format!(
        "{}\n{:?}\n{:?}\n",
        query.account_id.as_str(),
        query.status,
        query.domain.as_ref().map(Domain::as_str),
    );
    let mut hasher = blake3::Hasher::new_derive_key("tosend.keys.v1 2026-11-24 page token");
    hasher.update(filters.as_bytes()).update(&revision);
    let full = hasher.finalize();
    *full.as_bytes().first_chunk().expect("32 bytes hold 8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{account::AccountId, key::Status, time::Timestamp};
    use proptest::prelude::*;

    fn query(account: &str, status: Option<Status>) -> ListQuery {
        ListQuery {
            account_id: AccountId::from_stored(account.to_owned()),
            status,
            domain: None,
            before: None,
            limit: 1,
            now: Timestamp::MAX,
        }
    }

    proptest! {
        #[test]
        fn a_page_token_reads_back_for_its_own_list_alone(number: i64) {
            let revision = Revision::from_number(number);
            let token = encode(&query("a", None), revision);
            prop_assert_eq!(decode(&query("a", None), &token), Ok(revision));
            prop_assert_eq!(decode(&query("b", None), &token), Err(InvalidPageToken));
            prop_assert_eq!(decode(&query("a", Some(Status::Active)), &token), Err(InvalidPageToken));
        }

        #[test]
        fn any_other_text_is_refused_without_a_panic(text: String) {
            prop_assert_eq!(decode(&query("a", None), &text), Err(InvalidPageToken));
        }
    }
}
