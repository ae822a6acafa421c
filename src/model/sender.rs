//! The domain of who a message is from.
//!
//! Promises that a text is read as one sender or refused: what two readers could take for different senders is
//! refused.
//! Must never repeat the text, which may hold anything.

use super::domain::{Domain, InvalidDomain};
use icu_normalizer::ComposingNormalizerBorrowed;
use idna::punycode;
use std::borrow::Cow;

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
    /// Its domain is one name by one version of IDNA, and another by another.
    #[error("has a domain that programs read in different ways; give its ASCII form, `xn--…`")]
    AmbiguousDomain,
}

/// What separates addresses, or ends a group of them.
const SEPARATORS: [char; 2] = [',', ';'];

/// What stands in an address or a name only between quotation marks.
const SPECIALS: [char; 10] = ['<', '>', '(', ')', '[', ']', ':', '\\', '"', '@'];

/// What makes an address of a part of a name, for a reader that looks for addresses by a pattern.
const OF_ADDRESSES: [char; 3] = ['<', '>', '@'];

/// The domain of an address, which may stand behind a name as `Name <someone@example.com>`, or the domain that
/// the text is itself.
///
/// This takes less than RFC 5322 does: no group, no comment, no quoted local part, no `<`, `>` or `@` in a name,
/// and no separator in a name without quotation marks. Nor does it take an encoded word (RFC 2047), which some
/// readers decode before they look for the address.
pub fn sending_domain(text: &str) -> Result<Domain, InvalidSender> {
    let text = text.trim_matches([' ', '\t']);
    if text.contains(ends_line) || text.contains("=?") {
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
        None => unambiguous(address),
        Some((local, domain)) if is_local_part(local) => unambiguous(domain),
        Some((local, _)) if local.contains('@') => Err(InvalidSender::Several),
        Some(_) => Err(InvalidSender::Malformed),
    }
}

/// Whether a reader may end a line here. Python does at U+2028 and U+2029.
fn ends_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// The address in `Name <address`.
fn behind_name(text: &str) -> Result<&str, InvalidSender> {
    let (name, behind) = if let Some(quoted) = text.strip_prefix('"') {
        let (name, behind) = split_quoted(quoted).ok_or(InvalidSender::Malformed)?;
        (name, behind.trim_start_matches([' ', '\t']))
    } else {
        let at = text.find('<').ok_or(InvalidSender::Malformed)?;
        let (name, behind) = text.split_at(at);
        if name.contains(SEPARATORS) {
            return Err(InvalidSender::Several);
        }
        if name.contains(SPECIALS) {
            return Err(InvalidSender::Malformed);
        }
        (name, behind)
    };
    if plain(name).contains(OF_ADDRESSES) {
        return Err(InvalidSender::Malformed);
    }
    behind.strip_prefix('<').ok_or(InvalidSender::Malformed)
}

/// A quoted name, and what stands behind the quotation mark that ends it.
fn split_quoted(quoted: &str) -> Option<(&str, &str)> {
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((&quoted[..at], &quoted[at + 1..])),
            '\\' => _ = characters.next(),
            _ => {}
        }
    }
    None
}

fn is_local_part(text: &str) -> bool {
    let text = plain(text);
    let is_special = |it: char| SPECIALS.contains(&it) || SEPARATORS.contains(&it);
    !text.is_empty() && !text.contains(is_special) && !text.contains(char::is_whitespace)
}

/// The text as a reader has it that replaces compatibility forms first, such as `＠` by `@` (NFKC).
fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    ComposingNormalizerBorrowed::new_nfkc().normalize(text)
}

/// What IDNA 2003 replaces or leaves out, and IDNA 2008 keeps: the deviations of UTS #46, section 7, and U+1806.
const DEVIATIONS: [char; 5] = ['ß', 'ς', '\u{200c}', '\u{200d}', '\u{1806}'];

/// The domain, if whoever sends for this text finds the same name. What programs make of characters beyond ASCII
/// depends on their version of IDNA and of Unicode, and some only encode them. So those must stand in their normal
/// form, but for old capitals.
fn unambiguous(text: &str) -> Result<Domain, InvalidSender> {
    let domain = Domain::parse(text.to_owned())?;
    if text.is_ascii() || is_nearly_normal(text, &domain) {
        Ok(domain)
    } else {
        Err(InvalidSender::AmbiguousDomain)
    }
}

