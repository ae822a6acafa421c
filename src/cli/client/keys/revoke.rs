//! `keys revoke` and `keys batch-revoke`: what cannot be undone.

use super::{
    issue::label,
    shown::{self, show},
    target::Target,
};
use crate::{
    cli::{
        client::{
            confirm::Consent,
            failure::Failure,
            file_path::file_path,
            printer::{json, print, say},
        },
        output::OutputFormat,
        times::past,
    },
    grpc,
    model::time::Timestamp,
};
use clap::Args;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tosend_keyservice::{
    Admin,
    proto::{
        BatchRevokeRequest, BatchRevokeResponse, RevokeRequest,
        batch_revoke_request::{Filter, Keys, Selection},
    },
};

/// Which key to revoke.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    consent: Consent,
}

impl Revoke {
    pub(super) async fn run(
        &self,
        admin: &Admin,
        format: OutputFormat,
        place: &str,
    ) -> Result<(), Failure> {
        let target = self.target.read()?;
        let question = async || Ok(shown::revokes(place, &target.clone().get(admin).await?));
        self.consent.obtain(question).await?;
        let request = RevokeRequest {
            target: Some(target.into()),
            account_id: None,
        };
        let revoked = admin.revoke(request).await?;
        show(format, &revoked.key.unwrap_or_default())
    }
}

/// Which keys to revoke: those of an account that pass all filters, or those in files.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("given").multiple(true).conflicts_with("filter"))]
#[command(group = clap::ArgGroup::new("filter").multiple(true))]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(super) struct BatchRevoke {
    /// The account of the keys. Alone, it selects all of its keys.
    #[arg(long, value_name = "ACCOUNT", group = "which")]
    account: Option<String>,

    /// Only keys that are restricted to exactly this domain.
    #[arg(long, value_name = "DOMAIN", group = "filter", requires = "account")]
    domain: Option<String>,

    /// Only keys with this label. Give one flag for each.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label, group = "filter", requires = "account")]
    labels: Vec<(String, String)>,

    /// Only keys that were created before this time: a time in UTC, such as 2030-01-31, or how long ago, such
    /// as 90days.
    #[arg(long, value_name = "TIME", value_parser = past, group = "filter", requires = "account")]
    created_before: Option<Timestamp>,

    /// Only keys that were not used since this time, given in the same way.
    #[arg(long, value_name = "TIME", value_parser = past, group = "filter", requires = "account")]
    unused_since: Option<Timestamp>,

    /// File with the ids of the keys, one a line.
    #[arg(long, value_name = "FILE", value_parser = file_path, groups = ["which", "given"])]
    key_ids_file: Option<PathBuf>,

    /// File with the tokens of the keys, one a line, such as those that were found in a leak.
    #[arg(long, value_name = "FILE", value_parser = file_path, groups = ["which", "given"])]
    tokens_file: Option<PathBuf>,

    /// Why, for people. It stays with each key.
    #[arg(long)]
    reason: String,

    /// Say only how many keys it would be, and revoke none.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    consent: Consent,
}

impl BatchRevoke {
    pub(super) async fn run(
        &self,
        admin: &Admin,
        format: OutputFormat,
        place: &str,
    ) -> Result<(), Failure> {
        let dry_run = BatchRevokeRequest {
            selection: Some(self.selection()?),
            account_id: self.account.clone(),
            reason: self.reason.clone(),
            dry_run: true,
        };
        if self.dry_run {
            return self.show(format, &admin.batch_revoke(dry_run).await?);
        }
        let question = async || {
            let found = admin.batch_revoke(dry_run.clone()).await?;
            let at_least = if found.there_are_more {
                "at least "
            } else {
                ""
            };
            let of = self.account.as_ref();
            let of = of.map_or(String::new(), |account| {
                format!(" of the account {account}")
            });
            let count = found.revoked_count;
            Ok(format!(
                "At {place}, this revokes {at_least}{count} keys{of}."
            ))
        };
        self.consent.obtain(question).await?;
        let request = BatchRevokeRequest {
            dry_run: false,
            ..dry_run
        };
        let mut revoked = admin.batch_revoke(request.clone()).await?;
        // A call revokes so many keys at most. Each that is done is done.
        while revoked.there_are_more {
            let before = revoked.revoked_count;
            say(&format!("Revoked {before} keys; there are more."));
            revoked = admin.batch_revoke(request.clone()).await?;
            revoked.revoked_count = revoked.revoked_count.saturating_add(before);
        }
        self.show(format, &revoked)
    }

    fn selection(&self) -> Result<Selection, Failure> {
        if self.key_ids_file.is_none() && self.tokens_file.is_none() {
            return Ok(Selection::Filter(Filter {
                domain: self.domain.clone(),
                labels: self.labels.iter().cloned().collect(),
                create_time_before: self.created_before.map(grpc::timestamp),
                unused_since: self.unused_since.map(grpc::timestamp),
            }));
        }
        Ok(Selection::Keys(Keys {
            key_ids: lines(self.key_ids_file.as_deref())?,
            tokens: lines(self.tokens_file.as_deref())?,
        }))
    }

    fn show(&self, format: OutputFormat, answer: &BatchRevokeResponse) -> Result<(), Failure> {
        let text = || {
            let (count, before) = (answer.revoked_count, answer.already_revoked_count);
            let done = match (self.dry_run, answer.there_are_more) {
                (true, false) => "Would revoke",
                (true, true) => "Would revoke at least",
                (false, _) => "Revoked",
            };
            let not_found = answer.not_found.len();
            format!("{done} {count} keys. Revoked before: {before}. Not found: {not_found}.")
        };
        print(format, text, || json("BatchRevokeResponse", answer))
    }
}

/// The lines of a file that are not empty. `-` is standard input.
fn lines(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let text = if file == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(file)
    };
    let text = text
        .map_err(|error| Failure::Misused(format!("{} cannot be read: {error}", file.display())))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
