//! Writes the errors of a command line that cannot be read.
//!
//! Must never repeat a token, a secret or what may be a password.

use super::{
    client::secret_in,
    shown_value::{may_be_password, shown_value, shown_word},
    variables::{SIMILAR, is_among},
};
use crate::model::text::{self, ContainsSecret};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The error for a wrong command line without what may be a password or a token in the wrong place. What a terminal
/// or a build shows is often kept.
///
/// `program` is clap's description of the whole program, after its `build`. `words` are the arguments.
pub(super) fn without_values(
    mut error: clap::Error,
    program: &clap::Command,
    words: &[String],
) -> clap::Error {
    let command = command_of(program, words);
    if let Some(ContextValue::String(value)) = error.remove(ContextKind::InvalidValue) {
        let shown = if may_be_password(&error, command) {
            shown_word(&value)
        } else {
            shown_value(&value)
        };
        error.insert(
            ContextKind::InvalidValue,
            ContextValue::String(shown.to_owned()),
        );
    }
    if let Some(ContextValue::String(word)) = error.remove(ContextKind::InvalidSubcommand) {
        let shown = ContextValue::String(shown_word(&word).to_owned());
        error.insert(ContextKind::InvalidSubcommand, shown);
    }
    if let Some(tip) = tip_for_subcommand(&error).or_else(|| tip_below(&error, program, command)) {
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    // Otherwise the argument is one of ours.
    if error.kind() == ErrorKind::UnknownArgument {
        // It says how to give the same text as a value.
        error.remove(ContextKind::Suggested);
        if let Some(ContextValue::String(argument)) = error.remove(ContextKind::InvalidArg) {
            let flag = argument.strip_prefix("--").map(text::shown_name);
            let shown = flag.map_or(shown_word(&argument).to_owned(), |flag| format!("--{flag}"));
            error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
            if let Some(flag) = flag {
                explain_flag(&mut error, flag, program, words);
            }
        }
    }
    let secret = words.iter().find_map(|word| secret_in(word));
    let tip = match secret {
        Some(secret) => Some(advice_on_secret(secret, command)),
        None => variable_of(&error, command, words),
    };
    if let Some(tip) = tip {
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// The command that these words call, or as much of it as they name.
fn command_of<'a>(program: &'a clap::Command, words: &[String]) -> &'a clap::Command {
    words.iter().fold(program, |command, word| {
        command.find_subcommand(word).unwrap_or(command)
    })
}

/// What to do after a secret was given as an argument of this command.
fn advice_on_secret(secret: ContainsSecret, command: &clap::Command) -> String {
    let (flags, then) = match secret {
        ContainsSecret::Token => (["token-file", "tokens-file"].as_slice(), "rotate the key"),
        ContainsSecret::Bearer => (["secret-file"].as_slice(), "give its caller another secret"),
    };
    let has = |flag: &&&str| {
        command
            .get_arguments()
            .any(|it| it.get_long() == Some(**flag))
    };
    let instead = match flags.iter().find(has) {
        Some(&"secret-file") => "Put it into a file and give --secret-file. ".to_owned(),
        Some(flag) => format!(
            "Put it into a file and give --{flag}, or pass it on standard input (--{flag} -). "
        ),
        None => String::new(),
    };
    format!(
        "a token or a secret is never an argument. {instead}Others can see the arguments of a program, and your \
         shell may have kept this one in its history: remove it there, or {then}"
    )
}

/// Says so if the wrong value is that of a variable.
fn variable_of(error: &clap::Error, command: &clap::Command, words: &[String]) -> Option<String> {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return None;
    }
    let ContextValue::String(shown) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let argument = command
        .get_arguments()
        .find(|it| it.to_string() == *shown)?;
    let (flag, variable) = (argument.get_long()?, argument.get_env()?.to_string_lossy());
    let is_set = std::env::var_os(&*variable).is_some();
    (is_set && !is_among(&format!("--{flag}"), words.iter().map(String::as_str)))
        .then(|| format!("this is the value of the variable {variable}"))
}

/// What other programs call a thing that this one does under another name.
fn tip_for_subcommand(error: &clap::Error) -> Option<String> {
    const TIPS: [(&str, &[&str], &str); 3] = [
        (
            "keyservice keys ",
            &["delete", "remove", "rm"],
            "'revoke' ends a key for good, and 'suspend' until it is resumed",
        ),
        (
            "keyservice keys ",
            &["show"],
            "a similar subcommand exists: 'get'",
        ),
        (
            "keyservice domains ",
            &["delete", "rm"],
            "a similar subcommand exists: 'remove'",
        ),
    ];
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let usage = error.get(ContextKind::Usage)?.to_string();
    let mut tips = TIPS.iter();
    let (.., tip) =
        tips.find(|(command, words, _)| usage.contains(command) && words.contains(&word.as_str()))?;
    Some((*tip).to_owned())
}

