//! The name of a caller, as it stands in the credentials file, in logs and in audit records.
//!
//! Promises that no caller in the credentials file has a reserved name. Audit records use reserved names
//! for others, such as the service itself.

use super::text::{ContainsSecret, is_identifier, refuse_secrets};
use std::fmt;

/// Every bearer secret begins with this text, so that secret scanners find it.
pub(crate) const SECRET_PREFIX: &str = "tsop_";

const ANYONE: &str = "anyone";
const SERVICE: &str = "keyservice";
const UNKNOWN: &str = "unknown";

/// Begins the names of writes that `keyservice replay` has made again.
pub(crate) const REPLAY: &str = "replay:";

/// The name of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallerName(String);

/// The text cannot be the name of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCallerName {
    /// The length or a character is wrong.
    #[error(
        "is not a caller's name; use 1 to 64 letters, digits and -_.:@/ with a letter or digit first"
    )]
    Malformed,
    /// The caller's audit records would look as if somebody else had called.
    #[error("means somebody else in audit records; choose another name")]
    Reserved,
    /// Somebody put a secret in the wrong place.
    #[error(transparent)]
    Secret(#[from] ContainsSecret),
}

impl CallerName {
    /// Parses a caller's name. White space is not trimmed, and case matters.
    pub fn parse(text: &str) -> Result<Self, InvalidCallerName> {
        let name = Self::parse_recorded(text)?;
        if [ANYONE, SERVICE, UNKNOWN].contains(&text) || text.starts_with(REPLAY) {
            return Err(InvalidCallerName::Reserved);
        }
        Ok(name)
    }

    /// Parses a name as audit records have it, which may be one that the service reserves for itself.
    pub(crate) fn parse_recorded(text: &str) -> Result<Self, InvalidCallerName> {
        if text.len() > 64 || !is_identifier(text) {
            return Err(InvalidCallerName::Malformed);
        }
        refuse_secrets(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Everybody who calls a server that has no credentials file.
    pub(crate) fn anyone() -> Self {
        Self(ANYONE.to_owned())
    }

    /// This service, which revokes keys again whose revocation the store has lost.
    #[must_use]
    pub fn service() -> Self {
        Self(SERVICE.to_owned())
    }

    /// A replay, which makes a write again that a restored store has lost. `original` says which.
    #[must_use]
    pub fn replay(original: impl fmt::Display) -> Self {
        Self(format!("{REPLAY}{original}"))
    }

    /// Everybody who is not in the credentials file.
    pub(crate) fn unknown() -> Self {
        Self(UNKNOWN.to_owned())
    }

    /// Takes back a name that a store has kept.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The name as the operator wrote it.
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
        for reserved in [
            "anyone",
            "keyservice",
            "unknown",
            "replay:7@2030-01-31T15:00:00.000000Z",
        ] {
            let refused = CallerName::parse(reserved);
            assert_eq!(refused, Err(InvalidCallerName::Reserved));
        }
        assert!(CallerName::parse("keyservice-ui").is_ok());
        for recorded in ["anyone", "keyservice", "unknown", "dashboard"] {
            assert!(CallerName::parse_recorded(recorded).is_ok());
        }
    }
}
