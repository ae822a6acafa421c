//! `keyservice credential`: makes the credentials of callers.

use super::output::to_stdout;
use crate::{
    callers::{
        Caller, Role,
        credentials::{self, line},
        secret::Secret,
    },
    model::{account::Accounts, caller_name::CallerName},
};
use clap::{Args, Subcommand};
use std::io::{self, Write};

/// What to do with credentials.
#[derive(Debug, Subcommand)]
pub(super) enum CredentialCommand {
    /// Generate a bearer secret, and print it once with the line for the credentials file.
    New(NewCredential),
}

/// A caller that is to have a bearer secret.
#[derive(Debug, Args)]
pub(super) struct NewCredential {
    /// What people call the caller.
    #[arg(value_parser = CallerName::parse)]
    name: CallerName,

    /// `authorizer` may call Authorize. `admin` may also work on keys and domains.
    #[arg(long, value_parser = role)]
    role: Role,

    /// The only accounts whose keys and domains the caller may touch, separated by commas. Without this
    /// option it may touch all.
    #[arg(long, value_name = "ACCOUNT,…", value_parser = credentials::parse_accounts)]
    accounts: Option<Accounts>,
}

impl CredentialCommand {
    /// Prints to standard output.
    pub(super) fn run(self) -> io::Result<()> {
        let Self::New(new) = self;
        let secret = Secret::generate(&mut rand::rng());
        let line = line(&new.into_caller(), &secret);
        let print = |output: &mut dyn Write| {
            // No other place shows a secret.
            writeln!(
                output,
                "# The secret, for the caller. It is not shown again.\n\
                 {}\n\
                 # The line for the file of --credentials.\n\
                 {line}",
                secret.expose(),
            )
        };
        // A reader that has gone has not seen the secret.
        to_stdout(|output| print(output), |_| false)
    }
}

impl NewCredential {
    fn into_caller(self) -> Caller {
        Caller {
            name: self.name,
            role: self.role,
            accounts: self.accounts.unwrap_or(Accounts::All),
        }
    }
}

fn role(text: &str) -> Result<Role, String> {
    text.parse()
        .map_err(|_| "give authorizer or admin".to_owned())
}
