//! The rules that stored text follows: the characters of an identifier, and no secret in any text.
//!
//! Stored text is listed, printed and logged. So it must never contain a token or a bearer secret.

use super::{
    caller_name,
    token::{self, Token},
};
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};

/// The text contains a secret, or most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContainsSecret {
    /// Somebody put a token into the wrong field.
    #[error("contains a token; a token belongs only in a field that is named `token`")]
    Token,
    /// Somebody put a caller's bearer secret into the wrong field.
    #[error(
        "contains a bearer secret; a bearer secret belongs only in the header `authorization`, and \
         only its caller may keep it"
    )]
    Bearer,
}

/// What each kind of secret begins with.
const PREFIXES: [(&str, ContainsSecret); 2] = [
    (token::PREFIX, ContainsSecret::Token),
    (caller_name::SECRET_PREFIX, ContainsSecret::Bearer),
];

/// Text with this many characters of a secret's body counts as the secret. A token's preview shows two
/// of them, then `…` and four more.
const TELLING_LEN: usize = 20;

/// The most bytes of any text that is kept: a reason of 200 characters takes them.
const MAX_SEARCHED: usize = 800;

/// Refuses text that contains a secret, even if the secret is cut off or has a typing error: a wrong
/// letter, one character too many, or the prefix in capitals. Without its prefix, a token is known by its
/// checksum if all of it is there. A bearer secret has none, and cannot be told from an identifier.
///
/// Whoever calls this has checked the text's length: the search takes a microsecond for some bytes, and a
/// message may have half a million.
///
/// # Errors
/// Which kind of secret it is. The error does not repeat the text.
pub fn refuse_secrets(text: &str) -> Result<(), ContainsSecret> {
    debug_assert!(text.len() <= MAX_SEARCHED, "its length is checked first");
    for (prefix, found) in PREFIXES {
        if bodies(text, prefix).any(is_telling) {
            return Err(found);
        }
    }
    if Token::is_within(text) {
        return Err(ContainsSecret::Token);
    }
    Ok(())
}

/// Whether a terminal does not show a character as it is: a control character, one that separates lines
/// or changes their direction, or one without a shape.
#[must_use]
pub fn is_unprintable(character: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    let is_shapeless = matches!(
        category,
        GeneralCategory::Unassigned | GeneralCategory::PrivateUse
    );
    is_shapeless || is_control_or_format(character)
}

/// Whether a character is drawn onto the one before it, or as nothing at all, though it is a letter to Unicode.
pub(super) fn is_mark_or_blank(character: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    let is_mark = matches!(
        category,
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    );
    is_mark || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// Whether a character controls how text is shown, and is no text itself: it ends a line, say, or changes
/// the direction.
pub(super) fn is_control_or_format(character: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// What follows on each occurrence of the prefix, in capitals or not. A phone may capitalise the first
/// letter of a text.
fn bodies<'a>(text: &'a str, prefix: &str) -> impl Iterator<Item = &'a str> {
    let starts = text.as_bytes().windows(prefix.len()).enumerate();
    let starts = starts.filter(|(_, start)| start.eq_ignore_ascii_case(prefix.as_bytes()));
    starts.map(|(at, start)| &text[at + start.len()..])
}

/// Whether a body goes on for long enough. One character that is not part of any secret is passed over,
/// because a secret with one wrong character is easy to repair.
fn is_telling(body: &str) -> bool {
    let (mut telling, mut is_repaired) = (0, false);
    for character in body.chars() {
        if character.is_ascii_alphanumeric() {
            telling += 1;
        } else if is_repaired {
            break;
        } else {
            is_repaired = true;
        }
        if telling == TELLING_LEN {
            return true;
        }
    }
    false
}

/// Whether the text is letters, digits and `-_.:@/`, with a letter or digit first.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@/".contains(&byte))
}

