//! The page token: text that tells a List where to go on, and means nothing to its holder.
//!
//! Promises that a page token is accepted only for a list with the same filters, and that it holds
//! nothing but the id of a key on the page that it came with.
//! Must never be trusted for anything but where to go on. The account comes from the request.

use crate::{
    grpc::page_token::{open, seal},
    model::key::{KeyId, filter::KeyFilter},
};
use uuid::Uuid;

/// The text is not a page token of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a page token of this list; use the next_page_token of the previous response with the \
     same account and filters, or leave it empty to begin again"
)]
pub struct InvalidPageToken;

const KIND: &str = "tosend.keys.v1 2026-11-25 page token";

/// More characters than a page token has.
const MAX_LEN: usize = 64;

/// Makes the page token for a list that goes on after the key `last`. The key's place among all writes
/// would say how many keys the whole platform creates and revokes, so the page token has the key's id.
#[must_use]
pub fn encode(filter: &KeyFilter, last: KeyId) -> String {
    seal(KIND, &fingerprint(filter), last.as_uuid().as_bytes())
}

/// Parses a page token that [`encode`] made for the same filter.
pub fn decode(filter: &KeyFilter, text: &str) -> Result<KeyId, InvalidPageToken> {
    if text.len() > MAX_LEN {
        return Err(InvalidPageToken);
    }
    let id = open(KIND, &fingerprint(filter), text).ok_or(InvalidPageToken)?;
    let id = Uuid::from_slice(&id).map_err(|_| InvalidPageToken)?;
    Ok(KeyId::from_uuid(id))
}

/// Whatever a filter has, so that none of it can be forgotten here.
fn fingerprint(filter: &KeyFilter) -> String {
    format!("{filter:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{account::AccountId, key::Status};
    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;

    fn query(account: &str, status: Option<Status>) -> KeyFilter {
        KeyFilter {
            account_id: Some(AccountId::from_stored(account.to_owned())),
            status,
            ..KeyFilter::default()
        }
    }

    #[test]
    fn a_page_token_from_before_it_held_a_key_id_is_refused() {
        let revision = 7_i64.to_be_bytes();
        let mut hasher = blake3::Hasher::new_derive_key("tosend.keys.v1 2026-11-24 page token");
        hasher.update(b"a\nNone\nNone\n").update(&revision);
        let checksum = hasher.finalize();
        let old = [&revision, &checksum.as_bytes()[..8]].concat();
        let old = BASE64URL_NOPAD.encode(&old);
        assert_eq!(decode(&query("a", None), &old), Err(InvalidPageToken));
    }

    proptest! {
        #[test]
        fn a_page_token_reads_back_for_its_own_list_alone(number: u128) {
            let id = KeyId::from_uuid(Uuid::from_u128(number));
            let token = encode(&query("a", None), id);
            prop_assert_eq!(decode(&query("a", None), &token), Ok(id));
            prop_assert_eq!(decode(&query("b", None), &token), Err(InvalidPageToken));
            prop_assert_eq!(decode(&query("a", Some(Status::Active)), &token), Err(InvalidPageToken));
        }

        #[test]
        fn any_other_text_is_refused_without_a_panic(text: String) {
            prop_assert_eq!(decode(&query("a", None), &text), Err(InvalidPageToken));
        }
    }
}
