//! Why a key was revoked, or why a key or an account is suspended.
//!
//! Promises that no caller gives the reason that the service gives itself, nor one that reads like it.

use crate::model::{
    caller_name::CallerName,
    line::{InvalidLine, Line},
};

/// The service has suspended a key or an account itself, because the store has lost a change of it.
const LOST_WRITE: &str = "LOST_WRITE";

/// A reason, which is written for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(Line<200>);

/// The text cannot be a reason that a caller gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReason {
    /// It is no such line.
    #[error(transparent)]
    Line(#[from] InvalidLine),
    /// People would take it for the service's own.
    #[error("is, or reads like, LOST_WRITE, which only the service itself gives; use other words")]
    Reserved,
}

impl Reason {
    /// Parses a caller's reason. White space at its ends is removed.
    pub fn parse(text: &str) -> Result<Self, InvalidReason> {
        let line = Line::parse(text)?;
        if reads_like_lost_write(line.as_str()) {
            return Err(InvalidReason::Reserved);
        }
        Ok(Self(line))
    }

    /// The reason of a suspension that stands for a lost write. What was lost is not known in full: an admin
    /// looks at the key, puts it right and resumes it.
    pub(crate) fn lost_write() -> Self {
        Self::from_stored(LOST_WRITE.to_owned())
    }

    /// The reason of a suspension that was lost, and that a replay of the log has written again. Nothing on record
    /// says why it was made at first.
    pub(crate) fn replayed(revision: i64, caller: &CallerName) -> Self {
        let caller = caller.as_str();
        Self::from_stored(format!(
            "Repeated by keyservice replay: write {revision}, by {caller}"
        ))
    }

    /// Takes back a reason that a store has kept.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(Line::from_stored(text))
    }

    /// The reason, without white space at its ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Whether people may take the text for `LOST_WRITE`. Letters of other alphabets, of which many look like Latin
/// ones, stand for any letter. So a text without one Latin letter counts only if it has the `_` too, which nobody
/// writes between words.
fn reads_like_lost_write(text: &str) -> bool {
    let letters = |text: &str| -> Vec<char> {
        let letters = text.chars().filter(|it| it.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let (letters, own) = (letters(text), letters(LOST_WRITE));
    let pairs = || letters.iter().zip(&own);
    let has_an_own_letter = pairs().any(|(letter, own)| letter == own);
    letters.len() == own.len()
        && pairs().all(|(letter, own)| looks_like(*letter, *own))
        && (has_an_own_letter || text.contains('_'))
}

fn looks_like(letter: char, own: char) -> bool {
    const DIGITS: [(char, char); 6] = [
        ('0', 'o'),
        ('1', 'i'),
        ('1', 'l'),
        ('3', 'e'),
        ('5', 's'),
        ('7', 't'),
    ];
    letter == own || !letter.is_ascii() || DIGITS.contains(&(letter, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_reason_does_not_read_like_the_services_own() {
        for text in [
            "LOST_WRITE",
            " lost_write\t",
            "Lost-Write!",
            "L\u{200d}OST_WRITE",
            "LOST WRITE",
            "L0ST_WR1TE",
            // In the place of O, a letter that is Cyrillic, and one that is Greek.
            "L\u{41e}ST_WRITE",
            "L\u{39f}ST WRITE",
            // Cherokee, fullwidth and mathematical letters.
            "\u{13de}\u{13be}\u{13da}\u{13a2}_\u{13d4}\u{13a1}\u{13c6}\u{13a2}\u{13ac}",
            "\u{ff2c}\u{ff2f}\u{ff33}\u{ff34}_\u{ff37}\u{ff32}\u{ff29}\u{ff34}\u{ff25}",
            "LOST_\u{1d416}RITE",
        ] {
            assert_eq!(
                Reason::parse(text),
                Err(InvalidReason::Reserved),
                "{text:?}"
            );
        }
        for text in [
            "a lost write was put right",
            "LOST_WRITES",
            "abuse",
            "L12345678",
            "case_1234",
            "нарушение",
            "брак двери",
        ] {
            assert_eq!(
                Reason::parse(text).map(|it| it.as_str().to_owned()),
                Ok(text.to_owned())
            );
        }
        let invisible = Err(InvalidReason::Line(InvalidLine::Invisible));
        assert_eq!(Reason::parse("\u{301}"), invisible);
    }
}
