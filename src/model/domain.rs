//! The name of a sending domain, in its normal form.
//!
//! Promises that every [`Domain`] is normalised, so that equal domains have equal text.
//! Must never look up a domain in the network.

use idna::uts46::{AsciiDenyList, ErrorPolicy, Hyphens, ProcessingSuccess, Uts46};
use std::fmt;

/// A domain name in normal form: IDNA A-labels in lower case, without a dot at the end.
///
/// Each label has at most 63 octets, and the name has at most 253 (RFC 1035, section 2.3.4). Two
/// domains are the same if their text is the same. A subdomain is another domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain(String);

const MAX_LEN: usize = 253;
const MAX_LABEL_LEN: usize = 63;

/// The text is not a domain. Each variant says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomain {
    /// There is no label.
    #[error("is empty; give a domain such as `example.com`")]
    Empty,
    /// The text exceeds a limit of the DNS.
    #[error("is too long; a domain has at most 253 characters, and 63 between two dots")]
    TooLong,
    /// For example `user@example.com`.
    #[error("contains an `@`; give only the domain, the part of an address after the `@`")]
    Address,
    /// For example `*.example.com`.
    #[error(
        "contains a `*`; there are no wildcards, so give one domain; all names below it are verified \
         with it if it is added with include_subdomains"
    )]
    Wildcard,
    /// For example `192.0.2.1`.
    #[error("is an IP address or ends in a number; give a domain name")]
    Numeric,
    /// Something else is wrong.
    #[error(
        "is not a domain name; use letters, digits and hyphens, with single dots between the \
         parts, such as `mail.example.com`"
    )]
    Malformed,
}

impl Domain {
    /// Parses and normalises a domain by UTS #46 (non-transitional, STD3 rules). Text that differs
    /// from its normal form only in case or in a dot at the end is not copied.
    pub fn parse(mut text: String) -> Result<Self, InvalidDomain> {
        // This bounds the work below. No text of this length has a normal form of 253 octets, and no label in
        // ASCII has a shorter normal form.
        if text.len() > 4 * MAX_LEN || has_too_long_ascii_label(&text) {
            return Err(why_invalid(&text, InvalidDomain::TooLong));
        }
        // `idna` has a fast path for ASCII in lower case, which most domains in an Authorize are.
        text.make_ascii_lowercase();
        let mut ascii = to_ascii(text)?;
        // Not earlier, because UTS #46 maps other full stops, such as U+3002, to a dot.
        if ascii.ends_with('.') {
            ascii.pop();
        }
        if ascii.is_empty() {
            return Err(InvalidDomain::Empty);
        }
        if ascii.len() > MAX_LEN || ascii.split('.').any(|label| label.len() > MAX_LABEL_LEN) {
            return Err(InvalidDomain::TooLong);
        }
        if ascii.split('.').any(str::is_empty) {
            return Err(InvalidDomain::Malformed);
        }
        if ends_in_number(&ascii) {
            return Err(InvalidDomain::Numeric);
        }
        Ok(Self(ascii))
    }

