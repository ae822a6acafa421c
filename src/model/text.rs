//! What texts that are kept have in common: their characters, and that no token stands in them.

use super::token;

/// The text holds a token, or much of one, which must not be kept, listed and logged as this text
/// will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("holds a token; a token belongs in no field but `token`")]
pub struct HoldsToken;

pub(crate) fn free_of_tokens(text: &str) -> Result<(), HoldsToken> {
    if token::stands_in(text) {
        Err(HoldsToken)
    } else {
        Ok(())
    }
}

/// Whether the text is letters, digits and `-_.:@/`, with a letter or digit first.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@/".contains(&byte))
}
