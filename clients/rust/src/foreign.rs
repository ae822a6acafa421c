//! Makes the text of a server or a proxy fit for an error.
//!
//! A server, or a proxy before it, may say anything: lines that look like a log's own, what a terminal obeys, and
//! also the very token that it was asked about.

/// In characters, so that it does not fill a log.
const LONGEST: usize = 500;

/// What tokens and bearer secrets begin with.
const SECRETS: [&str; 2] = ["tsend_", "tsop_"];

/// How many characters behind that a preview shows, such as `tsend_ab…wxyz`.
const PREVIEWED: usize = 2;

/// One line of printable characters, of bounded length, without tokens and secrets.
pub(crate) fn tame(text: &str) -> String {
    let printable: String = text
        .chars()
        .map(|letter| if is_printable(letter) { letter } else { ' ' })
        .collect();
    let words: Vec<_> = printable.split_whitespace().collect();
    hide_secrets(&words.join(" "))
        .chars()
        .take(LONGEST)
        .collect()
}

/// Neither a control character, nor one that changes how others are shown.
fn is_printable(letter: char) -> bool {
    // These are escaped for another reason.
    matches!(letter, '"' | '\'' | '\\') || letter.escape_debug().len() == 1
}

fn hide_secrets(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    let next = |rest: &str| {
        let ends = SECRETS
            .iter()
            .filter_map(|begin| Some(rest.find(begin)? + begin.len()));
        ends.min()
    };
    while let Some(end) = next(rest) {
        shown.push_str(&rest[..end]);
        rest = &rest[end..];
        let behind = rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric());
        let hidden = &rest[..rest.len() - behind.len()];
        if hidden.len() <= PREVIEWED && behind.starts_with('…') {
            shown.push_str(hidden);
        } else if !hidden.is_empty() {
            shown.push('…');
        }
        rest = behind;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, tame};

    #[test]
    fn the_text_of_others_is_one_line_without_secrets() {
        for (said, shown) in [
            ("the server's\r\n\town words", "the server's own words"),
            ("like tsend_ab…wxyz", "like tsend_ab…wxyz"),
            ("not tsend_abc…wxyz", "not tsend_……wxyz"),
            (
                "\u{1b}[31mred\u{9b}31m\u{202e}\u{2028}end",
                "[31mred 31m end",
            ),
            (r#""é" \ 'ß'"#, r#""é" \ 'ß'"#),
            ("Bearer tsop_0aZ, tsend_0aZ.", "Bearer tsop_…, tsend_…."),
            ("it begins with tsend_", "it begins with tsend_"),
        ] {
            assert_eq!(tame(said), shown);
        }
        assert_eq!(tame(&"é".repeat(10_000)).chars().count(), LONGEST);
    }
}
