//! Commands that people try because other programs have them, and what is meant here.

use super::plain;

/// A tip for some words below some commands. A command or a flag of this program stands in quotes.
type Tip = (
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

/// Words for `suspend`, of a key and of an account.
const SUSPEND: &[&str] = &["disable", "block", "deactivate", "pause", "lock"];

/// Words for `resume`, of a key and of an account.
const RESUME: &[&str] = &[
    "unsuspend",
    "enable",
    "unblock",
    "activate",
    "reactivate",
    "unpause",
    "unlock",
];

/// Below these commands, of which the empty one is the program itself, these words are tried, and this is the tip.
const COMMANDS: &[Tip] = &[
    (
        &["keys"],
        &["delete", "remove", "rm", "del", "destroy", "kill"],
        "'keyservice keys revoke' ends a key for good, and 'keyservice keys suspend' until it is resumed",
    ),
    (
        &["keys"],
        SUSPEND,
        "'keyservice keys suspend' denies a key until it is resumed",
    ),
    (
        &["keys"],
        RESUME,
        "'keyservice keys resume' ends the suspension of a key",
    ),
    (
        &["keys"],
        &["unrevoke", "restore", "undelete"],
        "a key is revoked for good: 'keyservice keys create' makes another",
    ),
    (
        &["keys"],
        &["find", "search", "lookup", "query", "grep", "filter"],
        "'keyservice keys list' finds keys by its flags, and 'keyservice keys list --preview' by a token of which \
         both ends are known",
    ),
    (
        &["keys"],
        &["ls", "all"],
        "'keyservice keys list' lists keys",
    ),
    (
        &["keys"],
        &[
            "show", "info", "describe", "view", "inspect", "status", "read",
        ],
        "'keyservice keys get' shows a key",
    ),
    (
        &["keys"],
        &["new", "add", "make", "generate", "issue"],
        "'keyservice keys create' makes a key",
    ),
    (
        &["keys"],
        &[
            "edit", "change", "set", "rename", "modify", "patch", "label",
        ],
        "'keyservice keys update' changes a key",
    ),
    (
        &["keys"],
        &["renew", "replace", "roll", "regenerate"],
        "'keyservice keys rotate' replaces a key",
    ),
    (
        &["keys"],
        &["check", "verify", "test", "validate", "authorize"],
        "'keyservice authorize' asks whether a token may send for a domain",
    ),
    (
        &["keys"],
        &["batch", "bulk-revoke", "revoke-all"],
        "'keyservice keys batch-revoke' revokes many keys",
    ),
    (
        &["accounts"],
        &["list", "ls", "find", "search"],
        "no command lists the accounts: docs/command-line.md has the SQL for it; \
         'keyservice keys list --all-accounts' lists the keys of all",
    ),
    (
        &["accounts"],
        &["create", "add", "new"],
        "an account begins with its first key or domain: 'keyservice keys create', 'keyservice domains add'",
    ),
    (
        &["accounts"],
        &["revoke", "delete", "remove", "rm", "close"],
        "'keyservice accounts suspend' denies all keys of an account until it is resumed, and \
         'keyservice keys batch-revoke --account' revokes them for good",
    ),
    (
        &["accounts"],
        SUSPEND,
        "'keyservice accounts suspend' denies all keys of an account until it is resumed",
    ),
    (
        &["accounts"],
        RESUME,
        "'keyservice accounts resume' ends the suspension of an account",
    ),
    (
        &["accounts"],
        &["show", "info", "describe", "view", "inspect", "status"],
        "'keyservice accounts get' shows an account",
    ),
    (
        &["domains"],
        &["verify", "create", "new", "register", "set", "allow"],
        "'keyservice domains add' says that a domain is verified for an account",
    ),
    (
        &["domains"],
        &["delete", "rm", "del", "unverify", "revoke", "unregister"],
        "'keyservice domains remove' takes a domain from an account",
    ),
    (
        &["domains"],
        &["ls", "show", "get", "info", "find", "search"],
        "'keyservice domains list' lists the verified domains of an account",
    ),
    (
        &["contexts"],
        &["add", "create", "new", "update", "edit", "change"],
        "'keyservice contexts set' makes or changes a context",
    ),
    (
        &["contexts"],
        &[
            "show", "current", "get", "info", "test", "status", "ping", "verify",
        ],
        "'keyservice contexts check' connects and says what works, and 'keyservice contexts list' shows which is the \
         current one",
    ),
    (
        &["contexts"],
        &["delete", "rm", "del", "unset"],
        "'keyservice contexts remove' forgets a context",
    ),
    (
        &["contexts"],
        &["switch", "select", "default", "activate"],
        "'keyservice contexts use' makes a context the current one",
    ),
    (
        &["contexts"],
        &["ls"],
        "'keyservice contexts list' lists them",
    ),
    (
        &["credential"],
        &["create", "add", "generate", "make"],
        "'keyservice credential new' makes a secret",
    ),
    (
        &["credential"],
        &[
            "list", "ls", "show", "revoke", "delete", "remove", "rm", "rotate",
        ],
        "the callers and their credentials stand in the file of 'keyservice serve --credentials': see docs/callers.md",
    ),
    (
        &[""],
        &["users", "user", "callers", "caller", "roles", "role"],
        "the callers stand in the file of 'keyservice serve --credentials', and 'keyservice credential new' makes the \
         line of one: see docs/callers.md",
    ),
    (&[""], &["version"], "'keyservice --version'"),
    (
        &[""],
        &["key", "token", "tokens", "apikeys", "api-keys"],
        "the command is 'keyservice keys'",
    ),
    (&[""], &["domain"], "the command is 'keyservice domains'"),
    (
        &[""],
        &["account", "customers", "customer", "tenants", "tenant"],
        "the command is 'keyservice accounts'",
    ),
    (
        &[""],
        &[
            "context",
            "config",
            "configure",
            "profile",
            "profiles",
            "login",
        ],
        "the command is 'keyservice contexts'",
    ),
    (
        &[""],
        &["credentials", "secret", "secrets"],
        "the command is 'keyservice credential new'",
    ),
    (
        &[""],
        &["authorise", "auth", "verify", "validate", "test"],
        "'keyservice authorize' asks whether a token may send for a domain",
    ),
    (
        &[""],
        &["server", "start", "run", "up", "daemon"],
        "'keyservice serve' starts the service",
    ),
    (
        &[""],
        &["log", "logs", "history", "events"],
        "'keyservice audit' prints who did what",
    ),
    (
        &[""],
        &["ping", "status", "health", "whoami"],
        "'keyservice contexts check' connects and says what works",
    ),
    (
        &[""],
        &["find", "search", "show", "info", "lookup"],
        "'keyservice keys get' shows a key, and 'keyservice keys list --preview' finds one by a token of which both \
         ends are known",
    ),
    (
        &[""],
        &["unsuspend", "enable", "unblock", "activate"],
        "'keyservice keys resume' and 'keyservice accounts resume' end a suspension",
    ),
    (
        &[""],
        &["disable", "block", "deactivate"],
        "'keyservice keys suspend' and 'keyservice accounts suspend' deny until there is a resume",
    ),
    (
        &[""],
        &["delete", "remove", "rm"],
        "'keyservice keys revoke' ends a key for good, and 'keyservice domains remove' takes a domain from an account",
    ),
    (&[""], &["grant"], "the command is 'keyservice grants'"),
    (
        &[""],
        &["completion"],
        "the command is 'keyservice completions'",
    ),
];

/// Whether this word is tried in the place of a command.
pub(super) fn is_tried(word: &str) -> bool {
    let mut words = COMMANDS.iter().flat_map(|(_, words, _)| *words);
    words.any(|it| *it == word)
}

/// What is meant by a word in the place of a command below this one.
pub(super) fn tip(below: &str, word: &str) -> Option<&'static str> {
    let word = plain(word);
    let is_its = |(belows, words, _): &&Tip| {
        belows.contains(&below) && words.iter().any(|it| plain(it) == word)
    };
    COMMANDS.iter().find(is_its).map(|(.., tip)| *tip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::meant::{flags::has, tests::program};

    #[test]
    fn each_command_and_flag_of_a_tip_exists_and_no_word_that_is_tried_does() {
        let program = program();
        for (belows, words, said) in COMMANDS {
            let lines: Vec<_> = said.split('\'').skip(1).step_by(2).collect();
            for line in lines {
                let mut words = line.split(' ').skip_while(|word| *word == "keyservice");
                words.by_ref().fold(&program, |command, word| {
                    assert!(line.starts_with("keyservice "), "{said}");
                    if word.starts_with("--") {
                        assert!(has(command, word), "{line}");
                        return command;
                    }
                    command.find_subcommand(word).expect(line)
                });
            }
            for below in *belows {
                let names: Vec<_> = below.split(' ').filter(|name| !name.is_empty()).collect();
                let names = names.into_iter();
                let command =
                    names.fold(&program, |it, name| it.find_subcommand(name).expect(name));
                for word in *words {
                    let is_command = command.find_subcommand(word).is_some();
                    assert!(!is_command, "{below} {word}");
                    assert_eq!(tip(below, word), Some(*said), "{below} {word}");
                }
            }
        }
    }
}
