//! The command line of the `keyservice` binary: one file a command, which holds its flags, its work and
//! its output.

mod audit;
mod client;
mod credential;
mod grants;
mod output;
mod reference;
mod serve;
mod shown_password;
mod times;
mod variables;

use crate::{
    config::Settings,
    model::{printable::printable, text},
    observe::stderr::{self, FlushAtEnd},
    system_calls,
};
use audit::AuditCommand;
use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};
use client::{
    AccountsCommand, AuthorizeCommand, ContextsCommand, DomainsCommand, EXIT_CODES, Failure,
    KeysCommand,
};
use credential::CredentialCommand;
use grants::GrantsCommand;
use reference::{CompletionsCommand, ManCommand};
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    env,
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

/// What the process exits with after a wrong command line, as clap does.
const WRONG_COMMAND_LINE: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    version,
    // Otherwise it would be whatever name the process was given.
    bin_name = "keyservice",
    about = "The API-key service of a mail platform: create, list, revoke and authorize keys over gRPC",
    after_help = "Start with `keyservice serve`, then `keyservice keys create --help`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gRPC API until SIGTERM or SIGINT.
    #[command(after_help = SERVE_HELP)]
    Serve(Box<Settings>),
    /// Create, find, change, rotate, suspend and revoke keys.
    #[command(after_help = EXIT_CODES)]
    Keys(Box<KeysCommand>),
    /// Say which domains are verified for an account.
    #[command(after_help = EXIT_CODES)]
    Domains(DomainsCommand),
    /// Suspend and resume whole accounts.
    #[command(after_help = EXIT_CODES)]
    Accounts(AccountsCommand),
    /// Ask whether a token may send for a domain.
    #[command(after_help = EXIT_CODES)]
    Authorize(AuthorizeCommand),
    /// Name the services that you work with.
    #[command(after_help = EXIT_CODES)]
    Contexts(ContextsCommand),
    /// Print the audit records: who worked on which key or domain, and how each call ended.
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditCommand),
    /// Make the credentials of callers.
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Print the SQL that gives a PostgreSQL role the rights it needs, and no others.
    #[command(after_help = GRANTS_HELP)]
    Grants(GrantsCommand),
    /// Print a script that completes commands in a shell.
    Completions(CompletionsCommand),
    /// Write the manual pages of all commands.
    Man(ManCommand),
}

impl Command {
    /// Whether what it does is worth nothing if standard output goes nowhere.
    fn prints(&self) -> bool {
        !matches!(self, Self::Serve(_) | Self::Man(_))
    }
}

const STDOUT_CLOSED: &str =
    "standard output is closed, so nothing can be printed, and nothing was done";

const SERVE_HELP: &str = "\
The service exports traces over OTLP (gRPC) when OTEL_EXPORTER_OTLP_ENDPOINT or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set. The other standard OTEL_ variables,
such as OTEL_SERVICE_NAME and OTEL_TRACES_SAMPLER, have their usual meaning.

On the first SIGTERM or SIGINT the service reports NOT_SERVING, lets calls in
flight finish and exits with 0. On a second one it exits at once.";

const AUDIT_HELP: &str = "\
The command only reads the store, and may run beside the service. It prints the
records in the order of time, the newest last. One record stands for several
calls when a caller was refused too often to record each call. It has the time of
the first call and their number.";

const GRANTS_HELP: &str = "\
Run the statements in the database as the owner of the database, after the first
start of the service and after each upgrade. The command itself connects to nothing.";

/// Reads the command line of this process, runs its command, and reports on standard error what the
/// command could not do.
#[must_use]
pub fn run() -> ExitCode {
    let _flush = FlushAtEnd;
    forbid_dumps();
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    if system_calls::stdout_was_closed() && cli.command.prints() {
        complain(STDOUT_CLOSED);
        return ExitCode::FAILURE;
    }
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(error.as_ref()),
    }
}

