//! Writes the errors of a command line that cannot be read.
//!
//! Must never repeat a token, a secret or what may be a password.

use super::{
    client::secret_in,
    meant,
    shown_value::{may_be_password, shown_argument, shown_value, shown_word},
    variables::is_among,
};
use crate::model::text::ContainsSecret;
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
    // Of a missing one, clap gives the command above it.
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.remove(ContextKind::InvalidSubcommand)
    {
        let tip = meant::instead_of_command(&word, program, words);
        let shown = if meant::is_command(&word, program) {
            &word
        } else {
            shown_word(&word)
        };
        let shown = ContextValue::String(shown.to_owned());
        error.insert(ContextKind::InvalidSubcommand, shown);
        error.remove(ContextKind::SuggestedSubcommand);
        set_tip(&mut error, tip);
    }
    // Otherwise the argument is one of ours.
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.remove(ContextKind::InvalidArg)
    {
        let tip = meant::instead_of_argument(&argument, program, command, words);
        let shown = if meant::is_flag(&argument, program) {
            argument
        } else {
            shown_argument(&argument, command)
        };
        error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
        error.remove(ContextKind::SuggestedArg);
        // clap's says how to give the same text as a value.
        error.remove(ContextKind::Suggested);
        set_tip(&mut error, tip);
    }
    let secret = words.iter().find_map(|word| secret_in(word));
    let tip = match secret {
        Some(secret) => Some(advice_on_secret(secret, command)),
        None => variable_of(&error, command, words),
    };
    set_tip(&mut error, tip);
    error
}

fn set_tip(error: &mut clap::Error, tip: Option<String>) {
    if let Some(tip) = tip {
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
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
            ("accounts list", &["'list'", "SQL"][..]),
            ("accounts unsuspend x", &["'keyservice accounts resume'"]),
            ("accounts un-suspend x", &["'keyservice accounts resume'"]),
            ("help key", &["'key'", "'keyservice keys'"]),
            ("help keys lst", &["similar subcommand exists: 'list'"]),
            ("Keys list", &["'Keys'", "'keys'"]),
            ("version", &["'keyservice --version'"]),
            ("-v", &["'-v'", "'--version'"]),
            ("keys list --account a --json", &["'--output json'"]),
            ("keys create --ttl 1h", &["'--expires'"]),
            ("keys revoke --force", &["'--yes'"]),
            ("keys revoke --Yes", &["'--Yes'", "'--yes'"]),
            ("authorize --domain a.b", &["DOMAIN is given alone"]),
            ("accounts get --account a", &["ACCOUNT is given alone"]),
            (
                "--contxt staging keys list",
                &["'--contxt'", "a similar argument exists: '--context'"],
            ),
            ("--limit 1 keys list", &["'--limit' stands behind 'list'"]),
            ("--context a", &["'--context' goes with a command"]),
            (
                "audit --context a",
                &["asks no service", "that by '--store' (KEYSERVICE_STORE)"],
            ),
            (
                "grants --server a:1",
                &["'keyservice grants' asks no service"],
            ),
            (
                "keys --output json",
                &["'keyservice keys' requires a subcommand"],
            ),
            (
                "domains add acme example.com",
                &["'example.com'", "--account ACCOUNT"],
            ),
            (
                "keys revoke key_00000000000000000000000000 key_00000000000000000000000001",
                &["'key_00000000000000000000000001'", "--key-ids-file"],
            ),
            (
                "keys list --account a --limit -1",
                &["'-1'", "give a number from 1"],
            ),
            ("audit --limit -1", &["'-1'", "give a number from 1"]),
            ("keys rotate --overlap -1h", &["'-1'", "'--overlap=-…'"]),
            ("audit --since -1h", &["'-1'", "'--since=-…'"]),
            ("keys create --name -x --account a", &["'--name=-…'"]),
            (
                "keys get tsend_ab...wxyz",
                &[
                    "'tsend_ab...wxyz'",
                    "`keyservice keys list --preview tsend_ab…wxyz`",
                ],
            ),
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
            ("keys delete", &["'delete'", "'keyservice keys revoke'"]),
            ("domains rm", &["'rm'", "'keyservice domains remove'"]),
            ("keys show", &["'show'", "'keyservice keys get'"]),
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
    fn a_tip_never_names_the_opposite_and_what_may_be_a_password_is_not_shown() {
        for line in ["users", "keys unrotate", "keys revoke --no-yes"] {
            let shown = shown(&line.split(' ').collect::<Vec<_>>());
            for wrong in ["'serve'", "'rotate'", "'--yes'"] {
                assert!(!shown.contains(wrong), "{shown}");
            }
        }
        for line in [
            "domains add a.example hunter2",
            "domains add a.example Horse.battery",
            "serve example.com",
            "audit example.com",
            "keys --Sesame1",
            "Sesame",
            "keys get key_00000000000000000000000000 0K3yServ1ceExampl3T0ken.com",
        ] {
            let words: Vec<_> = line.split(' ').collect();
            let (last, shown) = (words.last().expect("a word"), shown(&words));
            assert!(!shown.contains(last.trim_start_matches('-')), "{shown}");
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
