//! Reads a token from a file or from standard input, never from an argument: every user of the machine sees
//! those.

use super::failure::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read, Stdin, Write},
    path::Path,
};

/// A token has 55 characters. What is longer is none, and is sent so that the service says so.
const LONGEST: u64 = 1000;

/// Reads the token in a file of one line. `-` is standard input.
pub(super) fn read_token(file: &Path) -> Result<String, Failure> {
    let (read, source) = if file == Path::new("-") {
        (from_stdin(), "standard input".to_owned())
    } else {
        let read = File::open(file).and_then(|file| one_line(BufReader::new(file)));
        (read, file.display().to_string())
    };
    match read {
        Ok(Some(token)) => Ok(token),
        Ok(None) => Err(Failure::Misused(format!(
            "{source} does not hold one token, and nothing else"
        ))),
        Err(error) => Err(Failure::Misused(format!(
            "{source} cannot be read: {error}"
        ))),
    }
}

fn from_stdin() -> io::Result<Option<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return one_line(stdin.lock());
    }
    let _unseen = Unseen::begin(&stdin);
    io::stderr().write_all(b"Token: ").ok();
    let mut typed = String::new();
    stdin.lock().take(LONGEST + 1).read_line(&mut typed)?;
    Ok(token(&typed))
}

/// The only line that is not empty.
fn one_line(read: impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    read.take(LONGEST + 1).read_to_string(&mut text)?;
    Ok(token(&text))
}

fn token(text: &str) -> Option<String> {
    let token = text.trim();
    let is_one = !token.is_empty() && !token.contains(char::is_whitespace);
    is_one.then(|| token.to_owned())
}

/// While it lives, a terminal does not show what is typed.
struct Unseen<'a> {
    terminal: &'a Stdin,
    before: Option<Termios>,
}

impl<'a> Unseen<'a> {
    fn begin(terminal: &'a Stdin) -> Self {
        let before = tcgetattr(terminal).ok();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ECHO);
            tcsetattr(terminal, OptionalActions::Now, &modes).ok();
        }
        Self { terminal, before }
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            tcsetattr(self.terminal, OptionalActions::Now, before).ok();
            io::stderr().write_all(b"\n").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_token_and_nothing_else() {
        assert_eq!(token("\n tsend_abc \r\n"), Some("tsend_abc".to_owned()));
        for wrong in ["", "\n", "tsend_a\ntsend_b", "TOKEN tsend_a"] {
            assert_eq!(token(wrong), None, "{wrong:?}");
        }
    }
}
