//! Owns what people call a key: one line of text that can be seen.
//! Promises that a name reads as it is written, and that what it shows is no token.
//! Must never change a name, but for white space at its ends.

use super::{HoldsToken, free_of_tokens};

/// What people call a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// The text is no name for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyName {
    /// Only white space, or more than 100 characters.
    #[error("must have 1 to 100 characters, not counting white space at its ends")]
    Length,
    /// A line feed, say, which would let a name forge a line of a list.
    #[error("holds a control or format character; use printable text on one line")]
    Control,
    /// Joiners alone, say.
    #[error("has no visible character; use printable text on one line")]
    Invisible,
    /// A token in the wrong field.
    #[error(transparent)]
    Token(#[from] HoldsToken),
}

impl KeyName {
    /// Trims and checks.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyName> {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.chars().nth(100).is_some() {
            return Err(InvalidKeyName::Length);
        }
        if trimmed.contains(is_unprintable) {
            return Err(InvalidKeyName::Control);
        }
        let visible: String = trimmed.chars().filter(|c| !has_no_width(*c)).collect();
        if visible.trim_matches(is_blank).is_empty() {
            return Err(InvalidKeyName::Invisible);
        }
        // Whoever copies the name copies the token, joiners or not.
        free_of_tokens(&visible)?;
        Ok(Self(trimmed.to_owned()))
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

/// Control characters, line and paragraph separators, and what is invisible or reorders text:
/// Unicode's format characters (Cf) and default-ignorable code points, but those that
/// [`has_no_width`] takes.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{AD}'
                | '\u{34F}'
                | '\u{600}'..='\u{605}'
                | '\u{61C}'
                | '\u{6DD}'
                | '\u{70F}'
                | '\u{890}'..='\u{891}'
                | '\u{8E2}'
                | '\u{115F}'..='\u{1160}'
                | '\u{17B4}'..='\u{17B5}'
                | '\u{180E}'
                | '\u{200B}'
                | '\u{200E}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{3164}'
                | '\u{FEFF}'
                | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFFB}'
                | '\u{110BD}'
                | '\u{110CD}'
                | '\u{13430}'..='\u{1343F}'
                | '\u{1BCA0}'..='\u{1BCA3}'
                | '\u{1D173}'..='\u{1D17A}'
                | '\u{E0000}'..='\u{E00FF}'
                | '\u{E01F0}'..='\u{E0FFF}'
        )
}

/// What shapes the characters beside it, as some scripts and emoji need: joiners and variation
/// selectors.
fn has_no_width(character: char) -> bool {
    matches!(
        character,
        '\u{180B}'..='\u{180D}'
            | '\u{180F}'
            | '\u{200C}'..='\u{200D}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{E0100}'..='\u{E01EF}'
    )
}

/// White space, and the Braille pattern without a dot, which is none to Unicode.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{2800}'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_name_or_refused_without_a_panic(text: String) {
            if let Ok(name) = KeyName::parse(&text) {
                prop_assert_eq!(KeyName::parse(name.as_str()), Ok(name.clone()));
                prop_assert!((1..=100).contains(&name.as_str().chars().count()));
            }
        }
    }

    #[test]
    fn names_are_trimmed_counted_in_characters_and_kept_on_one_line() {
        assert_eq!(
            KeyName::parse("  Büro\u{a0}").map(|n| n.0).as_deref(),
            Ok("Büro")
        );
        assert!(KeyName::parse(&"ü".repeat(100)).is_ok());
        assert_eq!(
            KeyName::parse(&"ü".repeat(101)),
            Err(InvalidKeyName::Length)
        );
        assert_eq!(KeyName::parse(" \t "), Err(InvalidKeyName::Length));
        assert_eq!(KeyName::parse("a\nb"), Err(InvalidKeyName::Control));
        assert_eq!(KeyName::parse("a\u{202e}b"), Err(InvalidKeyName::Control));
    }

    #[test]
    fn a_name_is_seen_and_reads_as_it_is_written() {
        for hidden in
            "\u{200b}\u{2060}\u{feff}\u{ad}\u{200e}\u{200f}\u{61c}\u{3164}\u{e0041}".chars()
        {
            let name = format!("a{hidden}b");
            assert_eq!(KeyName::parse(&name), Err(InvalidKeyName::Control));
        }
        for blank in ["\u{200d}", "\u{200c} \u{fe0f}", "\u{2800}"] {
            assert_eq!(KeyName::parse(blank), Err(InvalidKeyName::Invisible));
        }
        for name in [
            "می\u{200c}خواهم",
            "👩\u{200d}💻",
            "❤\u{fe0f}",
            "葛\u{e0100}城",
        ] {
            assert_eq!(KeyName::parse(name).map(|n| n.0).as_deref(), Ok(name));
        }
    }
}