/// A word that was given for the name of a flag or a parameter, to be repeated in an error. What does not
/// look like such a name may be a password, so `…` stands in its place.
pub(crate) fn shown_name(word: &str) -> &str {
    // No name of ours or of libpq's is longer.
    const MAX_LEN: usize = 30;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || b"-_".contains(&byte);
    let is_name = word.len() <= MAX_LEN && word.bytes().all(is_plain);
    if is_name { word } else { "…" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        account::{AccountId, InvalidAccountId},
        caller_name::{CallerName, InvalidCallerName},
        domain::{Domain, InvalidDomain},
        key::{InvalidLabels, InvalidReason, InvalidRequestId, KeyName, Labels, Reason, RequestId},
        line::InvalidLine,
    };
    use proptest::prelude::*;

    const SECRETS: [(&str, ContainsSecret); 2] = [
        (
            "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s",
            ContainsSecret::Token,
        ),
        (
            "tsop_KeyServiceExampleSecretDoNotUse0123456789ab",
            ContainsSecret::Bearer,
        ),
    ];

    /// Secrets as people spoil them when they copy them by hand.
    fn spoiled(secret: &str) -> Vec<String> {
        let (prefix, body) = secret.split_once('_').expect("a prefix");
        let cut_off = &body[..TELLING_LEN];
        let mistyped = body.replace("Example", "Exbmple");
        let wrong_checksum = format!("{}0", &body[..body.len() - 1]);
        let capital = format!("{}{}", prefix[..1].to_uppercase(), &prefix[1..]);
        vec![
            secret.to_owned(),
            format!("{prefix}_{cut_off}"),
            format!("{prefix}_{mistyped}"),
            format!("{prefix}_{wrong_checksum}"),
            format!("{prefix}_{}-{}", &body[..7], &body[7..]),
            format!("{prefix}_{}-{}", &body[..7], &body[8..]),
            format!("{prefix}_-{body}"),
            format!("{capital}_{body}"),
            format!("{}_{body}", prefix.to_uppercase()),
            format!("{prefix}_x:{secret}"),
        ]
    }

    #[test]
    fn every_kept_text_refuses_every_secret_whole_or_spoiled_alone_or_within_more_text() {
        for (secret, found) in SECRETS {
            for spoiled in spoiled(secret) {
                for text in [spoiled.clone(), format!("acme/{spoiled}:1")] {
                    assert_eq!(AccountId::parse(text.clone()), Err(found.into()));
                    assert_eq!(RequestId::parse(text.clone()), Err(found.into()));
                    assert_eq!(KeyName::parse(&text), Err(found.into()));
                    if text.len() <= 64 {
                        assert_eq!(CallerName::parse(&text), Err(found.into()));
                        let filter = CallerName::parse_recorded(&text);
                        assert_eq!(filter, Err(found.into()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_before_it_is_searched_for_secrets() {
        for repeated in ["x", "ü", "\u{301}", "a/", SECRETS[0].0, SECRETS[1].0] {
            let long = repeated.repeat(100_000);
            let malformed = InvalidAccountId::Malformed;
            assert_eq!(AccountId::parse(long.clone()), Err(malformed));
            let malformed = InvalidRequestId::Malformed;
            assert_eq!(RequestId::parse(long.clone()), Err(malformed));
            let malformed = InvalidCallerName::Malformed;
            assert_eq!(CallerName::parse_recorded(&long), Err(malformed));
            let length = |max| Err(InvalidLine::Length { max });
            assert_eq!(KeyName::parse(&long).map(drop), length(100));
            let reason = Reason::parse(&long).map(drop);
            assert_eq!(reason, length(200).map_err(InvalidReason::Line));
            let label = |name: &str, value: &str| {
                let labels = [(name.to_owned(), value.to_owned())];
                Labels::parse(labels).map(drop)
            };
            assert_eq!(label(&long, ""), Err(InvalidLabels::Name));
            assert_eq!(label("a", &long), Err(InvalidLabels::Value));
            assert_eq!(Domain::parse(long).map(drop), Err(InvalidDomain::TooLong));
        }
    }

    #[test]
    fn a_name_hides_no_secret_between_characters_without_width() {
        for (secret, found) in SECRETS {
            for hidden in [
                "\u{200c}",
                "\u{200d}",
                "\u{fe0f}",
                "\u{e0100}",
                "\u{301}",
                "\u{20dd}",
            ] {
                // Behind every third letter, so that the name is not too long.
                let letters = secret.chars().zip([hidden, "", ""].into_iter().cycle());
                let mut name = String::new();
                for (letter, hidden) in letters {
                    name.push(letter);
                    name.push_str(hidden);
                }
                assert_eq!(KeyName::parse(&name), Err(found.into()), "{name:?}");
            }
            let spaced = secret.replace("Example", " Example");
            assert_eq!(KeyName::parse(&spaced), Err(found.into()));
        }
    }

    #[test]
    fn a_token_is_known_by_its_checksum_where_its_prefix_is_cut_off_or_mistyped() {
        let (token, found) = SECRETS[0];
        let body = &token[token::PREFIX.len()..];
        for text in [
            body.to_owned(),
            token[1..].to_owned(),
            format!("tsemd_{body}"),
            format!("tsend{body}"),
            format!("acme/{body}0"),
        ] {
            assert_eq!(RequestId::parse(text.clone()), Err(found.into()), "{text}");
        }
    }

    #[test]
    fn a_long_identifier_is_no_secret() {
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for id in [sha256, &"Az09".repeat(20), &"1".repeat(49)] {
            assert!(RequestId::parse(id.to_owned()).is_ok(), "{id}");
        }
    }

    #[test]
    fn text_about_secrets_is_no_secret() {
        for name in [
            "after tsend_Ke…Xm9s",
            "tsend_Ke…Xm9s,tsend_Ab…1234,tsop_",
            "every tsend_ token of the production mailers",
            "tsend_payments-service-production-eu",
            "tsop_ of dashboard",
            "TSOP_DASHBOARD-2",
        ] {
            assert!(KeyName::parse(name).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_secret_is_found_wherever_it_stands_and_whatever_one_character_became(
            which in 0..SECRETS.len(),
            before in "\\PC{0,20}",
            after in "\\PC{0,20}",
            at in any::<prop::sample::Index>(),
            wrong: char,
        ) {
            let (secret, found) = SECRETS[which];
            let (prefix, body) = secret.split_once('_').expect("a prefix");
            let body = body.chars().collect::<Vec<_>>();
            let mut mistyped = body.clone();
            mistyped[at.index(body.len())] = wrong;
            let mistyped: String = mistyped.into_iter().collect();
            for secret in [secret, &format!("{prefix}_{mistyped}")] {
                let text = format!("{before}{secret}{after}");
                prop_assert_eq!(refuse_secrets(&text), Err(found), "{:?}", text);
            }
        }

        #[test]
        fn as_much_as_a_preview_shows_and_more_is_allowed(which in 0..SECRETS.len(), len in 0..TELLING_LEN) {
            let (secret, _) = SECRETS[which];
            let (prefix, body) = secret.split_once('_').expect("a prefix");
            let shown = format!("{prefix}_{}", &body[..len]);
            prop_assert_eq!(refuse_secrets(&shown), Ok(()));
        }
    }
}
