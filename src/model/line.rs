//! One line of visible text that people write: the name of a key, or a reason.
//!
//! Promises that a line looks as it is stored, and that a secret cannot hide in it.
//! Must never change a line, except for white space at its ends.

use crate::model::text::{ContainsSecret, is_control_or_format, refuse_secrets};
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        DefaultIgnorableCodePoint, Emoji, GeneralCategory, JoinControl, NoncharacterCodePoint,
        VariationSelector,
    },
};

/// A line of 1 to `MAX` characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<const MAX: usize>(String);

/// The text cannot be such a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// The text is only white space, or too long.
    #[error("must have 1 to {max} characters, not counting white space at its ends")]
    Length {
        /// The most characters.
        max: usize,
    },
    /// A line feed, for example, would let a text look like a second line of a list.
    #[error("contains a control or format character; use printable text on one line")]
    Control,
    /// It looks otherwise on each machine.
    #[error(
        "contains a character for private use, which looks otherwise on each machine; use others"
    )]
    PrivateUse,
    /// The text consists of joiners or of combining marks, for example.
    #[error("has no visible character; use printable text on one line")]
    Invisible,
    /// Somebody put a secret into the wrong field.
    #[error(transparent)]
    Secret(#[from] ContainsSecret),
}

impl<const MAX: usize> Line<MAX> {
    /// Parses a line. White space at its ends is removed.
    pub fn parse(text: &str) -> Result<Self, InvalidLine> {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.chars().nth(MAX).is_some() {
            return Err(InvalidLine::Length { max: MAX });
        }
        let untagged = without_emoji_tags(trimmed);
        if untagged.contains(is_hidden) {
            return Err(InvalidLine::Control);
        }
        if untagged.contains(has_no_common_shape) {
            return Err(InvalidLine::PrivateUse);
        }
        // Without the joiners and marks, because a secret with these in it is still easy to copy, and
        // because a mark alone is hardly seen.
        let unmarked = untagged
            .chars()
            .filter(|c| !has_no_width(*c) && !is_mark(*c));
        let unmarked: String = unmarked.collect();
        if unmarked.trim_matches(is_blank).is_empty() {
            return Err(InvalidLine::Invisible);
        }
        refuse_secrets(&unmarked)?;
        // Each tag encodes an ASCII character, which nobody sees.
        let tags: String = trimmed.chars().filter_map(character_of_tag).collect();
        refuse_secrets(&tags)?;
        Ok(Self(trimmed.to_owned()))
    }

    /// Takes back a line that a store has kept.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The line, without white space at its ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Ends an emoji tag sequence.
const TAG_END: char = '\u{e007f}';

/// The tags of one emoji. Those of a flag are the code of a region, of at most 6 characters.
const MAX_TAGS: usize = 30;

/// The text without the tags of its emoji tag sequences (UTS #51, ED-14a), such as the flag of Wales: an
/// emoji, tags, and the end of the tags. Other tags are left, and are format characters.
fn without_emoji_tags(text: &str) -> String {
    let mut untagged = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c| character_of_tag(c).is_some()) {
        let (before, tagged) = rest.split_at(at);
        let after = tagged.trim_start_matches(|c| character_of_tag(c).is_some());
        let tags = &tagged[..tagged.len() - after.len()];
        untagged.push_str(before);
        let is_short = tags.chars().count() <= MAX_TAGS;
        rest = match after.strip_prefix(TAG_END) {
            Some(after) if is_short && ends_with_emoji(before) => after,
            _ => {
                untagged.push_str(tags);
                after
            }
        };
    }
    untagged.push_str(rest);
    untagged
}

/// The ASCII character that a tag encodes, or `None` if the character is no tag.
fn character_of_tag(tag: char) -> Option<char> {
    const SPACE: u32 = 0xe0020;
    const TILDE: u32 = 0xe007e;
    let code = u32::from(tag);
    let is_tag = (SPACE..=TILDE).contains(&code);
    is_tag.then(|| char::from_u32(code - 0xe0000)).flatten()
}

/// Whether a text ends with an emoji, which may have a variation selector. Digits count as emoji in
/// Unicode because of keycaps, but carry no tags.
fn ends_with_emoji(text: &str) -> bool {
    let text = text.strip_suffix('\u{fe0f}').unwrap_or(text);
    let is_emoji = |c: char| !c.is_ascii() && CodePointSetData::new::<Emoji>().contains(c);
    text.ends_with(is_emoji)
}

/// Whether a character is a control or format character, or another one that is not shown.
/// Characters that [`has_no_width`] covers are not among these.
fn is_hidden(character: char) -> bool {
    let is_ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character);
    (is_ignorable || is_control_or_format(character)) && !has_no_width(character)
}