/// Where a command stands that was given without the one above it.
fn tip_below(
    error: &clap::Error,
    program: &clap::Command,
    command: &clap::Command,
) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    if command.get_name() != program.get_name() {
        return None;
    }
    let above = program
        .get_subcommands()
        .filter(|above| above.get_name() != "help" && above.find_subcommand(word).is_some());
    let whole: Vec<_> = above
        .map(|above| format!("'keyservice {} {word}'", above.get_name()))
        .collect();
    (!whole.is_empty()).then(|| format!("there is {}", whole.join(", and ")))
}

/// Finds a better tip than clap for a flag that the command does not have.
fn explain_flag(error: &mut clap::Error, flag: &str, program: &clap::Command, words: &[String]) {
    let similar = match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(similar)) => similar.trim_start_matches('-'),
        _ => "",
    };
    // clap's limit lets any two names with a few letters in common pass.
    if strsim::jaro(flag, similar) > SIMILAR {
        return;
    }
    error.remove(ContextKind::SuggestedArg);
    let above = words.iter().find_map(|word| program.find_subcommand(word));
    let Some(above) = above else { return };
    let has = |command: &&clap::Command| {
        command
            .get_arguments()
            .any(|it| it.get_long() == Some(flag))
    };
    if let Some(other) = above.get_subcommands().find(has) {
        let (above, other) = (above.get_name(), other.get_name());
        let tip = format!("'keyservice {above} {other}' has --{flag}");
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Cli, *};
    use clap::{CommandFactory, Parser};

    /// What a person reads who has given this line.
    fn shown(words: &[&str]) -> String {
        let line = ["keyservice"].iter().chain(words);
        let error = Cli::try_parse_from(line).expect_err("it is wrong");
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        without_values(error, &program(), &words).to_string()
    }

    fn program() -> clap::Command {
        let mut program = Cli::command();
        program.build();
        program
    }

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
            ("keys get ABC9", &["'ABC9'", "KEY_ID", "it is not a key id"]),
            ("keys get key_01234567890123456789ABC", &["'…'"]),
            ("keys list --account a --limit X9", &["'X9'", "a number"]),
            (
                "domains add a..b! --account a",
                &["'a..b!'", "it is not a domain"],
            ),
            (
                "audit --account +a --limit 1",
                &["'+a'", "it is not an account"],
            ),
            ("audit --limit postgres://me:sesame@db", &["'…'"]),
            ("audit --limit tsop_a", &["'…'"]),
            (
                "keys list --created-before 2020-01-31",
                &["tip: 'keyservice keys batch-revoke' has --created-before"],
            ),
            ("keys list --acount a", &["tip:", "'--account'"]),
            ("keys delete", &["'delete'", "'revoke'"]),
            ("domains rm", &["'rm'", "'remove'"]),
            ("keys show", &["'show'", "'get'"]),
            (
                "revoke key_00000000000000000000000000",
                &["'revoke'", "keyservice keys revoke"],
            ),
            ("keys list", &["--account", "--all-accounts", "--preview"]),
        ] {
            let words: Vec<_> = line.split(' ').collect();
            let shown = shown(&words);
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
            let shown = shown(line);
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
                let shown = shown(&words);
                assert!(shown.contains(advice), "{shown}");
                assert!(!shown.contains(&secret[5..]), "{shown}");
            }
        }
    }

    #[test]
    fn the_advice_on_a_secret_names_only_flags_that_the_command_has() {
        let program = program();
        let (mut commands, mut advised) = (vec![&program], 0);
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            for secret in [ContainsSecret::Token, ContainsSecret::Bearer] {
                let advice = advice_on_secret(secret, command);
                for word in advice.split([' ', '.', ',', '(', ')']) {
                    let flag = word.strip_prefix("--");
                    let has = |flag| {
                        command
                            .get_arguments()
                            .any(|it| it.get_long() == Some(flag))
                    };
                    assert!(flag.is_none_or(has), "{}: {advice}", command.get_name());
                    advised += usize::from(flag.is_some());
                }
            }
        }
        assert!(advised > 20, "{advised}");
    }
}