/// Reports what a command could not do.
fn report(error: &(dyn Error + 'static)) -> ExitCode {
    match error.downcast_ref() {
        // The command has printed it.
        Some(denied @ Failure::Denied) => denied.exit_code().into(),
        Some(failure) => {
            complain(&failure.to_string());
            failure.exit_code().into()
        }
        None => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Reports a wrong command line, or prints the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return print_help(error);
    }
    for line in error.to_string().lines() {
        stderr::write(format!("{}\n", printable(line)).as_bytes());
    }
    ExitCode::from(WRONG_COMMAND_LINE)
}

fn print_help(help: &clap::Error) -> ExitCode {
    if system_calls::stdout_was_closed() {
        complain(STDOUT_CLOSED);
        return ExitCode::FAILURE;
    }
    match help.print().and_then(|()| io::stdout().flush()) {
        Err(error) if !output::is_broken_pipe(&error) => report(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn complain(what: &str) {
    stderr::write(format!("keyservice: {}\n", printable(what)).as_bytes());
}

/// Keeps this process's memory, which holds secrets and tokens, out of core dumps. A limit alone does
/// not keep the system from handing a dump to a program, so the process is made one that cannot be
/// dumped. Nor can other processes of the same user then read its memory.
fn forbid_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let mut forbidden = setrlimit(Resource::Core, none);
    #[cfg(target_os = "linux")]
    {
        let not_dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        forbidden = forbidden.and(not_dumpable);
    }
    if let Err(error) = forbidden {
        complain(&format!(
            "core dumps, which would hold secrets, cannot be forbidden: {error}"
        ));
    }
}

impl Cli {
    fn run(self) -> Result<(), Box<dyn Error>> {
        let unknown = variables::unknown(&Self::command());
        if !matches!(self.command, Command::Serve(_)) {
            for unknown in &unknown {
                complain(&unknown.to_string());
            }
        }
        match self.command {
            Command::Serve(settings) => serve::run(settings.into(), &unknown),
            Command::Keys(keys) => Ok(keys.run()?),
            Command::Domains(domains) => Ok(domains.run()?),
            Command::Accounts(accounts) => Ok(accounts.run()?),
            Command::Authorize(authorize) => Ok(authorize.run()?),
            Command::Contexts(contexts) => Ok(contexts.run()?),
            Command::Audit(audit) => Ok(audit.run()?),
            Command::Credential(credential) => Ok(credential.run()?),
            Command::Grants(grants) => Ok(grants.run()?),
            Command::Completions(completions) => Ok(completions.run(Self::command())?),
            Command::Man(man) => Ok(man.run(Self::command())?),
        }
    }

    fn read() -> Result<Self, clap::Error> {
        let command =
            Self::command().mut_subcommands(|subcommand| subcommand.mut_args(hide_variable));
        let matches = command.try_get_matches();
        let read = matches.and_then(|matches| Self::from_arg_matches(&matches));
        read.map_err(without_values)
    }
}

/// The error for a wrong command line without what was given, which may be a password in the wrong place.
/// What a terminal or a build shows is often kept.
fn without_values(mut error: clap::Error) -> clap::Error {
    for given in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if error.remove(given).is_some() {
            error.insert(given, ContextValue::String("…".to_owned()));
        }
    }
    // Otherwise the argument is one of ours.
    if error.kind() == ErrorKind::UnknownArgument {
        // It says how to give the same text as a value.
        error.remove(ContextKind::Suggested);
        if let Some(ContextValue::String(argument)) = error.remove(ContextKind::InvalidArg) {
            let flag = argument.strip_prefix("--").map(text::shown_name);
            let shown = flag.map_or("…".to_owned(), |flag| format!("--{flag}"));
            error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
        }
    }
    error
}

/// The help must not show what a variable holds.
fn hide_variable(setting: clap::Arg) -> clap::Arg {
    ignore_empty_variable(setting.hide_env_values(true))
}

/// Without one of these, the service would be open to more people, or work with another store, or a command would
/// call another service or as another caller.
const NEVER_EMPTY: [&str; 14] = [
    "context",
    "config",
    "server",
    "ca",
    "client_cert",
    "client_key",
    "secret_file",
    "credentials",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "tls_client_crl",
    "digest_secret_file",
    "store",
];

/// An empty variable counts as unset. Compose files and unit files leave one empty when they are given
/// no value. If that matters to security, the start is refused.
fn ignore_empty_variable(setting: clap::Arg) -> clap::Arg {
    if NEVER_EMPTY.contains(&setting.get_id().as_str()) {
        return setting;
    }
    let variable = setting.get_env().and_then(env::var_os);
    if variable.is_some_and(|value| value.is_empty()) {
        setting.env(Resettable::Reset)
    } else {
        setting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_holds_secrets_is_never_dumped() {
        forbid_dumps();
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior(),
            Ok(DumpableBehavior::NotDumpable)
        );
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
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
                let shown = without_values(error).to_string();
                assert!(shown.contains(advice), "{shown}");
                assert!(!shown.contains(&secret[5..]), "{shown}");
            }
        }
    }
}
