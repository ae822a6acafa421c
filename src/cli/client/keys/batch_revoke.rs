//! `keys batch-revoke`.

use super::{
    batch_files::GivenKeys,
    given_keys,
    shown::{KeyTable, given_flags},
    suspended_accounts::SuspendedAccounts,
};
use crate::{
    cli::{
        client::{
            accounts,
            arguments::{account, distinct, domain, file_path, label, text},
            confirm::Consent,
            failure::Failure,
            origin::Place,
            pages::Pages,
            printer::{PAGE, json, print, print_with, say, time as time_text},
        },
        output::OutputFormat,
        times::past,
    },
    grpc,
    model::{counted::counted, printable::printable_json, time::Timestamp},
};
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;
use tosend_keyservice::{
    Admin,
    proto::{
        BatchRevokeRequest, BatchRevokeResponse, Key, ListRequest,
        batch_revoke_request::{Filter, Selection},
        key::Status,
    },
};

/// How many keys a dry run shows: some that fit on a screen, or what a program can look through.
const MOST_IN_TABLE: usize = 20;
const MOST_IN_JSON: usize = 100;

/// How many pages of the list it searches for them.
const MOST_PAGES: usize = 20;

/// How many calls one run makes. Each revokes 10,000 keys while there are more, and no account has so many.
const MOST_CALLS: usize = 1000;

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

    /// Why, for people. It stays with each key. Without --dry-run, it is required.
    #[arg(long, value_parser = text, required_unless_present = "dry_run")]
    reason: Option<String>,

    /// Say only which keys it would be, the first of them, and how many, and revoke none.
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
        place: &Place,
    ) -> Result<(), Failure> {
        let given = self.given()?;
        let dry_run = BatchRevokeRequest {
            selection: Some(self.selection(given.as_ref())?),
            account_id: self.account.clone(),
            // A dry run stores none, but the service wants one.
            reason: self.reason.clone().unwrap_or("dry run".to_owned()),
            dry_run: true,
        };
        if self.dry_run {
            let found = admin.batch_revoke(dry_run.clone()).await?;
            let keys = self.some(admin, dry_run.selection, format).await?;
            self.show_some(format, &found, &keys, given.as_ref())?;
            return self.conclude(admin, &found).await;
        }
        let mut none = None;
        let question = async || {
            let found = admin.batch_revoke(dry_run.clone()).await?;
            if found.revoked_count == 0 && !found.there_are_more {
                none = Some(found);
                return Ok(None);
            }
            let at_least = if found.there_are_more {
                "at least "
            } else {
                ""
            };
            let keys = counted(found.revoked_count, "key");
            let which = match &dry_run.selection {
                Some(Selection::Keys(given)) => given_keys::names(admin, given).await,
                _ => self.which(),
            };
            Ok(Some(format!(
                "At {place}, this revokes {at_least}{keys}{which}."
            )))
        };
        self.consent.obtain(question).await?;
        let revoked = if let Some(none) = none {
            // Nobody has agreed to the revocation of a key that is created meanwhile.
            none
        } else {
            let request = BatchRevokeRequest {
                dry_run: false,
                ..dry_run
            };
            self.revoke_all(admin, request).await?
        };
        print(
            format,
            || self.summary(&revoked, given.as_ref()),
            || json("BatchRevokeResponse", &revoked),
        )?;
        self.conclude(admin, &revoked).await
    }

    /// A call revokes so many keys at most. Each that is done is done. Ends even if others create keys all the time.
    async fn revoke_all(
        &self,
        admin: &Admin,
        request: BatchRevokeRequest,
    ) -> Result<BatchRevokeResponse, Failure> {
        let mut before = 0;
        for _ in 0..MOST_CALLS {
            let mut revoked = admin.batch_revoke(request.clone()).await?;
            let is_idle = revoked.revoked_count == 0 && revoked.already_revoked_count == 0;
            revoked.revoked_count = revoked.revoked_count.saturating_add(before);
            if !revoked.there_are_more {
                return Ok(revoked);
            }
            before = revoked.revoked_count;
            say(&format!(
                "Revoked {}; there are more.",
                counted(before, "key")
            ));
            if is_idle {
                return Err(Failure::Refused(
                    "the service says that there are more keys to revoke, and revokes none: find out who answers \
                     at this address"
                        .to_owned(),
                ));
            }
        }
        Err(Failure::Refused(format!(
            "{} were revoked, and there are still more. If others create them meanwhile, suspend the account first; \
             if not, find out who answers at this address",
            counted(before, "key")
        )))
    }

    /// Fails if there is no such key at all, not even a revoked one: then it was a mistake, and not an earlier run.
    async fn conclude(&self, admin: &Admin, answer: &BatchRevokeResponse) -> Result<(), Failure> {
        if answer.revoked_count > 0 || answer.already_revoked_count > 0 {
            return Ok(());
        }
        let Some(account) = self.account.as_ref().filter(|_| !self.has_files()) else {
            return Err(Failure::NotFound(
                "none of the given keys exists, as far as you may know".to_owned(),
            ));
        };
        if !self.filtered(admin, true, 1).await?.is_empty() {
            say("All keys that match are revoked already.");
            return Ok(());
        }
        let known = accounts::get(admin, account).await?;
        Err(Failure::NotFound(if accounts::is_unknown(&known) {
            format!("nothing matches: the account {account} has no key and no domain")
        } else {
            let keys = counted(accounts::key_count(&known), "key");
            format!(
                "nothing matches{}: the account {account} has {keys}, and none is such a key",
                self.filters()
            )
        }))
    }

    /// The first of the keys that would be revoked.
    async fn some(
        &self,
        admin: &Admin,
        selection: Option<Selection>,
        format: OutputFormat,
    ) -> Result<Vec<Key>, Failure> {
        let most = if format.is_table() {
            MOST_IN_TABLE
        } else {
            MOST_IN_JSON
        };
        match selection {
            Some(Selection::Keys(keys)) => Ok(given_keys::some(admin, keys, most).await),
            _ => self.filtered(admin, false, most).await,
        }
    }

    fn show_some(
        &self,
        format: OutputFormat,
        found: &BatchRevokeResponse,
        keys: &[Key],
        read: Option<&GivenKeys>,
    ) -> Result<(), Failure> {
        if !format.is_table() {
            let shown = keys.iter().map(|key| parsed(&json("Key", key)));
            let mut answer = parsed(&json("BatchRevokeResponse", found));
            // Nobody must take a dry run for what was done.
            answer["wouldRevokeCount"] = answer["revokedCount"].take();
            answer["keys"] = shown.collect();
            let fields = answer.as_object_mut().expect("a message is an object");
            fields.remove("revokedCount");
            return print(format, String::new, || {
                printable_json(&answer.to_string()).into_owned()
            });
        }
        let mut table = KeyTable::default();
        table.add(keys, &SuspendedAccounts::default());
        print_with(|mut output| table.print(&mut output))?;
        let count = usize::try_from(found.revoked_count).unwrap_or(0);
        if keys.len() < count || found.there_are_more {
            say(&format!("These are the first {} of them.", keys.len()));
        }
        print(format, || self.summary(found, read), String::new)
    }

    /// The newest keys that pass the filters, and are revoked or not.
    async fn filtered(
        &self,
        admin: &Admin,
        is_revoked: bool,
        most: usize,
    ) -> Result<Vec<Key>, Failure> {
        let mut request = ListRequest {
            account_id: self.account.clone().unwrap_or_default(),
            page_size: PAGE,
            domain: self.domain.clone(),
            labels: distinct(&self.labels)?,
            unused_since: self.unused_since.map(grpc::timestamp),
            ..ListRequest::default()
        };
        if is_revoked {
            request.set_status(Status::Revoked);
        }
        let before = self.created_before.map_or(i64::MAX, Timestamp::as_micros);
        // Among a million revoked keys, those that are not need not be found: they are only shown.
        let most_pages = if is_revoked { usize::MAX } else { MOST_PAGES };
        let (mut pages, mut found) = (Pages::default(), Vec::new());
        for _ in 0..most_pages {
            let page = admin.list(request.clone()).await?;
            let entries = page.keys.len();
            let keys = page.keys.into_iter();
            found.extend(keys.filter(|key| {
                is_revoked == (key.status() == Status::Revoked) && created_micros(key) < before
            }));
            match pages.next(page.next_page_token, entries)? {
                Some(next) if found.len() < most => request.page_token = next,
                _ => break,
            }
        }
        found.truncate(most);
        Ok(found)
    }

    /// Which keys, for a person, as they were given.
    fn which(&self) -> String {
        let account = self.account.as_ref();
        let account = account.map_or(String::new(), |account| {
            format!(" of the account {account}")
        });
        let filters = self.filters();
        if filters.is_empty() {
            account
        } else {
            format!("{account} with{filters}")
        }
    }

    /// The filters, as they were given.
    fn filters(&self) -> String {
        let time = |time: Timestamp| time_text(&grpc::timestamp(time));
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| ("label", Some(format!("{name}={value}"))));
        given_flags(
            [
                ("domain", self.domain.clone()),
                ("created-before", self.created_before.map(time)),
                ("unused-since", self.unused_since.map(time)),
            ]
            .into_iter()
            .chain(labels),
        )
    }

    fn has_files(&self) -> bool {
        self.key_ids_file.is_some() || self.tokens_file.is_some()
    }

    /// The keys that files name, if they are given.
    fn given(&self) -> Result<Option<GivenKeys>, Failure> {
        let (ids, tokens) = (self.key_ids_file.as_deref(), self.tokens_file.as_deref());
        let given = self.has_files().then(|| GivenKeys::read(ids, tokens));
        given.transpose()
    }

    fn selection(&self, given: Option<&GivenKeys>) -> Result<Selection, Failure> {
        Ok(match given {
            Some(given) => Selection::Keys(given.keys.clone()),
            None => Selection::Filter(Filter {
                domain: self.domain.clone(),
                labels: distinct(&self.labels)?,
                create_time_before: self.created_before.map(grpc::timestamp),
                unused_since: self.unused_since.map(grpc::timestamp),
            }),
        })
    }

    fn summary(&self, answer: &BatchRevokeResponse, given: Option<&GivenKeys>) -> String {
        let done = match (self.dry_run, answer.there_are_more) {
            (true, false) => "Would revoke",
            (true, true) => "Would revoke at least",
            (false, _) => "Revoked",
        };
        let keys = counted(answer.revoked_count, "key");
        let Some(given) = given else {
            return format!("{done} {keys}.");
        };
        let (before, not_found) = (answer.already_revoked_count, answer.not_found.len());
        let places = match &*given.places(&answer.not_found) {
            "" => String::new(),
            places => format!(" ({places})"),
        };
        format!("{done} {keys}. Revoked before: {before}. Not found: {not_found}{places}.")
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("what was written as JSON is JSON")
}

fn created_micros(key: &Key) -> i64 {
    let created = key.create_time.unwrap_or_default();
    let micros = i64::from(created.nanos) / 1000;
    created
        .seconds
        .saturating_mul(1_000_000)
        .saturating_add(micros)
}
