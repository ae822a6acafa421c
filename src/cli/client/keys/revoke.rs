//! `keys revoke` and `keys batch-revoke`: what cannot be undone.

use super::{
    shown::{self, show},
    suspended_accounts::SuspendedAccounts,
    target::{Named, Target},
};
use crate::{
    cli::{
        client::{
            arguments::{account, domain, file_path, label, text},
            confirm::Consent,
            failure::Failure,
            mistaken_secret::refuse_bearer_secret,
            printer::{PAGE, json, print, print_with, say},
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
        BatchRevokeRequest, BatchRevokeResponse, Key, ListRequest, RevokeRequest,
        batch_revoke_request::{Filter, Keys, Selection},
        key::Status,
    },
};

/// How many keys a dry run shows, and how many pages of the list it searches for them.
const MOST_SHOWN: usize = 20;
const MOST_PAGES: usize = 20;

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
        self.consent
            .obtain(async || target.revocation(admin, place).await)
            .await?;
        let request = RevokeRequest {
            target: Some(target.into()),
            account_id: None,
        };
        let revoked = admin.revoke(request).await?;
        show(admin, format, revoked.key).await
    }
}

/// Which keys to revoke: those of an account that pass all filters, or those in files.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("given").multiple(true).conflicts_with("filter"))]
#[command(group = clap::ArgGroup::new("filter").multiple(true))]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(super) struct BatchRevoke {
    /// The account of the keys. Alone, it selects all of its keys.
    #[arg(long, value_name = "ACCOUNT", value_parser = account, group = "which")]
    account: Option<String>,

    /// Only keys that are restricted to exactly this domain.
    #[arg(long, value_name = "DOMAIN", value_parser = domain, group = "filter", requires = "account")]
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
    #[arg(long, value_parser = text, required_unless_present = "dry_run")]
    reason: Option<String>,

    /// Say only how many keys it would be, and on a terminal which, and revoke none.
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
            // A dry run stores none, but the service wants one.
            reason: self.reason.clone().unwrap_or("dry run".to_owned()),
            dry_run: true,
        };
        if self.dry_run {
            let found = admin.batch_revoke(dry_run.clone()).await?;
            if format.is_table() {
                let count = usize::try_from(found.revoked_count).unwrap_or(0);
                self.show_some(admin, dry_run.selection, count).await?;
            }
            return self.show(format, &found);
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
            Ok(Some(format!(
                "At {place}, this revokes {at_least}{count} keys{of}."
            )))
        };
        self.consent.obtain(question).await?;
        let request = BatchRevokeRequest {
            dry_run: false,
            ..dry_run
        };
        let mut before = 0;
        // A call revokes so many keys at most. Each that is done is done.
        let revoked = loop {
            let mut revoked = admin.batch_revoke(request.clone()).await?;
            let is_idle = revoked.revoked_count == 0 && revoked.already_revoked_count == 0;
            revoked.revoked_count = revoked.revoked_count.saturating_add(before);
            if !revoked.there_are_more {
                break revoked;
            }
            before = revoked.revoked_count;
            say(&format!("Revoked {before} keys; there are more."));
            if is_idle {
                return Err(Failure::Refused(
                    "the service says that there are more keys to revoke, and revokes none: find out who answers \
                     at this address"
                        .to_owned(),
                ));
            }
        };
        self.show(format, &revoked)
    }

    /// Shows the first of so many keys that would be revoked.
    async fn show_some(
        &self,
        admin: &Admin,
        selection: Option<Selection>,
        count: usize,
    ) -> Result<(), Failure> {
        let keys = match selection {
            Some(Selection::Keys(keys)) => given(admin, keys).await,
            _ => self.filtered(admin).await?,
        };
        let mut table = shown::table();
        shown::add_rows(&mut table, &keys, &SuspendedAccounts::default());
        print_with(|mut output| table.print(&mut output))?;
        if keys.len() == MOST_SHOWN || keys.len() < count {
            say(&format!(
                "These are the first {}; there may be more.",
                keys.len()
            ));
        }
        Ok(())
    }

    /// The newest keys that pass the filters.
    async fn filtered(&self, admin: &Admin) -> Result<Vec<Key>, Failure> {
        let mut request = ListRequest {
            account_id: self.account.clone().unwrap_or_default(),
            page_size: PAGE,
            domain: self.domain.clone(),
            labels: self.labels.iter().cloned().collect(),
            unused_since: self.unused_since.map(grpc::timestamp),
            ..ListRequest::default()
        };
        let before = self.created_before.map_or(i64::MAX, Timestamp::as_micros);
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = admin.list(request.clone()).await?;
            found.extend(
                page.keys
                    .into_iter()
                    .filter(|key| key.status() != Status::Revoked && created_micros(key) < before),
            );
            request.page_token = page.next_page_token;
            if found.len() >= MOST_SHOWN || request.page_token.is_empty() {
                break;
            }
        }
        found.truncate(MOST_SHOWN);
        Ok(found)
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
            tokens: tokens(self.tokens_file.as_deref())?,
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

/// The first of given keys that exist and are not revoked.
async fn given(admin: &Admin, keys: Keys) -> Vec<Key> {
    let ids = keys.key_ids.into_iter().map(Named::Id);
    let named = ids.chain(keys.tokens.into_iter().map(Named::Token));
    let mut found = Vec::new();
    for named in named.take(MOST_SHOWN) {
        // The count below says how many were not found.
        let key = named.get(admin).await.ok();
        found.extend(key.filter(|key| key.status() != Status::Revoked));
    }
    found
}

fn created_micros(key: &Key) -> i64 {
    let created = key.create_time.unwrap_or_default();
    let micros = i64::from(created.nanos) / 1000;
    created
        .seconds
        .saturating_mul(1_000_000)
        .saturating_add(micros)
}

/// The tokens in a file, one a line.
fn tokens(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    let tokens = lines(file)?;
    let source = file.map_or(String::new(), |file| file.display().to_string());
    for token in &tokens {
        refuse_bearer_secret(token, &source)?;
    }
    Ok(tokens)
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