    /// Takes back a domain that a store has kept. It was normalised when it was written. If it were
    /// parsed again, a change in IDNA's tables could make a key unreadable.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names above this one, from the nearest to the top-level domain.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        let dots = self.0.match_indices('.');
        dots.map(|(at, dot)| &self.0[at + dot.len()..])
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Normalises a text, whatever its length. A label that is too long is not encoded, because the time for that
/// grows with the square of its length.
fn to_ascii(text: String) -> Result<String, InvalidDomain> {
    let (mut ascii, mut is_too_long) = (String::new(), false);
    let processed = Uts46::new().process(
        text.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        ErrorPolicy::FailFast,
        |label, _, _| {
            // Each of its characters takes an octet at least.
            let is_label_too_long = label.len() > MAX_LABEL_LEN;
            is_too_long |= is_label_too_long;
            is_label_too_long
        },
        &mut ascii,
        None,
    );
    match processed {
        Ok(_) if is_too_long => Err(InvalidDomain::TooLong),
        Ok(ProcessingSuccess::Passthrough) => Ok(text),
        Ok(ProcessingSuccess::WroteToSink) => Ok(ascii),
        Err(_) => Err(why_invalid(&text, InvalidDomain::Malformed)),
    }
}

fn has_too_long_ascii_label(text: &str) -> bool {
    let is_too_long = |label: &str| label.len() > MAX_LABEL_LEN && label.is_ascii();
    text.len() > MAX_LABEL_LEN && text.split('.').any(is_too_long)
}

/// What is wrong with a text that is refused for this, unless it is a common mistake.
fn why_invalid(text: &str, otherwise: InvalidDomain) -> InvalidDomain {
    if text.contains('@') {
        return InvalidDomain::Address;
    }
    if text.contains('*') {
        return InvalidDomain::Wildcard;
    }
    otherwise
}

/// Whether the last label is a number, decimal or `0x…`. A URL parser takes such a name for an IPv4
/// address (WHATWG URL, "ends in a number"), and no top-level domain is a number.
fn ends_in_number(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<String, InvalidDomain> {
        Domain::parse(text.to_owned()).map(Domain::into_string)
    }

    #[test]
    fn spellings_of_one_domain_normalise_to_one_text() {
        for (spelling, normal) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com.", "example.com"),
            ("mail-1.example.co.uk", "mail-1.example.co.uk"),
            ("localhost", "localhost"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("example。com", "example.com"),
            ("ｅｘａｍｐｌｅ.com", "example.com"),
            ("faß.de", "xn--fa-hia.de"),
            ("3com.com", "3com.com"),
            ("example.0x4g", "example.0x4g"),
        ] {
            assert_eq!(parse(spelling).as_deref(), Ok(normal), "{spelling}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused_with_the_reason() {
        use InvalidDomain::{Address, Empty, Malformed, Numeric, TooLong, Wildcard};
        let long_label = format!("{}.com", "a".repeat(64));
        let long = format!("{}com", "abcdefg.".repeat(32));
        for (text, reason) in [
            ("", Empty),
            (".", Empty),
            ("。", Empty),
            ("..", Malformed),
            ("a..b", Malformed),
            (".example.com", Malformed),
            ("example.com..", Malformed),
            ("-a.com", Malformed),
            ("a-.com", Malformed),
            ("exa mple.com", Malformed),
            (" example.com", Malformed),
            ("under_score.com", Malformed),
            ("https://example.com", Malformed),
            ("example.com:25", Malformed),
            ("exam\0ple.com", Malformed),
            ("xn--a.com", Malformed),
            ("xn--.com", Malformed),
            ("someone@example.com", Address),
            ("*.example.com", Wildcard),
            ("192.0.2.1", Numeric),
            ("example.1", Numeric),
            ("１９２.0.2.1", Numeric),
            ("example.0x4", Numeric),
            ("EXAMPLE.0X4F.", Numeric),
            ("0x", Numeric),
            ("bücher.0xff", Numeric),
            (&long_label, TooLong),
            (&long, TooLong),
            (&format!("{}.com", "ü".repeat(64)), TooLong),
            (&format!("someone@{long_label}"), Address),
            (&format!("{}@", "a".repeat(2000)), Address),
        ] {
            assert_eq!(parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_a_domain_if_its_normal_form_is_short_enough() {
        let (composed, decomposed) = ("ế".repeat(50), "e\u{302}\u{301}".repeat(50));
        let hidden = format!("{}.com", "a\u{ad}".repeat(63));
        let domain = parse(&composed).expect("a domain");
        assert!(domain.len() <= MAX_LABEL_LEN, "{domain}");
        assert_eq!(parse(&decomposed), Ok(domain));
        assert_eq!(parse(&hidden), Ok(format!("{}.com", "a".repeat(63))));
    }

    proptest! {
        /// As `idna` itself says, which encodes labels of any length.
        #[test]
        fn every_domain_is_what_idna_makes_of_it(text in "(\\PC{0,70}|[a-z]{60,66}|[üéa\u{301}\u{ad}]{50,90})([.。]\\PC{0,9})?") {
            let (deny, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
            let lower = text.to_ascii_lowercase();
            let length = idna::uts46::DnsLength::VerifyAllowRootDot;
            let ascii = Uts46::new().to_ascii(lower.as_bytes(), deny, hyphens, length).ok();
            let ascii = ascii.map(|it| it.strip_suffix('.').unwrap_or(&it).to_owned());
            let ascii = ascii.filter(|it| !ends_in_number(it));
            prop_assert_eq!(parse(&text).ok(), ascii);
        }
    }

    #[test]
    fn a_subdomain_is_another_domain() {
        assert_ne!(parse("example.com"), parse("mail.example.com"));
    }

    #[test]
    fn the_parents_of_a_domain_are_the_names_above_it() {
        let domain = Domain::parse("a.b.example.com".to_owned()).expect("a domain");
        let parents: Vec<_> = domain.parents().collect();
        assert_eq!(parents, ["b.example.com", "example.com", "com"]);
        let top = Domain::parse("localhost".to_owned()).expect("a domain");
        assert_eq!(top.parents().next(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn normalising_twice_changes_nothing(text in "[a-zA-Z0-9üß。.-]{1,40}|\\PC{1,30}") {
            if let Ok(normal) = parse(&text) {
                prop_assert_eq!(parse(&normal), Ok(normal.clone()));
                prop_assert!(normal.len() <= MAX_LEN);
                prop_assert!(normal.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'));
            }
        }

        #[test]
        fn plain_text_is_kept_but_for_its_case(text in "[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}(\\.[a-z0-9]{1,8}){0,2}\\.[a-z]{2,8}") {
            prop_assert_eq!(parse(&text), Ok(text.clone()));
            prop_assert_eq!(parse(&text.to_ascii_uppercase()), Ok(text));
        }
    }
}
