//! The domain of who a message is from.
//!
//! Promises that a text is read as one sender or refused: what two readers could take for different senders is
//! refused.
//! Must never repeat the text, which may hold anything.

use super::domain::{Domain, InvalidDomain};

/// The text names no sender's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSender {
    /// There is more than one address.
    #[error("names several addresses; give one")]
    Several,
    /// It is neither an address nor a domain.
    #[error("is no address; give `someone@example.com` or `Someone <someone@example.com>`")]
    Malformed,
    /// It is an address of something else than a domain.
    #[error("has a domain that {0}")]
    Domain(#[from] InvalidDomain),
}

/// What separates addresses, or ends a group of them.
const SEPARATORS: [char; 2] = [',', ';'];

/// What stands in an address or a name only between quotation marks.
const SPECIALS: [char; 10] = ['<', '>', '(', ')', '[', ']', ':', '\\', '"', '@'];

/// The domain of an address, which may stand behind a name as `Name <someone@example.com>`, or the domain that
/// the text is itself.
///
/// This takes less than RFC 5322 does: no group, no comment, no quoted local part, and no separator or `@` in a
/// name without quotation marks.
pub fn sending_domain(text: &str) -> Result<Domain, InvalidSender> {
    let text = text.trim_matches([' ', '\t']);
    if text.contains(char::is_control) {
        return Err(InvalidSender::Malformed);
    }
    let (address, is_bracketed) = match text.strip_suffix('>') {
        None => (text, false),
        Some(text) => (behind_name(text)?, true),
    };
    if address.contains(SEPARATORS) {
        return Err(InvalidSender::Several);
    }
    match address.rsplit_once('@') {
        None if is_bracketed => Err(InvalidSender::Malformed),
        None => Ok(Domain::parse(address.to_owned())?),
        Some((local, domain)) if is_local_part(local) => Ok(Domain::parse(domain.to_owned())?),
        Some((local, _)) if local.contains('@') => Err(InvalidSender::Several),
        Some(_) => Err(InvalidSender::Malformed),
    }
}

/// The address in `Name <address`.
fn behind_name(text: &str) -> Result<&str, InvalidSender> {
    let behind = if let Some(quoted) = text.strip_prefix('"') {
        let behind = behind_quote(quoted).ok_or(InvalidSender::Malformed)?;
        behind.trim_start_matches([' ', '\t'])
    } else {
        let at = text.find('<').ok_or(InvalidSender::Malformed)?;
        let (name, behind) = text.split_at(at);
        if name.contains(SEPARATORS) {
            return Err(InvalidSender::Several);
        }
        if name.contains(SPECIALS) {
            return Err(InvalidSender::Malformed);
        }
        behind
    };
    behind.strip_prefix('<').ok_or(InvalidSender::Malformed)
}

/// What stands behind the quotation mark that ends a quoted name.
fn behind_quote(quoted: &str) -> Option<&str> {
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some(&quoted[at + 1..]),
            '\\' => _ = characters.next(),
            _ => {}
        }
    }
    None
}

fn is_local_part(text: &str) -> bool {
    !text.is_empty() && !text.contains(SPECIALS) && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domain(text: &str) -> Result<String, InvalidSender> {
        sending_domain(text).map(|domain| domain.to_string())
    }

    #[test]
    fn an_address_with_or_without_a_name_has_the_domain_behind_its_at() {
        for text in [
            "example.com",
            "EXAMPLE.com.",
            "hello@example.com",
            " hello@Example.com\t",
            "<hello@example.com>",
            "Acme <hello@example.com>",
            "Acme<hello@example.com>",
            "Acmé GmbH & Co <hello+a.b@example.com>",
            "\"Doe, Jane\" <hello@example.com>",
            "\"a@b.example\" <hello@example.com>",
            r#""she said \"<hi>\"" <hello@example.com>"#,
            "\"\"<hello@example.com>",
        ] {
            assert_eq!(domain(text).as_deref(), Ok("example.com"), "{text}");
        }
        assert_eq!(
            domain("ü@bücher.example").as_deref(),
            Ok("xn--bcher-kva.example")
        );
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        use InvalidSender::{Malformed, Several};
        for (text, why) in [
            ("a@a.example, b@b.example", Several),
            ("a@a.example;b@b.example", Several),
            ("A <a@a.example>, B <b@b.example>", Several),
            ("Doe, Jane <hello@example.com>", Several),
            ("a@a.example@b.example", Several),
            ("<a@a.example>, <b@b.example>", Several),
            ("a@a.example <b@b.example>", Malformed),
            ("<a@a.example> <b@b.example>", Several),
            ("(<a@a.example>) <b@b.example>", Malformed),
            ("\"A\" B <hello@example.com>", Malformed),
            ("\"A <hello@example.com>", Malformed),
            ("\"A\\\" <hello@example.com>", Malformed),
            ("group: a@a.example", Malformed),
            ("Acme <example.com>", Malformed),
            ("Acme <hello@example.com", Malformed),
            ("hello@example.com>", Malformed),
            ("Acme <<hello@example.com>>", Malformed),
            ("\"a b\"@example.com", Malformed),
            ("a b@example.com", Malformed),
            ("@example.com", Malformed),
            ("a@example.com\r\nBcc: b@b.example", Malformed),
            ("a\0@example.com", Malformed),
        ] {
            assert_eq!(domain(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_domain_is_held_to_the_rules_for_all_domains() {
        for (text, why) in [
            ("", InvalidDomain::Empty),
            ("a@", InvalidDomain::Empty),
            ("a@[192.0.2.1]", InvalidDomain::Malformed),
            ("a@192.0.2.1", InvalidDomain::Numeric),
            ("a@*.example.com", InvalidDomain::Wildcard),
            ("a@example.com (comment)", InvalidDomain::Malformed),
            ("a@example.com＠b.example", InvalidDomain::Malformed),
        ] {
            assert_eq!(domain(text), Err(InvalidSender::Domain(why)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text: String) {
            let _ = domain(&text);
        }

        #[test]
        fn a_sender_has_one_at_outside_of_quotation_marks(text in "[a-b<>@\", .]{0,24}") {
            if sending_domain(&text).is_ok() {
                let unquoted = text.rsplit('"').next().expect("the last part");
                prop_assert!(unquoted.matches('@').count() <= 1, "{}", text);
            }
        }
    }
}
