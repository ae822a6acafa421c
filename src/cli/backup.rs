//! `keyservice backup` and `keyservice restore`: a copy of an SQLite store, and its way back.
//!
//! Must never replace a file that nobody asked to replace.

use super::{
    client::Failure,
    complain,
    named_store::NamedStore,
    output::{OutputFormat, is_broken_pipe, shell_word, to_stdout},
};
use crate::{
    config::StoreAddress,
    model::{counted::counted, time::Timestamp},
    store::sqlite::{self, Copied, CopyError, Former, MayRestore},
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

    /// Replace the store by a copy of another one, as of another installation. It is moved away, not deleted.
    #[arg(long)]
    allow_other_store: bool,

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
    #[error(
        "FILE begins as the address of a store: give the copy's path alone, and the store by --store (KEYSERVICE_STORE)"
    )]
    Address,
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
            | Error::Address
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

/// Nobody means a file of such a name. It may hold a password, so the error does not repeat it.
fn refuse_address(file: &Path) -> Result<(), Error> {
    if StoreAddress::is_begun_by(&file.to_string_lossy()) {
        return Err(Error::Address);
    }
    Ok(())
}

impl BackupCommand {
    /// Makes the copy, and prints what it holds.
    pub(super) fn run(&self) -> Result<(), Error> {
        refuse_address(&self.file)?;
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
        refuse_address(&self.file)?;
        self.store.refuse_service()?;
        let StoreAddress::Sqlite(path) = &self.store.address else {
            return Err(Error::NotRestoredByUs);
        };
        let may = MayRestore {
            incomplete: self.incomplete,
            other_store: self.allow_other_store,
        };
        let restored = if self.file == Path::new(STANDARD) {
            let input = &mut io::stdin().lock();
            sqlite::restore_from(path, input, "standard input", may)
        } else {
            sqlite::restore(path, &self.file, may)
        }?;
        let copied = restored.copied;
        let mut printed = fields(&copied);
        printed["store"] = json!(path.display().to_string());
        printed["replaced"] = match &restored.replaced {
            Former::Nothing => json!(null),
            Former::Log(kept)
            | Former::Unreadable(kept)
            | Former::Database(kept, _)
            | Former::Unaccepted { kept, .. } => json!(kept.display().to_string()),
        };
        let line = if self.format.is_table() {
            format!("{}: restored {copied}", path.display())
        } else {
            printed.to_string()
        };
        // What was done is told, even if standard output takes nothing.
        complain(
            "what was revoked, suspended, narrowed or removed after that is as before: give `keyservice replay` \
             the service's log from before the backup to the end",
        );
        complain(
            "no service serves it before `keyservice accept-restore` was run with this --store",
        );
        if let Some(said) = said_of(&restored.replaced, &copied, path) {
            complain(&said);
        }
        print(&line)
    }
}

/// Where the database is that was there before, and how to replay from it.
fn said_of(replaced: &Former, copied: &Copied, store: &Path) -> Option<String> {
    let (kept, held, has_more, served) = match replaced {
        Former::Nothing => return None,
        Former::Log(kept) => {
            let kept = kept.display();
            return Some(format!(
                "the database that was there is gone, and nobody can read its log without it: that is {kept} now"
            ));
        }
        Former::Unreadable(kept) => {
            let kept = kept.display();
            return Some(format!(
                "what was there cannot be read as a store: it is {kept} now"
            ));
        }
        Former::Database(kept, held) => {
            let moved = moved(kept, held);
            let is_other = held.store_id != copied.store_id && copied.store_id.is_some();
            if held.revision == 0 || is_other {
                return Some(moved);
            }
            return Some(format!("{moved}. {}", replay_from(kept, copied, store)));
        }
        Former::Unaccepted {
            kept,
            held,
            has_more,
            served,
        } => (kept, held, has_more, served),
    };
    let moved = format!(
        "{}: a copy that nobody has accepted, so what was written after it was made is not in it",
        moved(kept, held)
    );
    if let Some((kept, held)) = served {
        let replay = replay_from(kept, copied, store);
        let kept = kept.display();
        return Some(format!(
            "{moved}. The one that was served before is {kept} ({held}). {replay}"
        ));
    }
    let is_elsewhere = format!(
        "The one that was served before is not among {}.replaced-*: find it, or the service's log, for what is in none \
         of them",
        store.display()
    );
    Some(if *has_more {
        let replay = replay_from(kept, copied, store);
        format!("{moved}. {replay}. {is_elsewhere}")
    } else {
        format!("{moved}. {is_elsewhere}")
    })
}

fn moved(kept: &Path, held: &Copied) -> String {
    let kept = kept.display();
    format!("the database that was there is {kept} now ({held})")
}

/// How what the database has and the copy lacks is written again.
fn replay_from(kept: &Path, copied: &Copied, store: &Path) -> String {
    let since = copied.last_write.map_or(String::new(), |time| {
        format!(" --since {}", time.saturating_sub(LONGEST_CALL))
    });
    let [kept, store] = [kept, store].map(|path| shell_word(&format!("sqlite:{}", path.display())));
    let secret = if copied.has_secret {
        " --digest-secret-file FILE"
    } else {
        ""
    };
    format!(
        "This replays from it: `keyservice audit --store {kept}{since} --output json | keyservice replay --store \
         {store}{secret} -`"
    )
}

fn summary(copied: &Copied, until: Timestamp) -> String {
    let keys = counted(copied.keys, "key");
    let revision = copied.revision;
    let id = copied
        .store_id
        .map_or(String::new(), |id| format!(", of the store {id}"));
    format!("{keys}, revision {revision}, every write until {until}{id}")
}

fn fields(copied: &Copied) -> serde_json::Value {
    json!({
        "store_id": copied.store_id.map(|id| id.to_string()),
        "keys": copied.keys,
        "revision": copied.revision,
        "last_write_time": copied.last_write.map(|time| time.to_string()),
    })
}

fn print(line: &str) -> Result<(), Error> {
    let printed = to_stdout(|output| writeln!(output, "{line}"), is_broken_pipe);
    Ok(printed?)
}
