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
    /// Generate a bearer secret, and print it once.
    ///
    /// Standard output gets the secret and nothing else. The line for the credentials file goes to standard
    /// error, with a comment: `keyservice credential new NAME --role admin > secret 2>> credentials`.
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
    /// Prints the secret to standard output, and the line to standard error.
    pub(super) fn run(self) -> io::Result<()> {
        let Self::New(new) = self;
        let secret = Secret::generate(&mut rand::rng());
        // No other place shows a secret, so a reader that has gone is an error.
        to_stdout(
            |output| writeln!(output, "{}", secret.expose()),
            |_: &io::Error| false,
        )?;
        let line = line(&new.into_caller(), &secret);
        writeln!(
            io::stderr(),
            "# The secret of this caller went to standard output, and is not shown again. This line is for\n\
             # the file of --credentials.\n\
             {line}"
        )
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
