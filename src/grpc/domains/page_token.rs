//! The page token of a list of domains: the last domain of the page, which its reader has seen.
//!
//! Promises that a page token is accepted only for the list of the same account.
//! Must never be trusted for anything but where to go on. The account comes from the request.

use crate::{
    grpc::page_token::{open, seal},
    model::{account::AccountId, domain::Domain},
};

/// The text is not a page token of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a page token of this list; use the next_page_token of the previous response with the \
     same account_id, or leave it empty to begin again"
)]
pub(super) struct InvalidPageToken;

const KIND: &str = "tosend.keys.v1 2026-11-25 domain page token";

/// As many characters as the longest domain needs.
const MAX_LEN: usize = 400;

/// Makes the page token for a list that goes on after the domain `last`.
pub(super) fn encode(account_id: &AccountId, last: &Domain) -> String {
    seal(KIND, &list_of(account_id), last.as_str().as_bytes())
}

/// Parses a page token that [`encode`] made for the same account.
pub(super) fn decode(account_id: &AccountId, text: &str) -> Result<Domain, InvalidPageToken> {
    if text.len() > MAX_LEN {
        return Err(InvalidPageToken);
    }
    let last = open(KIND, &list_of(account_id), text).ok_or(InvalidPageToken)?;
    let last = String::from_utf8(last).map_err(|_| InvalidPageToken)?;
    // Anybody can seal what is no domain. The store must not see it.
    Domain::parse(last).map_err(|_| InvalidPageToken)
}

fn list_of(account_id: &AccountId) -> String {
    format!("{}\n", account_id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(name: &str) -> AccountId {
        AccountId::from_stored(name.to_owned())
    }

    proptest! {
        #[test]
        fn a_page_token_reads_back_for_its_own_list_alone(name in "[a-z]{1,60}(\\.[a-z]{1,60}){0,3}") {
            let last = Domain::from_stored(name);
            let token = encode(&account("a"), &last);
            prop_assert!(token.len() <= MAX_LEN);
            prop_assert_eq!(decode(&account("a"), &token), Ok(last));
            prop_assert_eq!(decode(&account("b"), &token), Err(InvalidPageToken));
        }

        #[test]
        fn a_sealed_text_that_is_no_domain_is_refused(text in "[a-z]{0,5}[\\x00-\\x20*@/]{1,3}[a-z]{1,5}") {
            let sealed = encode(&account("a"), &Domain::from_stored(text));
            prop_assert_eq!(decode(&account("a"), &sealed), Err(InvalidPageToken));
        }

        #[test]
        fn any_other_text_is_refused_without_a_panic(text: String) {
            prop_assert_eq!(decode(&account("a"), &text), Err(InvalidPageToken));
        }
    }
}
