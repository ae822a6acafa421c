//! Writes the errors of a command line that cannot be read.
//!
//! Must never repeat a token, a secret or what may be a password.

use super::client::SECRET_IN_ARGUMENTS;
use crate::model::text;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The error for a wrong command line without what may be a password or a token in the wrong place. What a terminal
/// or a build shows is often kept.
pub(super) fn without_values(mut error: clap::Error, has_secret: bool) -> clap::Error {
    for given in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if let Some(ContextValue::String(word)) = error.remove(given) {
            error.insert(given, ContextValue::String(shown_word(&word).to_owned()));
        }
    }
    // Otherwise the argument is one of ours.
    if error.kind() == ErrorKind::UnknownArgument {
        // It says how to give the same text as a value.
        error.remove(ContextKind::Suggested);
        if let Some(ContextValue::String(argument)) = error.remove(ContextKind::InvalidArg) {
            let flag = argument.strip_prefix("--").map(text::shown_name);
            let shown = flag.map_or(shown_word(&argument).to_owned(), |flag| format!("--{flag}"));
            error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
        }
    }
    // The parser of a value has said so.
    if has_secret && error.kind() != ErrorKind::ValueValidation {
        let tip = format!("a token or a secret is never an argument: {SECRET_IN_ARGUMENTS}");
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

/// A word that was given, if it is one of plain letters, such as a mistyped command, or a number, a time or a
/// duration. Anything else may be a password, so `…` stands in its place.
fn shown_word(word: &str) -> &str {
    const MAX_LEN: usize = 20;
    let is_of_time =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-:".contains(&byte);
    let is_time = word.starts_with(|first: char| first.is_ascii_digit())
        && word.len() <= MAX_LEN
        && word.bytes().all(is_of_time);
    if is_time {
        word
    } else {
        text::shown_name(word)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Cli, *};
    use clap::Parser;

    #[test]
    fn a_mistyped_word_is_shown_with_what_was_meant() {
        for (line, said) in [
            ("accounts list", &["'list'"][..]),
            ("keys lst", &["'lst'", "'list'"]),
            (
                "keys list --account a --output yaml",
                &["'yaml'", "table, json"],
            ),
            (
                "keys rotate key_00000000000000000000000000 --overlap 24",
                &["'24'", "such as 24h"],
            ),
            ("keys list acme", &["'acme'"]),
        ] {
            let line = ["keyservice"].into_iter().chain(line.split(' '));
            let error = Cli::try_parse_from(line).expect_err("it is wrong");
            let shown = without_values(error, false).to_string();
            assert!(said.iter().all(|said| shown.contains(said)), "{shown}");
        }
    }

    #[test]
    fn a_token_among_the_arguments_is_not_shown_and_its_user_is_told_what_to_do() {
        const TOKEN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
        let flag = format!("--token={TOKEN}");
        for line in [
            &["keys", "get", TOKEN][..],
            &["keys", "get", &flag],
            &["keys", "update", TOKEN, "--name", "a"],
            &[
                "keys",
                "update",
                "key_00000000000000000000000000",
                "--name",
                TOKEN,
            ],
            &["keys", "create", "--account", TOKEN, "--name", "a"],
            &["keys", "list", "--account", "a", "--label", TOKEN],
            &["authorize", TOKEN],
            &["authorize", "example.com", TOKEN],
            &["domains", "add", TOKEN, "--account", "a"],
            &["accounts", "suspend", TOKEN, "--reason", "a"],
            &["contexts", "use", TOKEN],
        ] {
            let words = ["keyservice"].into_iter().chain(line.iter().copied());
            let error = Cli::try_parse_from(words).expect_err("it is wrong");
            let shown = without_values(error, true).to_string();
            assert!(shown.contains("history"), "{line:?}: {shown}");
            assert!(!shown.contains("KeyServiceExample"), "{shown}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_explained_and_a_secret_in_it_is_not_repeated() {
        const TOKEN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
        const SECRET: &str = "tsop_KeyServiceExampleSecretDoNotUse0123456789ab";
        let new = ["credential", "new"];
        for secret in [TOKEN, SECRET] {
            let option = format!("--{secret}");
            let assigned = format!("--account={secret}");
            let two = format!("acme,{secret}");
            for (words, advice) in [
                (vec!["audit", "--account", secret], "belongs only in"),
                (vec!["audit", &assigned], "belongs only in"),
                (vec!["audit", "--caller", secret], "belongs only in"),
                (vec!["audit", "--key", secret], "a key id is"),
                (vec!["audit", "--since", secret], "7days"),
                (vec!["audit", secret], "unexpected argument"),
                (vec!["audit", &option], "unexpected argument"),
                (vec![secret], "subcommand"),
                (vec!["audit", "--limit", secret], "--limit"),
                (vec!["audit", "--format", secret], "table, json"),
                (
                    [&new[..], &[secret, "--role", "admin"]].concat(),
                    "belongs only in",
                ),
                (
                    [&new[..], &["a", "--role", secret]].concat(),
                    "authorizer or admin",
                ),
                (
                    [&new[..], &["a", "--role", "admin", "--accounts", &two]].concat(),
                    "belongs only in",
                ),
            ] {
                let line = ["keyservice"].into_iter().chain(words.iter().copied());
                let error = Cli::try_parse_from(line).expect_err("it is wrong");
                let shown = without_values(error, true).to_string();
                assert!(shown.contains(advice), "{shown}");
                assert!(!shown.contains(&secret[5..]), "{shown}");
            }
        }
    }
}
