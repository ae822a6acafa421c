//! Reads the files of a batch, each with key ids or tokens, one a line.
//!
//! Must never repeat a line in an error, because any line may hold a token.

use crate::{
    cli::client::{
        failure::Failure, mistaken_secret::is_bearer_secret, printer::say, token_input::token_lines,
    },
    model::{caller_name::SECRET_PREFIX, key::KeyId, token::Token},
};
use std::{
    fs,
    io::{self, IsTerminal},
    path::Path,
};
use tosend_keyservice::proto::batch_revoke_request::Keys;

/// How many lines an error or a summary names.
const MOST_NAMED: usize = 20;

/// The keys that files name.
#[derive(Debug)]
pub(super) struct GivenKeys {
    pub(super) keys: Keys,
    ids: Lines,
    tokens: Lines,
}

impl GivenKeys {
    /// Reads these files, of which one must be given. `-` is standard input.
    pub(super) fn read(ids: Option<&Path>, tokens: Option<&Path>) -> Result<Self, Failure> {
        let is_id = |line: &str| KeyId::parse(line).is_ok();
        let is_token = |line: &str| Token::parse(line).is_ok();
        let ids = ids.map(|file| Lines::read(file, ids_of_stdin, "a key id", is_id));
        let mut ids = ids.transpose()?.unwrap_or_default();
        let tokens = tokens.map(|file| Lines::read(file, token_lines, "a token", is_token));
        let mut tokens = tokens.transpose()?.unwrap_or_default();
        Ok(Self {
            keys: Keys {
                key_ids: std::mem::take(&mut ids.texts),
                tokens: std::mem::take(&mut tokens.texts),
            },
            ids,
            tokens,
        })
    }

    /// Where those stand that the service did not find. It counts from 0, and the tokens come after the key ids.
    pub(super) fn places(&self, not_found: &[i32]) -> String {
        let places = not_found.iter().filter_map(|at| usize::try_from(*at).ok());
        let count = self.ids.numbers.len();
        let (ids, tokens): (Vec<_>, Vec<_>) = places.partition(|at| *at < count);
        let numbers = |of: &Lines, places: Vec<usize>, before: usize| -> Vec<usize> {
            let numbers = places
                .into_iter()
                .filter_map(|at| of.numbers.get(at - before));
            numbers.copied().collect()
        };
        let ids = numbers(&self.ids, ids, 0);
        let tokens = numbers(&self.tokens, tokens, count);
        let files = [(&self.ids, ids), (&self.tokens, tokens)].into_iter();
        let files = files.filter(|(_, numbers)| !numbers.is_empty());
        let files = files.map(|(of, numbers)| format!("{}, {}", of.source, named(&numbers)));
        files.collect::<Vec<_>>().join("; ")
    }
}

/// The lines of a file that are not empty, and their numbers, of which the first is 1.
#[derive(Debug, Default)]
struct Lines {
    source: String,
    texts: Vec<String>,
    numbers: Vec<usize>,
}

impl Lines {
    /// Reads them. There must be one, and each must be `what`.
    fn read(
        file: &Path,
        stdin: impl FnOnce() -> io::Result<String>,
        what: &str,
        is_right: impl Fn(&str) -> bool,
    ) -> Result<Self, Failure> {
        let (text, source) = if file == Path::new("-") {
            (stdin(), "standard input".to_owned())
        } else {
            (fs::read_to_string(file), file.display().to_string())
        };
        let text =
            text.map_err(|error| Failure::Misused(format!("{source} cannot be read: {error}")))?;
        let lines = text.lines().map(str::trim).zip(1..);
        let lines = lines.filter(|(line, _)| !line.is_empty());
        let (right, wrong): (Vec<_>, Vec<_>) = lines.partition(|(line, _)| is_right(line));
        if !wrong.is_empty() {
            return Err(wrong_lines(&source, what, &wrong));
        }
        if right.is_empty() {
            return Err(Failure::Misused(format!("{source} is empty")));
        }
        let (texts, numbers) = right
            .into_iter()
            .map(|(line, at)| (line.to_owned(), at))
            .unzip();
        Ok(Self {
            source,
            texts,
            numbers,
        })
    }
}

fn wrong_lines(source: &str, what: &str, wrong: &[(&str, usize)]) -> Failure {
    let numbers: Vec<_> = wrong.iter().map(|(_, at)| *at).collect();
    let lines = named(&numbers);
    let secrets = wrong.iter().filter(|(line, _)| is_bearer_secret(line));
    let secrets: Vec<_> = secrets.map(|(_, at)| *at).collect();
    let secrets = if secrets.is_empty() {
        String::new()
    } else {
        let lines = named(&secrets);
        format!("; it holds the bearer secret of a caller ({SECRET_PREFIX}…) in {lines}")
    };
    Failure::Misused(format!(
        "{source}, {lines}: not {what}{secrets}; nothing was sent, and nothing was revoked"
    ))
}

/// Names the first of these lines.
fn named(numbers: &[usize]) -> String {
    let first: Vec<_> = numbers
        .iter()
        .take(MOST_NAMED)
        .map(usize::to_string)
        .collect();
    let (noun, first) = (
        if numbers.len() == 1 { "line" } else { "lines" },
        first.join(", "),
    );
    match numbers.len().saturating_sub(MOST_NAMED) {
        0 => format!("{noun} {first}"),
        more => format!("{noun} {first}, and {more} more"),
    }
}

fn ids_of_stdin() -> io::Result<String> {
    if io::stdin().is_terminal() {
        say("Key ids, one a line; end with Ctrl-D:");
    }
    io::read_to_string(io::stdin())
}
