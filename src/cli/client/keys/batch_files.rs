//! Reads the files of a batch, each with key ids or tokens, one a line.
//!
//! Must never repeat a line in an error, because any line may hold a token.

use crate::{
    cli::client::{
        failure::Failure, mistaken_secret::refuse_bearer_secret, printer::say,
        token_input::token_lines,
    },
    model::{key::KeyId, token::Token},
};
use std::{
    fs,
    io::{self, IsTerminal},
    path::Path,
};

/// The key ids in this file, if one is given. `-` is standard input.
pub(super) fn key_ids(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    lines(file, ids_of_stdin, |line, source| {
        let is_id = KeyId::parse(line).is_ok();
        if is_id {
            Ok(())
        } else {
            Err(wrong(source, "a key id"))
        }
    })
}

/// The tokens in this file, if one is given. `-` is standard input.
pub(super) fn tokens(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    lines(file, token_lines, |line, source| {
        refuse_bearer_secret(line, source)?;
        let is_token = Token::parse(line).is_ok();
        if is_token {
            Ok(())
        } else {
            Err(wrong(source, "a token"))
        }
    })
}

fn ids_of_stdin() -> io::Result<String> {
    if io::stdin().is_terminal() {
        say("Key ids, one a line; end with Ctrl-D:");
    }
    io::read_to_string(io::stdin())
}

/// The lines of a file that are not empty, of which there must be one. `check` learns where each stands.
fn lines(
    file: Option<&Path>,
    stdin: impl FnOnce() -> io::Result<String>,
    check: impl Fn(&str, &str) -> Result<(), Failure>,
) -> Result<Vec<String>, Failure> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let (text, source) = if file == Path::new("-") {
        (stdin(), "standard input".to_owned())
    } else {
        (fs::read_to_string(file), file.display().to_string())
    };
    let text =
        text.map_err(|error| Failure::Misused(format!("{source} cannot be read: {error}")))?;
    let mut lines = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if !line.is_empty() {
            check(line, &format!("{source}, line {}", at + 1))?;
            lines.push(line.to_owned());
        }
    }
    if lines.is_empty() {
        return Err(Failure::Misused(format!("{source} is empty")));
    }
    Ok(lines)
}

fn wrong(source: &str, place: &str) -> Failure {
    Failure::Misused(format!("{source}: not {place}"))
}
