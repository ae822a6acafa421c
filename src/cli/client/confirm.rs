//! Asks before something is done that cannot be undone, or that looks like a mistake.

use super::failure::Failure;
use crate::model::printable::printable;
use clap::Args;
use std::io::{self, IsTerminal, Write};

/// Consent that was given beforehand.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Consent {
    /// Do it without asking. Scripts need this.
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Consent {
    /// Asks on a terminal whether to do what cannot be undone. Fails unless the answer is yes.
    ///
    /// `what` is only made for a question. It is None if nothing would be changed. Where nobody can be asked,
    /// consent must have been given.
    pub(super) async fn obtain(
        self,
        what: impl AsyncFnOnce() -> Result<Option<String>, Failure>,
    ) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !can_ask() {
            return Err(Failure::Misused(
                "this cannot be undone; say --yes where nobody can be asked".to_owned(),
            ));
        }
        match what().await? {
            Some(what) => ask(&format!("{what} This cannot be undone.")),
            None => Ok(()),
        }
    }

    /// Asks whether something is meant that looks like a mistake.
    pub(in crate::cli) fn obtain_despite(self, doubt: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !can_ask() {
            return Err(Failure::Misused(format!(
                "{doubt} Nothing was changed. If this is meant, say --yes"
            )));
        }
        ask(doubt)
    }
}

fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn ask(question: &str) -> Result<(), Failure> {
    // Written at once: the answer comes after it.
    let question = format!("{} Go on? [y/N] ", printable(question));
    io::stderr().write_all(question.as_bytes()).ok();
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer).is_ok_and(|len| len == 0) {
        // After Ctrl-D, the question still stands on its line.
        io::stderr().write_all(b"\n").ok();
    }
    match answer.trim() {
        "y" | "Y" | "yes" | "Yes" => Ok(()),
        _ => Err(Failure::Refused("nothing was changed".to_owned())),
    }
}
