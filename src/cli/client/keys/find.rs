//! `keys list` and `keys get`.

use super::{
    shown::{KeyTable, given_flags, show_with},
    suspended_accounts::{SuspendedAccounts, may_be_granted},
    target::Target,
};
use crate::{
    cli::{
        client::{
            accounts,
            arguments::{account, count_of_some, distinct, domain, label, text},
            domains::none_covers,
            failure::Failure,
            origin::Place,
            pages::Pages,
            printer::{PAGE, print_json, print_with, say, suspended, time},
        },
        output::OutputFormat,
        times::past,
    },
    grpc,
    model::time::Timestamp,
};
use clap::{Args, ValueEnum};
use tosend_keyservice::{
    Admin, AdminError, Code, code_name,
    proto::{Key, ListRequest, key, scope::Kind},
};

/// Which keys to list. What is left out restricts nothing.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).multiple(true))]
pub(super) struct List {
    /// The account whose keys to list.
    #[arg(long, value_name = "ACCOUNT", value_parser = account, group = "whose")]
    account: Option<String>,

    /// List the keys of all accounts.
    #[arg(long, conflicts_with = "account", group = "whose")]
    all_accounts: bool,

    /// Only keys with this status of their own, whether or not their account is suspended.
    #[arg(long, ignore_case = true)]
    status: Option<Status>,

    /// Only keys that are restricted to exactly this domain.
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    domain: Option<String>,

    /// Only keys with this label. Give one flag for each.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Only keys whose name begins so.
    #[arg(long, value_name = "TEXT", value_parser = text)]
    name_prefix: Option<String>,

    /// Only the key whose token begins and ends so: `tsend_ab…wxyz`, or `tsend_ab...wxyz`. Without --account,
    /// it is looked for in all of them.
    #[arg(long, value_name = "PREVIEW", value_parser = text, group = "whose")]
    preview: Option<String>,

    /// Only keys that were not used since this time: a time in UTC, such as 2030-01-31, or how long ago, such
    /// as 90days.
    #[arg(long, value_name = "TIME", value_parser = past)]
    unused_since: Option<Timestamp>,

    /// Only so many keys, the newest.
    #[arg(long, value_name = "COUNT", value_parser = count_of_some, allow_negative_numbers = true)]
    limit: Option<u32>,
}

/// Each has its name in JSON, too, so that a script can give back what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    #[value(alias = "STATUS_ACTIVE")]
    Active,
    #[value(alias = "STATUS_SUSPENDED")]
    Suspended,
    #[value(alias = "STATUS_EXPIRED")]
    Expired,
    #[value(alias = "STATUS_REVOKED")]
    Revoked,
}

impl List {
    /// Prints page after page, so that it takes no more memory for more keys.
    pub(super) async fn run(
        &self,
        admin: &Admin,
        format: OutputFormat,
        place: &Place,
    ) -> Result<(), Failure> {
        let mut left = self.limit.unwrap_or(u32::MAX);
        let mut request = self.request()?;
        let (mut table, mut known) = (KeyTable::default(), SuspendedAccounts::default());
        let mut pages = Pages::default();
        loop {
            request.page_size = PAGE.min(i32::try_from(left).unwrap_or(PAGE));
            let page = admin.list(request.clone()).await;
            let page = page.map_err(|error| self.failure(error))?;
            if format.is_table() {
                known.look_up(admin, &page.keys).await;
                table.add(&page.keys, &known);
                print_with(|mut output| table.print(&mut output))?;
            } else {
                print_json("Key", &page.keys)?;
            }
            let count = u32::try_from(page.keys.len()).unwrap_or(u32::MAX);
            left = left.saturating_sub(count);
            match pages.next(page.next_page_token, page.keys.len())? {
                Some(next) if left > 0 => request.page_token = next,
                _ => break,
            }
        }
        if format.is_table() && table.is_empty() {
            let none = format!("No keys match{}", self.filters());
            say(&format!("{}.", place.explain(none)));
        }
        if let (Some(Status::Suspended), Some(account)) = (self.status, &self.account) {
            say_suspended(admin, account).await;
        }
        if known.have_more() {
            say(
                "Not every account was looked at: `keyservice accounts get` says whether one is suspended.",
            );
        }
        Ok(())
    }

