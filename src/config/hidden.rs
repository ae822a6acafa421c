//! The text of a setting that may hold a password, a header or a key.
//!
//! Promises that nothing prints it: not `Debug`, not an error, not the log. The only way to it is
//! [`Hidden::expose`].

use std::{env, fmt};

/// A setting's text, without white space at its ends: text that comes from a file has a line's end.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The value of an environment variable. An empty one counts as unset.
    #[must_use]
    pub fn of_variable(name: &str) -> Option<Self> {
        let hidden = Self::new(&env::var_os(name)?.to_string_lossy());
        Some(hidden).filter(|hidden| !hidden.0.is_empty())
    }

    /// The text, to use and never to print.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_text_is_trimmed_and_not_shown() {
        let hidden = Hidden::new(" hunter2\n");
        assert_eq!(hidden.expose(), "hunter2");
        assert_eq!(format!("{hidden:?} {:?}", Some(&hidden)), "… Some(…)");
    }
}
