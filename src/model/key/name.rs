//! The name that people give to a key: one line of visible text.
//!
//! Promises that a name looks as it is stored, and that a secret cannot hide in it.
//! Must never change a name, except for white space at its ends.

use crate::model::text::{ContainsSecret, refuse_secrets};
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory, JoinControl, VariationSelector},
};

/// The name of a key, which several keys may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// The text cannot be the name of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyName {
    /// The text is only white space, or has more than 100 characters.
    #[error("must have 1 to 100 characters, not counting white space at its ends")]
    Length,
    /// A line feed, for example, would let a name look like a second line of a list.
    #[error("contains a control or format character; use printable text on one line")]
    Control,
    /// The text consists of joiners, for example.
    #[error("has no visible character; use printable text on one line")]
    Invisible,
    /// Somebody put a secret into the wrong field.
    #[error(transparent)]
    Secret(#[from] ContainsSecret),
}

impl KeyName {
    /// Parses a name. White space at its ends is removed.
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
        // Without the joiners and marks, because a secret with these in it is still easy to copy.
        let unmarked: String = visible.chars().filter(|c| !is_mark(*c)).collect();
        refuse_secrets(&unmarked)?;
        Ok(Self(trimmed.to_owned()))
    }

    /// Takes back a name that a store has kept.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The name, without white space at its ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character is a control character, ends a line, is invisible or reorders text.
/// Characters that [`has_no_width`] covers are not among these.
fn is_unprintable(character: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    let is_hidden = matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character);
    is_hidden && !has_no_width(character)
}

/// Whether a character is a joiner or a variation selector, which changes how its neighbours look.
/// Some scripts and emoji need these.
fn has_no_width(character: char) -> bool {
    CodePointSetData::new::<JoinControl>().contains(character)
        || CodePointSetData::new::<VariationSelector>().contains(character)
}

/// Whether a character is drawn over or around the one before it, and takes no room of its own.
fn is_mark(character: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    matches!(
        category,
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
    )
}

/// Whether a character is white space or the Braille pattern without dots, which Unicode does not
/// count as white space.
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

    /// One character of each general category that a `char` can have.
    #[test]
    fn only_controls_formats_and_line_ends_are_refused_by_their_category() {
        let allowed = "\
            Aaǅʰא\
            \u{301}\u{903}\u{20dd}\
            1Ⅳ½\
            _-()«»!\
            +€^©\
            \u{a0}\
            \u{e000}\u{378}";
        for character in allowed.chars() {
            let name = format!("a{character}b");
            assert!(KeyName::parse(&name).is_ok(), "{name:?}");
        }
        // Cc, Cf, Zl and Zp.
        for character in "\u{7f}\u{85}\u{600}\u{110bd}\u{2028}\u{2029}".chars() {
            assert_refused_within_a_name(character);
        }
    }

    fn assert_refused_within_a_name(character: char) {
        let name = format!("a{character}b");
        let refused = Err(InvalidKeyName::Control);
        assert_eq!(KeyName::parse(&name), refused, "{name:?}");
    }

    /// A Hangul filler is a letter, a grapheme joiner a mark, and some code points are not
    /// assigned.
    #[test]
    fn what_unicode_says_to_ignore_is_refused_whatever_its_category() {
        for character in "\u{115f}\u{ffa0}\u{34f}\u{17b4}\u{2065}\u{fff0}\u{e0000}\u{e0fff}".chars()
        {
            assert_refused_within_a_name(character);
        }
    }

    #[test]
    fn every_joiner_and_variation_selector_may_stand_in_a_name_and_is_no_name() {
        let joiners = "\u{200c}\u{200d}\u{180b}\u{180d}\u{180f}\u{fe00}\u{fe0f}\u{e0100}\u{e01ef}";
        for character in joiners.chars() {
            let name = format!("a{character}b");
            assert!(KeyName::parse(&name).is_ok(), "{name:?}");
            let alone = KeyName::parse(&character.to_string());
            assert_eq!(alone, Err(InvalidKeyName::Invisible), "{character:?}");
        }
    }
}
