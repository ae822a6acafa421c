//! `keyservice credential`: makes the credentials of callers.

use super::{
    client::{Failure, new_file_path, sentence},
    new_file::NewFile,
    output::to_stdout,
};
use crate::{
    callers::{
        Caller, Role,
        credentials::{self, line},
        secret::Secret,
    },
    model::{account::Accounts, caller_name::CallerName},
};
use clap::{Args, Subcommand};
use std::{
    io::{self, Write},
    path::PathBuf,
};

/// What to do with credentials.
#[derive(Debug, Subcommand)]
pub(super) enum CredentialCommand {
    /// Generate a bearer secret, and print it once.
    ///
    /// With `--secret-out`, the secret goes into a file of its own, and standard output gets the line for the
    /// credentials file: `keyservice credential new NAME --role admin --secret-out secret >> credentials`. Without it,
    /// standard output gets the secret and nothing else, and the line goes to standard error, with a comment.
    New(NewCredential),
}

/// A caller that is to have a bearer secret.
#[derive(Debug, Args)]
pub(super) struct NewCredential {
    /// What people call the caller.
    #[arg(value_parser = name)]
    name: CallerName,

    /// `authorizer` may call Authorize. `admin` may also work on keys and domains.
    #[arg(long, value_parser = role)]
    role: Role,

    /// The only accounts whose keys and domains the caller may touch, separated by commas. Without this
    /// option it may touch all.
    #[arg(long, value_name = "ACCOUNT,…", value_parser = accounts)]
    accounts: Option<Accounts>,

    /// Write the secret into this new file, which only you can read, and the line for the credentials file to standard
    /// output.
    #[arg(long, value_name = "FILE", value_parser = new_file_path)]
    secret_out: Option<PathBuf>,
}

impl CredentialCommand {
    /// Writes the secret into a new file, or prints it.
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::New(new) = self;
        let secret = Secret::generate(&mut rand::rng());
        if let Some(path) = &new.secret_out {
            let named = |error: io::Error| format!("--secret-out: {}: {error}", path.display());
            let mut file = NewFile::create(path).map_err(|error| Failure::Misused(named(error)))?;
            let line = line(&new.caller(), &secret);
            to_stdout(|output| writeln!(output, "{line}"), |_: &io::Error| false)?;
            let written = file.write(secret.expose());
            return written.map_err(|error| Failure::Refused(named(error)));
        }
        // No other place shows a secret, so a reader that has gone is an error.
        to_stdout(
            |output| writeln!(output, "{}", secret.expose()),
            |_: &io::Error| false,
        )?;
        let line = line(&new.caller(), &secret);
        Ok(writeln!(
            io::stderr(),
            "# The secret of this caller went to standard output, and is not shown again. This line is for\n\
             # the file of --credentials.\n\
             {line}"
        )?)
    }
}

impl NewCredential {
    fn caller(&self) -> Caller {
        Caller {
            name: self.name.clone(),
            role: self.role,
            accounts: self.accounts.clone().unwrap_or(Accounts::All),
        }
    }
}

fn name(text: &str) -> Result<CallerName, String> {
    CallerName::parse(text).map_err(sentence)
}

fn accounts(text: &str) -> Result<Accounts, String> {
    if text.contains(char::is_whitespace) {
        return Err(
            "it has a blank: give ACCOUNT,ACCOUNT with a comma alone between them".to_owned(),
        );
    }
    credentials::parse_accounts(text).map_err(|wrong| format!("one of them {wrong}"))
}

fn role(text: &str) -> Result<Role, String> {
    text.parse()
        .map_err(|_| "give authorizer or admin".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_list_of_accounts_is_explained() {
        for (list, said) in [
            ("acme, globex", "it has a blank"),
            ("acme,+globex", "one of them is not an account id"),
        ] {
            let error = accounts(list).expect_err("wrong");
            assert!(error.starts_with(said), "{error}");
        }
    }
}
