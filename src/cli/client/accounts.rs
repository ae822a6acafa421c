//! `keyservice accounts`: whole accounts.

use super::{
    arguments::{account, text},
    confirm::Consent,
    connection::Connection,
    failure::Failure,
    glimpse,
    printer::{Lines, json, print, say, suspended},
    with_client,
};
use crate::cli::output::OutputFormat;
use clap::{Args, Subcommand};
use tosend_keyservice::{
    Admin,
    proto::{Account, GetAccountRequest, ResumeAccountRequest, SuspendAccountRequest, Suspension},
};

/// What to do with an account.
#[derive(Debug, Args)]
pub(in crate::cli) struct AccountsCommand {
    #[command(subcommand)]
    what: Accounts,

    #[command(flatten)]
    format: OutputFormat,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Accounts {
    /// Show whether an account is suspended, and how many keys and domains it has.
    Get {
        /// The account.
        #[arg(value_parser = account)]
        account: String,
    },
    /// Deny all keys of an account, also later ones, until it is resumed.
    Suspend {
        /// The account.
        #[arg(value_parser = account)]
        account: String,

        /// Why, for people. It replaces the reason of an account that is suspended already.
        #[arg(long, value_parser = text)]
        reason: String,

        #[command(flatten)]
        consent: Consent,
    },
    /// End an account's suspension.
    Resume {
        /// The account.
        #[arg(value_parser = account)]
        account: String,
    },
}

impl AccountsCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        with_client(&self.connection, async |client| {
            let admin = &client.admin();
            match &self.what {
                Accounts::Get { account } => {
                    let found = get(admin, account).await?;
                    if is_unknown(&found) {
                        self.say_unknown(account);
                    }
                    self.show(&found)
                }
                Accounts::Suspend {
                    account,
                    reason,
                    consent,
                } => self.suspend(admin, account, reason, *consent).await,
                Accounts::Resume { account } => self.resume(admin, account).await,
            }
        })
    }

    async fn suspend(
        &self,
        admin: &Admin,
        account: &str,
        reason: &str,
        consent: Consent,
    ) -> Result<(), Failure> {
        let before = glimpse(get(admin, account)).await;
        if before.as_ref().is_some_and(is_unknown) {
            let place = self.connection.place();
            consent.obtain_despite(&format!(
                "At {place}, no key and no domain belongs to the account {account}. Suspended, it stays so until it \
                 is resumed."
            ))?;
        }
        let request = SuspendAccountRequest {
            account_id: account.to_owned(),
            reason: reason.to_owned(),
        };
        admin.suspend_account(request).await?;
        if self.format.is_table() {
            let place = self.connection.place();
            say(&format!("Suspended the account {account} at {place}."));
        }
        say_replaced(before.and_then(|account| account.suspension), reason);
        self.show_changed(admin, account, "is suspended").await
    }

    async fn resume(&self, admin: &Admin, account: &str) -> Result<(), Failure> {
        let before = get(admin, account).await.ok();
        if let Some(before) = before.filter(|before| before.suspension.is_none()) {
            if is_unknown(&before) {
                self.say_unknown(account);
            } else {
                say(&format!(
                    "The account {account} was not suspended. Nothing was changed."
                ));
            }
            return self.show(&before);
        }
        let request = ResumeAccountRequest {
            account_id: account.to_owned(),
        };
        admin.resume_account(request).await?;
        self.show_changed(admin, account, "is not suspended any more")
            .await
    }

    /// Shows the account after a change, which is done whether or not it can be shown.
    async fn show_changed(&self, admin: &Admin, account: &str, done: &str) -> Result<(), Failure> {
        let shown = match get(admin, account).await {
            Ok(account) => self.show(&account),
            Err(failure) => Err(failure),
        };
        let Err(failure) = shown else { return Ok(()) };
        say(&format!("The account {account} {done}."));
        if let Failure::Print(_) = failure {
            return Err(failure);
        }
        say(&format!(
            "What else there is of it cannot be shown: {failure}"
        ));
        Ok(())
    }

    /// Says what a typing error leads to, or the wrong service.
    fn say_unknown(&self, account: &str) {
        let unknown = format!("The account {account} has no key, no domain and no suspension");
        let unknown = self.connection.place().explain(unknown);
        say(&format!(
            "{unknown}. Is it spelt right? Upper and lower case differ."
        ));
    }

    fn show(&self, account: &Account) -> Result<(), Failure> {
        print(
            self.format,
            || account_text(account),
            || json("Account", account),
        )
    }
}

/// The account as it is now.
pub(super) async fn get(admin: &Admin, account: &str) -> Result<Account, Failure> {
    let request = GetAccountRequest {
        account_id: account.to_owned(),
    };
    Ok(admin
        .get_account(request)
        .await?
        .account
        .unwrap_or_default())
}

/// Whether the service has never heard of it. A typing error leads here.
pub(super) fn is_unknown(account: &Account) -> bool {
    account.domain_count == 0 && key_count(account) == 0 && account.suspension.is_none()
}

/// How many keys it has, whatever their status.
pub(super) fn key_count(account: &Account) -> i64 {
    let counts = account.key_counts.unwrap_or_default();
    let counts = [
        counts.active,
        counts.suspended,
        counts.expired,
        counts.revoked,
    ];
    counts.into_iter().fold(0, i64::saturating_add)
}

/// Says that the suspension is a second one, and which reason the first one had.
pub(super) fn say_replaced(before: Option<Suspension>, reason: &str) {
    if let Some(before) = before {
        let replaced = if before.reason == reason.trim() {
            ""
        } else {
            " The new reason replaces that one."
        };
        let before = suspended(&before);
        say(&format!("It was suspended already, {before}.{replaced}"));
    }
}

fn account_text(account: &Account) -> String {
    let mut lines = Lines::default();
    lines.add("Account", &account.account_id);
    let suspension = account.suspension.as_ref();
    lines.add("Suspended", suspension.map_or("no".to_owned(), suspended));
    let counts = account.key_counts.unwrap_or_default();
    let keys = format!(
        "{} active, {} suspended, {} expired, {} revoked",
        counts.active, counts.suspended, counts.expired, counts.revoked
    );
    lines.add("Keys", keys);
    lines.add("Domains", account.domain_count);
    lines.into_text()
}
