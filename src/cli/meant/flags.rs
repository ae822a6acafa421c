//! Flags that people try because other programs have them, and what is meant here.

use super::plain;

/// Names of flags that are tried, and the flag that is meant, of which the first that the command has is shown.
const FLAGS: &[(&[&str], &[&str])] = &[
    (&["json"], &["--output json"]),
    (&["table", "text", "human"], &["--output table"]),
    (
        &[
            "ttl",
            "expiry",
            "expire",
            "expiration",
            "expires-in",
            "expires-at",
            "expire-time",
            "valid-for",
            "lifetime",
        ],
        &["--expires"],
    ),
    (
        &["no-expiry", "no-expire", "no-expires", "never-expire"],
        &["--never-expires"],
    ),
    (
        &[
            "force",
            "f",
            "confirm",
            "assume-yes",
            "no-confirm",
            "non-interactive",
            "auto-approve",
        ],
        &["--yes"],
    ),
    (
        &["account-id", "customer", "tenant", "owner"],
        &["--account"],
    ),
    (&["accounts"], &["--all-accounts"]),
    (&["all"], &["--all-accounts", "--all-domains"]),
    (&["tag", "tags", "labels"], &["--label"]),
    (
        &["unlabel", "delete-label", "rm-label", "unset-label"],
        &["--remove-label"],
    ),
    (
        &["why", "message", "comment", "because", "note", "m"],
        &["--reason"],
    ),
    (&["grace", "grace-period"], &["--overlap"]),
    (&["dryrun", "simulate", "n"], &["--dry-run"]),
    (
        &["subdomains", "wildcard", "recursive"],
        &["--include-subdomains"],
    ),
    (&["max", "count", "top", "page-size"], &["--limit"]),
    (
        &["before", "to", "older-than"],
        &["--created-before", "--until"],
    ),
    (&["after", "from"], &["--since"]),
    (
        &["unused", "last-used", "not-used-since"],
        &["--unused-since"],
    ),
    (&["user", "actor", "who"], &["--caller"]),
    (&["action", "call", "operation"], &["--method"]),
    (&["db", "database", "dsn", "database-url"], &["--store"]),
    (
        &["host", "address", "addr", "url", "endpoint"],
        &["--server"],
    ),
    (&["insecure", "no-tls", "http"], &["--plaintext"]),
    (&["cacert", "ca-file"], &["--ca"]),
    (&["cert", "tls-cert"], &["--client-cert"]),
    (&["profile", "env", "environment"], &["--context"]),
    (&["token"], &["--token-file", "--tokens-file"]),
    (&["tokens"], &["--tokens-file"]),
    (&["ids", "key-ids", "keys"], &["--key-ids-file"]),
    (&["secret", "bearer"], &["--secret-file"]),
    (
        &["out", "output-file", "file"],
        &["--token-out", "--secret-out"],
    ),
    (&["prefix"], &["--name-prefix"]),
    (&["version", "v"], &["--version"]),
];

/// The names of an argument that is given without a flag, which people give as one. Its own name is also tried.
const POSITIONALS: &[(&str, &[&str])] = &[("key_id", &["key", "id"]), ("account", &["id", "name"])];

/// What is meant by a flag that this command does not have. `flag` is its name, without hyphens before it.
pub(super) fn tip(of: &clap::Command, flag: &str) -> Option<String> {
    let flag = plain(flag);
    let positional = of.get_positionals().find(|it| {
        let id = it.get_id().as_str();
        let others = POSITIONALS.iter().filter(|(its, _)| *its == id);
        plain(id) == flag
            || others
                .flat_map(|(_, names)| *names)
                .any(|it| plain(it) == flag)
    });
    let meant = FLAGS
        .iter()
        .filter(|(names, _)| names.iter().any(|name| plain(name) == flag))
        .flat_map(|(_, meant)| *meant)
        .find(|meant| has(of, meant));
    match (meant, positional) {
        (Some(meant), _) => Some(format!("the flag is '{meant}'")),
        (None, Some(positional)) => {
            let name = positional.get_id().as_str().to_uppercase();
            Some(format!("{name} is given alone, without a flag before it"))
        }
        (None, None) => None,
    }
}

/// Whether a command has a flag, which may stand with a value.
pub(super) fn has(command: &clap::Command, flag: &str) -> bool {
    let name = flag.split(' ').next().unwrap_or(flag);
    let mut longs = command.get_arguments().filter_map(clap::Arg::get_long);
    longs.any(|long| name.strip_prefix("--") == Some(long))
}

/// Whether this name of a flag is tried.
pub(super) fn is_tried(flag: &str) -> bool {
    let mut names = FLAGS.iter().flat_map(|(names, _)| *names);
    names.any(|it| *it == flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::meant::tests::program;
    use std::collections::HashSet;

    #[test]
    fn each_flag_that_is_meant_exists_and_each_name_is_tried_once() {
        let (mut longs, mut commands) = (HashSet::new(), vec![program()]);
        while let Some(command) = commands.pop() {
            longs.extend(
                command
                    .get_arguments()
                    .filter_map(|it| Some(it.get_long()?.to_owned())),
            );
            commands.extend(command.get_subcommands().cloned());
        }
        let mut tried = HashSet::new();
        for (names, meant) in FLAGS {
            for name in *names {
                assert!(tried.insert(plain(name)), "{name}");
            }
            for flag in *meant {
                let name = flag.split(' ').next().expect("a word");
                assert!(longs.contains(name.trim_start_matches("--")), "{flag}");
            }
        }
    }
}
