//! What people call a caller.

use super::text::{HoldsToken, free_of_tokens, is_identifier};

/// What every secret of a caller begins with, by which secret scanners find one.
pub(crate) const SECRET_PREFIX: &str = "tsop_";

/// Stands for whoever calls a server that asks nobody who he is.
const ANYONE: &str = "anyone";

/// Stands for the service itself.
const SERVICE: &str = "keyservice";

/// Stands for whoever is not in the credentials file.
const UNKNOWN: &str = "unknown";

/// What people call a caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallerName(String);

/// The text is no name for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCallerName {
    /// Too long, or other characters.
    #[error(
        "is not a caller's name; use 1 to 64 letters, digits and -_.:@/ with a letter or digit first"
    )]
    Malformed,
    /// Its records would look as if somebody else had made them.
    #[error("is a name that stands for somebody else in audit records; choose another")]
    Reserved,
    /// A secret in the wrong place.
    #[error("holds a bearer secret, which must stand nowhere but with its caller")]
    Secret,
    /// A token in the wrong place.
    #[error(transparent)]
    Token(#[from] HoldsToken),
}

impl CallerName {
    /// Reads a caller's name; nothing is trimmed or folded.
    pub fn parse(text: &str) -> Result<Self, InvalidCallerName> {
        if text.len() > 64 || !is_identifier(text) {
            return Err(InvalidCallerName::Malformed);
        }
        if text.contains(SECRET_PREFIX) {
            return Err(InvalidCallerName::Secret);
        }
        free_of_tokens(text)?;
        if [ANYONE, SERVICE, UNKNOWN].contains(&text) {
            return Err(InvalidCallerName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// Whoever calls a server that asks nobody who he is.
    #[must_use]
    pub(crate) fn anyone() -> Self {
        Self(ANYONE.to_owned())
    }

    /// The service itself, which writes revocations again that a store has lost.
    #[must_use]
    pub fn service() -> Self {
        Self(SERVICE.to_owned())
    }

    /// Whoever is not in the credentials file.
    #[must_use]
    pub fn unknown() -> Self {
        Self(UNKNOWN.to_owned())
    }

    /// Takes back a name that a store kept.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_text_that_holds_no_secret() {
        assert!(CallerName::parse("dashboard.eu-1").is_ok());
        for wrong in ["", "-a", "a b", "ä", "a=b", &"a".repeat(65)] {
            assert_eq!(CallerName::parse(wrong), Err(InvalidCallerName::Malformed));
        }
        for reserved in ["anyone", "keyservice", "unknown"] {
            let refused = CallerName::parse(reserved);
            assert_eq!(refused, Err(InvalidCallerName::Reserved));
        }
        assert!(CallerName::parse("keyservice-ui").is_ok());
        let secret = format!("{SECRET_PREFIX}abc");
        let refused = CallerName::parse(&secret);
        assert_eq!(refused, Err(InvalidCallerName::Secret));
    }
}
