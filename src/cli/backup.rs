//! `keyservice backup` and `keyservice restore`: a copy of an SQLite store, and its way back.
//!
//! Must never replace a file that nobody asked to replace.

use super::{
    client::Failure,
    complain,
    named_store::NamedStore,
    output::{OutputFormat, counted, is_broken_pipe, to_stdout},
};
use crate::{
    config::StoreAddress,
    model::time::Timestamp,
    store::sqlite::{self, Copied, CopyError},
};
use clap::Args;
use serde_json::json;
use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the copy goes.
#[derive(Debug, Args)]
pub(super) struct BackupCommand {
    #[command(flatten)]
    store: NamedStore,

    /// Replace FILE if it exists. It is replaced only by a complete copy.
    #[arg(long)]
    overwrite: bool,

    #[command(flatten)]
    format: OutputFormat,

    /// The copy, or `-` for standard output.
    file: PathBuf,
}

/// Where the copy is.
#[derive(Debug, Args)]
pub(super) struct RestoreCommand {
    #[command(flatten)]
    store: NamedStore,

    /// Take a copy that was made with `cp` while a service ran. It may lack the last writes, revocations too.
    #[arg(long)]
    incomplete: bool,

    #[command(flatten)]
    format: OutputFormat,

    /// The copy, or `-` for standard input.
    file: PathBuf,
}

/// A copy could not be made or put in place.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "a PostgreSQL store is copied by PostgreSQL's own program: run `pg_dump --format custom --schema keyservice \
         --schema keyservice_audit --file FILE DATABASE`; the page docs/backup.md says how often"
    )]
    NotByUs,
    #[error(
        "a PostgreSQL store is restored by PostgreSQL's own program, into an empty database: run `pg_restore \
         --exit-on-error --single-transaction --dbname DATABASE FILE`; the page docs/backup.md says how to lose nothing"
    )]
    NotRestoredByUs,
    #[error(transparent)]
    Misused(#[from] Failure),
    #[error("standard output is a terminal: redirect it to a file, or give the name of one")]
    Terminal,
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("cannot print what was done: {0}")]
    Print(#[from] io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Misused(failure) => failure,
            Error::NotByUs
            | Error::NotRestoredByUs
            | Error::Terminal
            | Error::Copy(CopyError::Exists(_)) => Self::Misused(text),
            Error::Copy(CopyError::Open(error)) => error.into(),
            Error::Copy(CopyError::File { error, .. }) if error.kind() == ErrorKind::NotFound => {
                Self::Misused(text)
            }
            Error::Copy(_) | Error::Print(_) => Self::Refused(text),
        }
    }
}

const STANDARD: &str = "-";

impl BackupCommand {
    /// Makes the copy, and prints what it holds.
    pub(super) fn run(&self) -> Result<(), Error> {
        self.store.refuse_service()?;
        let StoreAddress::Sqlite(path) = &self.store.address else {
            return Err(Error::NotByUs);
        };
        // Before the copy is begun: it has what was acknowledged until now.
        let until = Timestamp::now();
        if self.file == Path::new(STANDARD) {
            let mut output = io::stdout().lock();
            if output.is_terminal() {
                return Err(Error::Terminal);
            }
            let copied = sqlite::back_up_to(path, &mut output)?;
            complain(&summary(&copied, until));
            return Ok(());
        }
        let copied = sqlite::back_up(path, &self.file, self.overwrite)?;
        let mut printed = fields(&copied);
        printed["file"] = json!(self.file.display().to_string());
        printed["until"] = json!(until.to_string());
        let line = if self.format.is_table() {
            format!("{}: {}", self.file.display(), summary(&copied, until))
        } else {
            printed.to_string()
        };
        print(&line)
    }
}

/// More than any call takes. A record has the time at which its call began, which may be before the last write of a
/// backup that lacks it.
const LONGEST_CALL: Duration = Duration::from_secs(600);

impl RestoreCommand {
    /// Puts the copy in place, and prints what it holds and where the database is that was there before.
    pub(super) fn run(&self) -> Result<(), Error> {
        self.store.refuse_service()?;
        let StoreAddress::Sqlite(path) = &self.store.address else {
            return Err(Error::NotRestoredByUs);
        };
        let restored = if self.file == Path::new(STANDARD) {
            let input = &mut io::stdin().lock();
            sqlite::restore_from(path, input, "standard input", self.incomplete)
        } else {
            sqlite::restore(path, &self.file, self.incomplete)
        }?;
        let replaced = restored.replaced.map(|path| path.display().to_string());
        let copied = restored.copied;
        let mut printed = fields(&copied);
        printed["store"] = json!(path.display().to_string());
        printed["replaced"] = json!(replaced);
        let last = copied
            .last_write
            .map_or("nothing".to_owned(), |time| time.to_string());
        let (store, keys) = (path.display(), copied.keys);
        let line = if self.format.is_table() {
            let keys = counted(keys, "key");
            format!("{store}: restored {keys}, up to {last}")
        } else {
            printed.to_string()
        };
        // What was done is told, even if standard output takes nothing.
        complain(
            "what was revoked, suspended, narrowed or removed after that is as before: give `keyservice replay` \
             the service's log from after that",
        );
        complain(
            "no service serves it before `keyservice accept-restore` was run with this --store",
        );
        if let Some(replaced) = replaced {
            let since = copied.last_write.map_or(String::new(), |time| {
                format!(" --since {}", time.saturating_sub(LONGEST_CALL))
            });
            complain(&format!(
                "the database that was there is {replaced} now. This replays from it: `keyservice audit --store \
                 sqlite:{replaced}{since} --output json | keyservice replay --store sqlite:{} -`",
                path.display()
            ));
        }
        print(&line)
    }
}

fn summary(copied: &Copied, until: Timestamp) -> String {
    let Copied { keys, revision, .. } = copied;
    let keys = counted(*keys, "key");
    format!("{keys}, revision {revision}, every write until {until}")
}

fn fields(copied: &Copied) -> serde_json::Value {
    json!({
        "keys": copied.keys,
        "revision": copied.revision,
        "last_write_time": copied.last_write.map(|time| time.to_string()),
    })
}

fn print(line: &str) -> Result<(), Error> {
    let printed = to_stdout(|output| writeln!(output, "{line}"), is_broken_pipe);
    Ok(printed?)
}
