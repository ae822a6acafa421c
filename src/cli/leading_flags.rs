//! Lets the flags that many commands share stand before the command too, as in
//! `keyservice --context production keys list`.

use std::ffi::OsString;

/// The words of a command line, with such flags behind the command. If another word stands before it, they stay as they
/// are, and are refused.
pub(super) fn behind_command(program: &clap::Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = words.get(at).and_then(|word| word.to_str())
        && word.starts_with('-')
    {
        let Some(len) = shared(program).find_map(|flag| words_of(flag, word)) else {
            return words;
        };
        at += len;
    }
    if let Some(to_command) = words.get_mut(1..=at) {
        to_command.rotate_right(1);
    }
    words
}

/// Those of the connection and the output. `keys` has all of them.
fn shared(program: &clap::Command) -> impl Iterator<Item = &clap::Arg> {
    let keys = program.find_subcommand("keys");
    let flags = keys.into_iter().flat_map(clap::Command::get_arguments);
    flags.filter(|flag| flag.is_global_set())
}

/// How many words this flag and its value take, if this word is the flag.
fn words_of(flag: &clap::Arg, word: &str) -> Option<usize> {
    let alone = 1 + usize::from(flag.get_action().takes_values());
    if let Some(long) = word.strip_prefix("--") {
        let (name, len) = match long.split_once('=') {
            Some((name, _)) => (name, 1),
            None => (long, alone),
        };
        let mut names = flag.get_all_aliases().unwrap_or_default();
        names.extend(flag.get_long());
        return names.contains(&name).then_some(len);
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let is_flag = letters.next().is_some() && letters.as_str().is_empty();
    let is_its = flag.get_short() == word.chars().nth(1) && flag.get_short().is_some();
    is_its.then_some(if is_flag { alone } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    #[test]
    fn shared_flags_go_behind_the_command_and_all_else_stays() {
        for (given, read) in [
            ("--context a keys list", "keys --context a list"),
            ("-o json keys list", "keys -o json list"),
            (
                "--plaintext --server=a:1 -ojson keys list --limit 1",
                "keys --plaintext --server=a:1 -ojson list --limit 1",
            ),
            ("--format json keys list", "keys --format json list"),
            ("keys -o json list", "keys -o json list"),
            ("--limit 1 keys list", "--limit 1 keys list"),
            ("--help", "--help"),
            ("--context a", "--context a"),
            ("--context", "--context"),
            ("-", "-"),
        ] {
            let words = |line: &str| -> Vec<OsString> {
                let words = ["keyservice"].into_iter().chain(line.split(' '));
                words.map(OsString::from).collect()
            };
            assert_eq!(behind_command(&Cli::command(), words(given)), words(read));
        }
    }
}
