//! Tells a token from a bearer secret, so that neither is sent in the place of the other: the service, and whatever
//! stands before it, would learn a secret that is not meant for it.
//!
//! No error shows the text.

use super::failure::Failure;
use crate::model::{caller_name::SECRET_PREFIX, token::PREFIX};

/// Refuses the bearer secret of a caller where a token is expected, which comes from this source.
pub(super) fn refuse_bearer_secret(text: &str, source: &str) -> Result<(), Failure> {
    if is_bearer_secret(text) {
        return Err(Failure::Misused(format!(
            "{source} holds the bearer secret of a caller ({SECRET_PREFIX}…), and not the token of a key \
             ({PREFIX}…), so it was not sent"
        )));
    }
    Ok(())
}

/// Whether a text is the bearer secret of a caller.
pub(super) fn is_bearer_secret(text: &str) -> bool {
    begins_with(text, SECRET_PREFIX)
}

/// Refuses a token where the bearer secret of a caller is expected, which comes from this source.
pub(super) fn refuse_token(text: &str, source: &str) -> Result<(), Failure> {
    let text = text.trim();
    if begins_with(text, PREFIX) {
        return Err(Failure::Misused(format!(
            "{source} holds the token of a key ({PREFIX}…), and not the bearer secret of a caller \
             ({SECRET_PREFIX}…), so it was not sent; `keyservice credential new` makes such a secret"
        )));
    }
    Ok(())
}

fn begins_with(text: &str, prefix: &str) -> bool {
    let start = text.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}