/// Whether a text becomes this domain by nothing but lower case and Punycode.
fn is_nearly_normal(text: &str, domain: &Domain) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let normal = domain.as_str().split('.');
    !text.contains(is_new_capital) && labels.map(encoded).eq(normal.map(|it| Some(it.to_owned())))
}

/// A label in lower case, and in Punycode if it is not in ASCII.
fn encoded(label: &str) -> Option<String> {
    let lower = label.to_lowercase();
    if lower.is_ascii() {
        return Some(lower);
    }
    let code = (!lower.contains(DEVIATIONS)).then(|| punycode::encode_str(&lower));
    Some(format!("xn--{}", code??))
}

/// Whether a character may be a capital for which older versions of Unicode, such as that of IDNA 2003, have no
/// small letter.
fn is_new_capital(character: char) -> bool {
    let is_old = matches!(
        character,
        ..'\u{220}' | '\u{386}'..='\u{3ab}' | '\u{400}'..='\u{4bf}' | '\u{1e00}'..='\u{1eff}'
    );
    !is_old && !character.to_lowercase().eq([character])
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
            r#""she said \"hi\"" <hello@example.com>"#,
            "株式会社（公式） <hello@example.com>",
            "ü.नमस्ते@example.com",
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
            (r#""x\" <a@a.example>" <b@b.example>"#, Malformed),
            ("\"<a@a.example>\" <b@b.example>", Malformed),
            ("\"a@a.example\" <b@b.example>", Malformed),
            ("a＠a.example <b@b.example>", Malformed),
            ("\"a﹫a.example\" <b@b.example>", Malformed),
            ("＜a＞ <b@b.example>", Malformed),
            ("=?utf-8?q?a=40a.example=3E=20?=@b.example", Malformed),
            ("=?utf-8?q?a=40a.example=2C?= <b@b.example>", Malformed),
            ("\"=?utf-8?q?a=40a.example=2C?=\" <b@b.example>", Malformed),
            ("a＠a.example@b.example", Malformed),
            ("a，b@b.example", Malformed),
            ("a；b@b.example", Malformed),
            ("a＜b@b.example", Malformed),
            ("（a）b@b.example", Malformed),
            ("a\u{3000}b@b.example", Malformed),
            ("A\u{2028}B <b@b.example>", Malformed),
            ("a@example.com\r\nBcc: b@b.example", Malformed),
            ("a\0@example.com", Malformed),
        ] {
            assert_eq!(domain(text), Err(why), "{text}");
        }
    }

    #[test]
    fn an_international_domain_is_taken_only_where_all_versions_of_idna_find_the_same_name() {
        for (text, normal) in [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.Example.", "xn--bcher-kva.example"),
            (
                "xn--bcher-kva.Bücher.example",
                "xn--bcher-kva.xn--bcher-kva.example",
            ),
            ("δοκιμή.example", "xn--jxalpdlp.example"),
            ("ДОМ.РФ", "xn--d1aqf.xn--p1ai"),
            ("例え.jp", "xn--r8jz45g.jp"),
            ("परीक्षा.example", "xn--11b5bs3a9aj6g.example"),
            // Who writes this means the one name that it is.
            ("xn--fa-hia.de", "xn--fa-hia.de"),
        ] {
            assert_eq!(
                domain(&format!("a@{text}")).as_deref(),
                Ok(normal),
                "{text}"
            );
        }
        for text in [
            "faß.de",
            "FA\u{1e9e}.de",
            "βόλος.example",
            "ΒΌΛΟΣ.example",
            "ශ්\u{200d}ර.example",
            "نامه\u{200c}ای.example",
            "a\u{1806}b.example",
            "ex\u{1160}ample.com",
            "exam\u{ad}ple.com",
            "ｅｘａｍｐｌｅ.com",
            "example。com",
            "bu\u{308}cher.example",
            "\u{10a0}.example",
            "\u{4c0}a.example",
        ] {
            let read = domain(&format!("a@{text}"));
            assert_eq!(read, Err(InvalidSender::AmbiguousDomain), "{text}");
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