    /// The failure of a call, with what a caller that is limited to some accounts can do.
    fn failure(&self, error: AdminError) -> Failure {
        match (Failure::from(error), &self.account) {
            (Failure::Misused(why), None) if why.contains(code_name(Code::PermissionDenied)) => {
                Failure::Misused(format!(
                    "{why}; a caller that is limited to some accounts must give one of them by --account"
                ))
            }
            (failure, _) => failure,
        }
    }

    /// What was asked for, as it was given.
    fn filters(&self) -> String {
        let status = self.status.and_then(|status| status.to_possible_value());
        let status = status.map(|status| status.get_name().to_owned());
        let since = self.unused_since.map(|since| time(&grpc::timestamp(since)));
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| ("label", Some(format!("{name}={value}"))));
        let filters = [
            ("account", self.account.clone()),
            ("status", status),
            ("domain", self.domain.clone()),
            ("name-prefix", self.name_prefix.clone()),
            ("preview", self.preview.clone()),
            ("unused-since", since),
        ];
        given_flags(filters.into_iter().chain(labels))
    }

    fn request(&self) -> Result<ListRequest, Failure> {
        let status = self.status.map_or(key::Status::Unspecified, Status::of_key);
        Ok(ListRequest {
            account_id: self.account.clone().unwrap_or_default(),
            all_accounts: self.account.is_none(),
            status: status.into(),
            domain: self.domain.clone(),
            labels: distinct(&self.labels)?,
            name_prefix: self.name_prefix.clone().unwrap_or_default(),
            preview: self.preview.clone().unwrap_or_default(),
            unused_since: self.unused_since.map(grpc::timestamp),
            ..ListRequest::default()
        })
    }
}

impl Status {
    fn of_key(self) -> key::Status {
        match self {
            Self::Active => key::Status::Active,
            Self::Suspended => key::Status::Suspended,
            Self::Expired => key::Status::Expired,
            Self::Revoked => key::Status::Revoked,
        }
    }
}

/// Says that an account is suspended, which the status of its keys does not tell.
async fn say_suspended(admin: &Admin, account: &str) {
    // The list is whole, whether or not this can be found out.
    let found = accounts::get(admin, account).await.ok();
    if let Some(suspension) = found.and_then(|found| found.suspension) {
        let suspension = suspended(&suspension);
        say(&format!(
            "The account {account} itself is suspended {suspension}. All its keys are denied, and each keeps its own status."
        ));
    }
}

/// Which key to show.
#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    target: Target,
}

impl Get {
    pub(super) async fn run(&self, admin: &Admin, format: OutputFormat) -> Result<(), Failure> {
        let key = self.target.read()?.get(admin).await?;
        let unverified = unverified(admin, &key).await.unwrap_or_default();
        // A table has both in its lines.
        if !format.is_table() && may_be_granted(&key) {
            say_suspended(admin, &key.account_id).await;
            if let Some(Kind::Domain(domain)) = kind(&key)
                && !unverified.is_empty()
            {
                say(&format!("The key is for {domain}{unverified}."));
            }
        }
        show_with(admin, format, Some(key), unverified).await
    }
}

fn kind(key: &Key) -> Option<&Kind> {
    key.scope.as_ref()?.kind.as_ref()
}

/// What to say of the domain of a key that is denied because none of its domains is verified.
async fn unverified(admin: &Admin, key: &Key) -> Option<&'static str> {
    let (only, said) = match kind(key)? {
        Kind::Domain(domain) => (Some(&**domain), ", which is not verified for its account"),
        Kind::AllDomains(_) => (None, ", which has none"),
    };
    none_covers(admin, &key.account_id, only)
        .await
        .then_some(said)
}
