//! The command line of the `keyservice` binary: one file a command, which holds its flags, its work and
//! its output.

mod accept_restore;
mod audit;
mod backup;
mod client;
mod credential;
mod grants;
mod known_by_store;
mod leading_flags;
mod meant;
mod named_store;
mod new_file;
mod output;
mod reference;
mod replay;
mod replay_findings;
mod serve;
mod shown_password;
mod shown_value;
mod times;
mod variables;
mod wrong_line;

use crate::{
    config::Settings,
    model::printable::printable,
    observe::stderr::{self, FlushAtEnd},
    system_calls,
};
use accept_restore::AcceptRestoreCommand;
use audit::AuditCommand;
use backup::{BackupCommand, RestoreCommand};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use client::{
    AccountsCommand, AuthorizeCommand, CONNECTION, ContextsCommand, DomainsCommand, EXIT_CODES,
    Failure, KeysCommand,
};
use credential::CredentialCommand;
use grants::GrantsCommand;
use reference::{CompletionsCommand, ManCommand};
use replay::ReplayCommand;
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    env,
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};
use wrong_line::without_values;

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
    Keys(Box<KeysCommand>),
    /// Say which domains are verified for an account.
    Domains(DomainsCommand),
    /// Suspend and resume whole accounts.
    Accounts(AccountsCommand),
    /// Ask whether a token may send for a domain.
    Authorize(AuthorizeCommand),
    /// Name the services that you work with.
    Contexts(ContextsCommand),
    /// Print the audit records of a store: who worked on which key or domain, and how each call ended.
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditCommand),
    /// Copy an SQLite store to a file, beside a running service.
    Backup(BackupCommand),
    /// Put a copy in the place of an SQLite store, while no service runs on it.
    Restore(RestoreCommand),
    /// Have a restored or copied store served as it is.
    #[command(after_help = ACCEPT_RESTORE_HELP)]
    AcceptRestore(AcceptRestoreCommand),
    /// Write again what a restored store has lost and what took rights away, by the service's log.
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayCommand),
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
    /// Whether it works by a connection, or on contexts, which describe one.
    fn calls_a_service(&self) -> bool {
        matches!(
            self,
            Self::Keys(_)
                | Self::Domains(_)
                | Self::Accounts(_)
                | Self::Authorize(_)
                | Self::Contexts(_)
        )
    }

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

const CONNECTION_HELP: &str = "\
Connection: --context NAME, or --server HOST:PORT with --plaintext, --ca, --server-name,
--secret-file, --client-cert and --client-key; --config and --timeout. The help of
`keyservice contexts` explains them.";

const AUDIT_HELP: &str = "\
The command reads the store itself and asks no service: contexts and --server do not
count. It changes nothing, and may run beside the service. It prints the
records in the order of time, the newest last. One record stands for several
calls when a caller was refused too often to record each call. It has the time of
the first call and their number.";

const ACCEPT_RESTORE_HELP: &str = "\
A service that finds a store which was restored from a backup, or copied, does not
serve it: revocations may be missing. This command says from when to when writes may
be missing, asks, and leaves an audit record. A service that waits then goes on by
itself. The address is that of the service or, on PostgreSQL, of the owner.";
const REPLAY_HELP: &str = "\
The command works on the store itself and asks no service: contexts and --server do not
count. It brings the store to this release, as a start of the service does. With SQLite,
no service may serve it; one that waits for accept-restore may run. With PostgreSQL,
services may serve, and decide by each write when the command returns; its role must be
one that may read the audit records too.

