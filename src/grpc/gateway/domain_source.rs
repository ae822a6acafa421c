//! Where the sending domain of an HTTP request stands, as its route says.
//!
//! Owns the name and the form of that setting.
//! Promises that no request is judged by a setting which cannot be read.

use super::json::Pointer;

/// The name in `context_extensions`.
pub(super) const DOMAIN_FROM: &str = "keyservice.domain-from";

/// Names that begin with this are this service's own.
const OWN: &[u8] = b"keyservice";

/// Where the sending domain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DomainSource<'a> {
    /// Nowhere: only the token is judged.
    Nowhere,
    /// In the header of this name.
    Header(&'a str),
    /// In the body, at this pointer.
    Body(Pointer<'a>),
}

/// The setting cannot be read. Each variant goes on where the name of the setting ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidSource {
    #[error("is neither `header:NAME`, `body:/JSON/POINTER` nor `none`")]
    Kind,
    #[error("names no header that can hold a domain behind `header:`")]
    Header,
    #[error("has no JSON pointer with 1 to 16 names behind `body:`, such as `body:/from/email`")]
    Pointer,
}

impl<'a> DomainSource<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, InvalidSource> {
        if text == "none" {
            return Ok(Self::Nowhere);
        }
        if let Some(name) = text.strip_prefix("header:") {
            return if is_header_for_domains(name) {
                Ok(Self::Header(name))
            } else {
                Err(InvalidSource::Header)
            };
        }
        let pointer = text.strip_prefix("body:").ok_or(InvalidSource::Kind)?;
        let pointer = Pointer::parse(pointer).map_err(|_| InvalidSource::Pointer)?;
        Ok(Self::Body(pointer))
    }
}

/// Whether a name in `context_extensions` is meant for this service, however it is spelled.
pub(super) fn is_own(name: &str) -> bool {
    let start = name.as_bytes().get(..OWN.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(OWN))
}

fn is_header_for_domains(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token) && !name.eq_ignore_ascii_case("authorization")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_header_a_place_in_the_body_or_nowhere() {
        let header = DomainSource::parse("header:X-Sending-Domain");
        assert_eq!(header, Ok(DomainSource::Header("X-Sending-Domain")));
        let pointer = Pointer::parse("/from/email").expect("a pointer");
        let body = DomainSource::parse("body:/from/email");
        assert_eq!(body, Ok(DomainSource::Body(pointer)));
        assert_eq!(DomainSource::parse("none"), Ok(DomainSource::Nowhere));
    }

    #[test]
    fn any_other_text_is_no_source() {
        use InvalidSource::{Header, Kind, Pointer};
        for (text, why) in [
            ("", Kind),
            ("None", Kind),
            ("none ", Kind),
            ("Header:x", Kind),
            ("x-sending-domain", Kind),
            ("/from", Kind),
            ("header:", Header),
            ("header: x", Header),
            ("header::authority", Header),
            ("header:Authorization", Header),
            ("body:", Pointer),
            ("body:from", Pointer),
            ("body:/a~", Pointer),
        ] {
            assert_eq!(DomainSource::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_misspelled_name_is_still_meant_for_this_service() {
        for name in [
            DOMAIN_FROM,
            "keyservice.domain_from",
            "KeyService",
            "keyservice-x",
        ] {
            assert!(is_own(name), "{name}");
        }
        for name in ["", "key", "domain-from", "other.keyservice", "virtual_host"] {
            assert!(!is_own(name), "{name}");
        }
    }
}
