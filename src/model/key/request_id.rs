//! The request id: a caller's own name for one Create, which makes it safe to send the call again.

use crate::model::text::{ContainsSecret, refuse_secrets};

/// The name that a caller gave to one Create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

/// The text is not a request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequestId {
    /// The length or a character is wrong.
    #[error("must be 1 to 128 visible ASCII characters, such as a random UUID")]
    Malformed,
    /// Somebody put a secret into the wrong field.
    #[error(transparent)]
    Secret(#[from] ContainsSecret),
}

impl RequestId {
    /// Parses a request id. White space is not trimmed, and case matters.
    pub fn parse(text: String) -> Result<Self, InvalidRequestId> {
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=128).contains(&text.len()) || !is_visible(&text) {
            return Err(InvalidRequestId::Malformed);
        }
        refuse_secrets(&text)?;
        Ok(Self(text))
    }

    /// The id as the caller chose it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