Exit codes: 0 all that the lines show to be taken away is denied again, also if keys are
gone or rights are to be given again, which it names; 1 something that was taken away may
be granted: a write could not be made, or is missing in the lines, or these are of another
store; 2 wrong command or input, or malformed lines, and nothing was written; 4 the writes
are made, but a replica has not applied them in time.";

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
        if self.command.calls_a_service()
            && let Some(unknown) = unknown.iter().find(|it| it.is_of_connection())
        {
            let why =
                format!("{unknown} It could say which service is called, or as whom: unset it");
            return Err(Failure::Misused(why).into());
        }
        // What `credential` writes to standard error goes to the file of callers.
        if !matches!(self.command, Command::Serve(_) | Command::Credential(_)) {
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
            Command::Backup(backup) => Ok(backup.run().map_err(Failure::from)?),
            Command::Restore(restore) => Ok(restore.run().map_err(Failure::from)?),
            Command::AcceptRestore(accept) => Ok(accept.run()?),
            Command::Replay(replay) => replay.run(),
            Command::Credential(credential) => Ok(credential.run()?),
            Command::Grants(grants) => Ok(grants.run()?),
            Command::Completions(completions) => Ok(completions.run(Self::command())?),
            Command::Man(man) => Ok(man.run(Self::documented())?),
        }
    }

    /// The commands with the help that people read: each ends with the exit codes.
    fn documented() -> clap::Command {
        Self::command().mut_subcommands(|command| match command.get_name() {
            "contexts" => with_end(without_timeout_of_set(command), EXIT_CODES),
            "keys" | "domains" | "accounts" | "authorize" => {
                let end = format!("{CONNECTION_HELP}\n\n{EXIT_CODES}");
                with_end(command.mut_args(hide_connection), &end)
            }
            _ => command,
        })
    }

    fn read() -> Result<Self, clap::Error> {
        let mut command =
            Self::documented().mut_subcommands(|subcommand| subcommand.mut_args(hide_variable));
        let words = leading_flags::behind_command(&command, env::args_os().collect());
        let matches = command.try_get_matches_from_mut(&words);
        let read = matches.and_then(|matches| Self::from_arg_matches(&matches));
        read.map_err(|error| {
            command.build();
            let words = words.iter().skip(1);
            let words: Vec<_> = words.map(|it| it.to_string_lossy().into_owned()).collect();
            without_values(error, &command, &words)
        })
    }
}

/// A context cannot say how long a call may take, so the help of the command that sets one does not offer it. To give
/// it there is an error, which says so.
fn without_timeout_of_set(contexts: clap::Command) -> clap::Command {
    let of_calls = |flag: &&clap::Arg| ["timeout", "context"].contains(&flag.get_id().as_str());
    let hidden: Vec<_> = contexts
        .get_arguments()
        .filter(of_calls)
        .map(|flag| hide_variable(flag.clone().hide(true)))
        .collect();
    contexts.mut_subcommand("set", |set| set.args(hidden))
}

/// Has the help of a command and of those below it end so.
fn with_end(command: clap::Command, end: &str) -> clap::Command {
    let command = command.after_help(end.to_owned());
    command.mut_subcommands(|below| with_end(below, end))
}

/// The flags of the connection are the same for many commands, whose own flags are hard to find among them.
fn hide_connection(flag: clap::Arg) -> clap::Arg {
    let is_of_connection = flag.get_help_heading() == Some(CONNECTION);
    flag.hide(is_of_connection)
}

/// The help must not show what a variable holds.
fn hide_variable(setting: clap::Arg) -> clap::Arg {
    variables::ignore_empty_variable(setting.hide_env_values(true))
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
    fn the_help_of_a_command_has_the_exit_codes_and_the_connection_in_three_lines() {
        let mut command = Cli::documented();
        command.build();
        for line in ["keys rotate", "domains add", "accounts get", "authorize"] {
            let mut names = line.split(' ');
            let command = names.try_fold(&mut command, |command, name| {
                command.find_subcommand_mut(name)
            });
            let help = command.expect(line).render_long_help().to_string();
            assert!(help.contains("Exit codes: "), "{help}");
            assert!(help.contains("--context NAME, or"), "{help}");
            assert!(!help.contains("KEYSERVICE_CONTEXT"), "{help}");
        }
    }
}
