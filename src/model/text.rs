//! The rules that stored text follows: the characters of an identifier, and no token in any text.
//!
//! Stored text is listed, printed and logged. So it must never contain a token.

use super::token;

/// The text contains a token, or most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("contains a token; a token belongs only in a field that is named `token`")]
pub struct ContainsToken;

pub(super) fn refuse_token(text: &str) -> Result<(), ContainsToken> {
    if token::is_in(text) {
        Err(ContainsToken)
    } else {
        Ok(())
    }
}

/// Whether the text is letters, digits and `-_.:@/`, with a letter or digit first.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        account::AccountId,
        key::{KeyName, RequestId},
    };

    #[test]
    fn stored_text_contains_no_token() {
        const TOKEN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
        let owned = || format!("acme/{TOKEN}");
        assert_eq!(AccountId::parse(owned()), Err(ContainsToken.into()));
        assert_eq!(RequestId::parse(owned()), Err(ContainsToken.into()));
        assert_eq!(KeyName::parse(&owned()), Err(ContainsToken.into()));
        let joined = TOKEN
            .replace("abc", "a\u{200d}bc")
            .replace('_', "\u{200c}_");
        assert_eq!(KeyName::parse(&joined), Err(ContainsToken.into()));
        let mistyped = TOKEN.replace("abc", "abd");
        assert_eq!(KeyName::parse(&mistyped), Err(ContainsToken.into()));
        assert!(KeyName::parse("after tsend_Ke…Xm9s").is_ok());
    }
}