/// Whether a character has a shape only in some fonts, and another one in each: it is for private use, or no character
/// at all.
///
/// A code point that is not assigned yet may be the next year's letter or emoji, so it is none of these.
fn has_no_common_shape(character: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    let is_no_character = CodePointSetData::new::<NoncharacterCodePoint>().contains(character);
    category == GeneralCategory::PrivateUse || is_no_character
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
    use crate::model::key::KeyName;
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
            Err(InvalidLine::Length { max: 100 })
        );
        assert_eq!(
            KeyName::parse(" \t "),
            Err(InvalidLine::Length { max: 100 })
        );
        assert_eq!(KeyName::parse("a\nb"), Err(InvalidLine::Control));
        assert_eq!(KeyName::parse("a\u{202e}b"), Err(InvalidLine::Control));
    }

    #[test]
    fn a_name_is_seen_and_reads_as_it_is_written() {
        for hidden in
            "\u{200b}\u{2060}\u{feff}\u{ad}\u{200e}\u{200f}\u{61c}\u{3164}\u{e0041}".chars()
        {
            let name = format!("a{hidden}b");
            assert_eq!(KeyName::parse(&name), Err(InvalidLine::Control));
        }
        for blank in ["\u{200d}", "\u{200c} \u{fe0f}", "\u{2800}"] {
            assert_eq!(KeyName::parse(blank), Err(InvalidLine::Invisible));
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
    fn only_controls_formats_line_ends_and_private_use_are_refused_by_their_category() {
        let allowed = "\
            Aaǅʰא\
            \u{301}\u{903}\u{20dd}\
            1Ⅳ½\
            _-()«»!\
            +€^©\
            \u{a0}\
            \u{378}";
        for character in allowed.chars() {
            let name = format!("a{character}b");
            assert!(KeyName::parse(&name).is_ok(), "{name:?}");
        }
        // Cc, Cf, Zl and Zp.
        for character in "\u{7f}\u{85}\u{600}\u{110bd}\u{2028}\u{2029}".chars() {
            assert_refused_within_a_name(character);
        }
        // Co, and what is no character.
        for character in "\u{e000}\u{f8ff}\u{100000}\u{fdd0}\u{ffff}".chars() {
            let name = format!("a{character}b");
            assert_eq!(
                KeyName::parse(&name),
                Err(InvalidLine::PrivateUse),
                "{name:?}"
            );
        }
    }

    fn assert_refused_within_a_name(character: char) {
        let name = format!("a{character}b");
        let refused = Err(InvalidLine::Control);
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
            assert_eq!(alone, Err(InvalidLine::Invisible), "{character:?}");
        }
    }

    #[test]
    fn marks_alone_are_no_name() {
        for marks in ["\u{301}", "\u{20dd}\u{489}", "\u{302} \u{200d}"] {
            let refused = KeyName::parse(marks);
            assert_eq!(refused, Err(InvalidLine::Invisible), "{marks:?}");
        }
        assert!(KeyName::parse("e\u{301}").is_ok());
    }

    fn tags(text: &str) -> String {
        let tag = |c| char::from_u32(0xe0000 + u32::from(c)).expect("a tag");
        text.chars().map(tag).collect()
    }

    #[test]
    fn emoji_have_tags_only_in_well_formed_sequences() {
        let (end, joiner) = (TAG_END, '\u{200d}');
        let flag = |code| format!("🏴{}{end}", tags(code));
        let (england, wales) = (flag("gbeng"), flag("gbwls"));
        for name in [
            england.clone(),
            flag("gbsct"),
            flag("ustx"),
            format!("mailer {england}"),
            format!("{england}{wales}"),
            format!("{england} and {wales}"),
            format!("{england}{joiner}❤"),
            format!("❤\u{fe0f}{}{end}", tags("x")),
            format!("👋🏽{}{end}", tags("x")),
            format!("👋{}{end}", tags(&"x".repeat(MAX_TAGS))),
            "👨\u{200d}👩\u{200d}👧\u{200d}👦".to_owned(),
            "🏴\u{200d}☠\u{fe0f}".to_owned(),
            "🇪🇺 1\u{fe0f}\u{20e3}".to_owned(),
        ] {
            assert_eq!(KeyName::parse(&name).map(|n| n.0), Ok(name));
        }
        let gbeng = tags("gbeng");
        for name in [
            gbeng.clone(),
            format!("a{gbeng}"),
            format!("🏴{gbeng}"),
            format!("🏴{gbeng}b{end}"),
            format!("🏴{end}"),
            format!("a{end}"),
            format!("{gbeng}{end}"),
            format!("a{gbeng}{end}"),
            format!("1{gbeng}{end}"),
            format!("1\u{fe0f}\u{20e3}{gbeng}{end}"),
            format!("🏴 {gbeng}{end}"),
            format!("🏴{joiner}{gbeng}{end}"),
            format!("{england}{gbeng}"),
            format!("{england}{gbeng}{end}"),
            format!("{england}{end}"),
            format!("🏴{gbeng}🏴{gbeng}{end}"),
            format!("🏴\u{e0001}{gbeng}{end}"),
            format!("👋{}{end}", tags(&"x".repeat(MAX_TAGS + 1))),
        ] {
            let refused = Err(InvalidLine::Control);
            assert_eq!(KeyName::parse(&name), refused, "{name:?}");
        }
    }

    #[test]
    fn no_secret_hides_in_tags() {
        let token = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
        for len in [10, MAX_TAGS] {
            let parts = token.as_bytes().chunks(len).map(|part| {
                let part = std::str::from_utf8(part).expect("ASCII");
                format!("🏴{}{TAG_END}", tags(part))
            });
            let name: String = parts.collect();
            assert_eq!(
                KeyName::parse(&name),
                Err(InvalidLine::Secret(ContainsSecret::Token))
            );
        }
    }
}
