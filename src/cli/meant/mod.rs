//! Finds what is meant by a word that is no command, or a flag that a command does not have.
//!
//! Must never name the opposite of what is meant, as a comparison of letters would: `unsuspend` is not `suspend`.

mod commands;
mod flags;

use super::{client::CONNECTION, variables::SIMILAR};
use crate::model::key::KeyId;

/// A tip for who gave this word in the place of a command.
pub(super) fn instead_of_command(
    word: &str,
    program: &clap::Command,
    words: &[String],
) -> Option<String> {
    // `help` takes the same words.
    let before = words.iter().take_while(|it| *it != word);
    let before = before.filter(|it| *it != "help");
    let (mut above, mut path) = (program, Vec::new());
    for name in before {
        if let Some(command) = above.find_subcommand(name) {
            above = command;
            path.push(name.as_str());
        }
    }
    let tip = commands::tip(&path.join(" "), word).map(str::to_owned);
    tip.or_else(|| below(word, program).filter(|_| path.is_empty()))
        .or_else(|| {
            let similar = similar(word, above.get_subcommands().map(clap::Command::get_name))?;
            Some(format!("a similar subcommand exists: '{similar}'"))
        })
}

/// Where a command stands that was given without the one above it.
fn below(word: &str, program: &clap::Command) -> Option<String> {
    let above = program
        .get_subcommands()
        .filter(|above| above.get_name() != "help" && above.find_subcommand(word).is_some());
    let whole: Vec<_> = above
        .map(|above| format!("'keyservice {} {word}'", above.get_name()))
        .collect();
    (!whole.is_empty()).then(|| format!("there is {}", whole.join(", and ")))
}

/// A tip for who gave this argument, which the command does not take.
pub(super) fn instead_of_argument(
    argument: &str,
    program: &clap::Command,
    command: &clap::Command,
    words: &[String],
) -> Option<String> {
    let Some(flag) = name_of(argument) else {
        return instead_of_positional(argument, command, words);
    };
    let name = command.get_name();
    let is_program = name == program.get_name();
    if longs(command).any(|long| long == flag) {
        return Some(format!("'--{flag}' stands behind '{name}'"));
    }
    let keys = program.find_subcommand("keys")?;
    let shared = || keys.get_arguments().filter(|it| it.is_global_set());
    let its = shared().find(|it| it.get_long() == Some(flag));
    if is_program && its.is_some() {
        return Some(format!(
            "'--{flag}' goes with a command, as in 'keyservice keys list --{flag} …'"
        ));
    }
    if its.is_some_and(|it| it.get_help_heading() == Some(CONNECTION)) {
        return Some(without_service(flag, command));
    }
    flags::tip(command, flag)
        .or_else(|| {
            let shared = shared().filter_map(clap::Arg::get_long);
            let known = longs(command).chain(shared.filter(|_| is_program));
            let similar = similar(flag, known)?;
            Some(format!("a similar argument exists: '--{similar}'"))
        })
        .or_else(|| {
            let above = words
                .iter()
                .find_map(|word| program.find_subcommand(word))?;
            let has = |other: &&clap::Command| longs(other).any(|long| long == flag);
            let (above, other) = (above.get_name(), above.get_subcommands().find(has)?);
            let other = other.get_name();
            Some(format!("'keyservice {above} {other}' has --{flag}"))
        })
        .or_else(|| value_with_hyphen(argument, command, words))
}

/// How to give a value that looks like a flag, if a flag with a value stands before this argument.
fn value_with_hyphen(argument: &str, command: &clap::Command, words: &[String]) -> Option<String> {
    // clap names only the first letter of those behind one hyphen.
    let at = words.iter().position(|word| word.starts_with(argument))?;
    let before = words.get(at.checked_sub(1)?)?.strip_prefix("--")?;
    let mut flags = command.get_arguments();
    let flag = flags.find(|it| it.get_long() == Some(before))?;
    flag.get_action().takes_values().then(|| {
        format!("a value that begins with a hyphen is given behind '=', as in '--{before}=-…'")
    })
}

/// Why a command has no such flag of a connection.
fn without_service(flag: &str, command: &clap::Command) -> String {
    let name = command.get_name();
    match name {
        "serve" => format!("'keyservice serve' is a service itself, and has no '--{flag}'"),
        _ if longs(command).any(|long| long == "store") => format!(
            "'keyservice {name}' works on a store itself, and asks no service, so '--{flag}' does not say which store \
             is meant: run it where the store is, and name that by '--store' (KEYSERVICE_STORE)"
        ),
        _ => format!("'keyservice {name}' asks no service, and has no '--{flag}'"),
    }
}

fn instead_of_positional(
    argument: &str,
    command: &clap::Command,
    words: &[String],
) -> Option<String> {
    if KeyId::parse(argument).is_ok() && longs(command).any(|long| long == "token-file") {
        return Some(match command.get_name() {
            "revoke" => {
                "'keyservice keys batch-revoke --key-ids-file FILE' revokes several keys".to_owned()
            }
            name => format!("'keyservice keys {name}' takes one key"),
        });
    }
    let is_given = words.iter().any(|word| word.starts_with("--account"));
    let takes_account = longs(command).any(|long| long == "account");
    (takes_account && !is_given).then(|| "an account is given as --account ACCOUNT".to_owned())
}

/// Whether a word is the name of a command, or one that people try for one, in small letters or not. It is no secret.
pub(super) fn is_command(word: &str, program: &clap::Command) -> bool {
    let word = word.to_lowercase();
    let mut above = program.get_subcommands();
    commands::is_tried(&word)
        || above.any(|above| above.get_name() == word || above.find_subcommand(&word).is_some())
}

/// The same for an argument and the flags.
pub(super) fn is_flag(argument: &str, program: &clap::Command) -> bool {
    let argument = argument.to_lowercase();
    let Some(flag) = name_of(&argument) else {
        return false;
    };
    let above = program.get_subcommands();
    let mut all = above.flat_map(|above| above.get_subcommands().chain([above]));
    argument.len() == "-v".len()
        || flags::is_tried(flag)
        || all.any(|command| longs(command).any(|long| long == flag))
}

/// The name of a flag, without its hyphens.
fn name_of(argument: &str) -> Option<&str> {
    argument
        .strip_prefix("--")
        .or_else(|| argument.strip_prefix('-'))
}

fn longs(command: &clap::Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(clap::Arg::get_long)
}

/// The most similar of these names, if it may be the word misspelt, and not what it denies.
fn similar<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let denies = |name: &str| {
        ["un", "de", "dis", "no-"]
            .iter()
            .any(|no| word.strip_prefix(no) == Some(name))
    };
    names
        .filter(|name| !denies(name))
        .map(|name| (strsim::jaro(&word, name), name))
        .filter(|(similarity, _)| *similarity > SIMILAR)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

/// A word without what people write in several ways.
fn plain(word: &str) -> String {
    word.to_lowercase().replace(['-', '_'], "")
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::CommandFactory;

    pub(super) fn program() -> clap::Command {
        let mut program = Cli::command();
        program.build();
        program
    }
}
