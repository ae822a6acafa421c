//! Text as it is printed: on a terminal, in a line of the log, in a line of JSON.
//!
//! Promises that no text moves the cursor, ends a line, changes the order of what follows, or looks like
//! another by what nobody sees. The text may
//! come from a server, from a file, or from anybody who may insert records.

use super::text::{is_mark_or_blank, is_unprintable};
use std::{borrow::Cow, fmt::Write as _};

/// Writes out the characters that a terminal does not show as they are: `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    replace_unprintable(text, |shown, character| {
        shown.extend(character.escape_unicode());
    })
}

/// The same for a line of JSON, which has such characters only in strings: `\u001b`.
#[must_use]
pub fn printable_json(line: &str) -> Cow<'_, str> {
    replace_unprintable(line, |shown, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(shown, "\\u{unit:04x}").expect("a string takes everything");
        }
    })
}

fn replace_unprintable(text: &str, write_out: impl Fn(&mut String, char)) -> Cow<'_, str> {
    // Most text is such text, and its characters need not be looked up.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unprintable(character) || is_mark_or_blank(character) {
            write_out(&mut shown, character);
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        let text = "a\u{1b}[2Jb\u{9b}c\u{202e}d\u{7f}é\n\u{e0001}語";
        assert_eq!(
            printable_json(text),
            r"a\u001b[2Jb\u009bc\u202ed\u007fé\u000a\udb40\udc01語"
        );
        assert_eq!(
            printable(text),
            r"a\u{1b}[2Jb\u{9b}c\u{202e}d\u{7f}é\u{a}\u{e0001}語"
        );
        assert_eq!(printable("a ~\u{a0}b"), "a ~\u{a0}b");
        let unseen = "a\u{301}b\u{3164}c\u{fe0f}d\u{20dd}e\u{ffa0}";
        assert_eq!(
            printable(unseen),
            r"a\u{301}b\u{3164}c\u{fe0f}d\u{20dd}e\u{ffa0}"
        );
    }
}
