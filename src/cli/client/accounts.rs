//! `keyservice accounts`: whole accounts.

use super::{
    connection::Connection,
    failure::Failure,
    printer::{Lines, json, print, say, time},
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
        account: String,
    },
    /// Deny all keys of an account, also later ones, until it is resumed.
    Suspend {
        /// The account.
        account: String,

        /// Why, for people.
        #[arg(long)]
        reason: String,
    },
    /// End an account's suspension.
    Resume {
        /// The account.
        account: String,
    },
}

impl AccountsCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        with_client(&self.connection, async |client| {
            let admin = client.admin();
            let account = self.what.account();
            let done = match &self.what {
                Accounts::Get { .. } => None,
                Accounts::Suspend { reason, .. } => {
                    let request = SuspendAccountRequest {
                        account_id: account.to_owned(),
                        reason: reason.clone(),
                    };
                    admin.suspend_account(request).await?;
                    Some("is suspended")
                }
                Accounts::Resume { .. } => {
                    let request = ResumeAccountRequest {
                        account_id: account.to_owned(),
                    };
                    admin.resume_account(request).await?;
                    Some("is not suspended any more")
                }
            };
            match (self.show(&admin, account).await, done) {
                (Err(failure), Some(done)) => {
                    say(&format!("The account {account} {done}."));
                    match failure {
                        Failure::Print(_) => Err(failure),
                        // The command has done what it was told.
                        failure => {
                            say(&format!(
                                "What else there is of it cannot be shown: {failure}"
                            ));
                            Ok(())
                        }
                    }
                }
                (shown, _) => shown,
            }
        })
    }

    /// Shows the account as it is now.
    async fn show(&self, admin: &Admin, account: &str) -> Result<(), Failure> {
        let request = GetAccountRequest {
            account_id: account.to_owned(),
        };
        let account = admin.get_account(request).await?.account;
        let account = account.unwrap_or_default();
        print(self.format, || text(&account), || json("Account", &account))
    }
}

impl Accounts {
    fn account(&self) -> &str {
        match self {
            Self::Get { account } | Self::Suspend { account, .. } | Self::Resume { account } => {
                account
            }
        }
    }
}

fn text(account: &Account) -> String {
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

/// Since when something is suspended, and why.
pub(super) fn suspended(suspension: &Suspension) -> String {
    let since = suspension
        .time
        .as_ref()
        .map_or(String::new(), |since| format!("since {}, ", time(since)));
    format!("{since}{}", suspension.reason)
}
