//! `keyservice keys`: a key's whole life.

mod batch_files;
mod batch_revoke;
mod change;
mod destination;
mod find;
mod given_keys;
mod issue;
mod revoke;
mod shown;
mod suspended_accounts;
mod target;

use super::{connection::Connection, failure::Failure, with_client};
use crate::cli::output::OutputFormat;
use batch_revoke::BatchRevoke;
use change::{Resume, Suspend, Update};
use clap::{Args, Subcommand};
use find::{Get, List};
use issue::{Create, Rotate};
use revoke::Revoke;

/// What to do with keys.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeysCommand {
    #[command(subcommand)]
    what: Keys,

    #[command(flatten)]
    format: OutputFormat,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Create a key, and print its token once.
    ///
    /// Standard output gets the token and nothing else, or the file of --token-out does. The key is described on standard error.
    Create(Create),
    /// List keys, newest first.
    List(List),
    /// Show one key.
    Get(Get),
    /// Change a key's name, domain, labels, or when it expires.
    Update(Update),
    /// Replace a key by a successor, and print the successor's token once.
    ///
    /// Standard output gets the token and nothing else, or the file of --token-out does. The successor is described on standard error. The
    /// old token goes on working for a while: see --overlap.
    Rotate(Rotate),
    /// Deny a key until it is resumed.
    Suspend(Suspend),
    /// End a key's suspension.
    Resume(Resume),
    /// Revoke a key for good. When the command is done, no replica grants it any more.
    Revoke(Revoke),
    /// Revoke many keys of an account for good, or given ones of any.
    BatchRevoke(BatchRevoke),
}

impl KeysCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        with_client(&self.connection, async |client| {
            let (admin, format) = (&client.admin(), self.format);
            let place = &self.connection.place();
            match &self.what {
                Keys::Create(create) => create.run(admin, format).await,
                Keys::List(list) => list.run(admin, format, place).await,
                Keys::Get(get) => get.run(admin, format).await,
                Keys::Update(update) => update.run(admin, format).await,
                Keys::Rotate(rotate) => rotate.run(admin, format, place).await,
                Keys::Suspend(suspend) => suspend.run(admin, format, place).await,
                Keys::Resume(resume) => resume.run(admin, format).await,
                Keys::Revoke(revoke) => revoke.run(admin, format, place).await,
                Keys::BatchRevoke(batch) => batch.run(admin, format, place).await,
            }
        })
    }
}
