//! Owns the settings that say who may call, and how calls are protected on their way.
//! Promises that an unprotected server is reached from this machine alone, unless told otherwise.
//! Must never take half of a protection for the whole.

use crate::{
    callers::{
        Caller, Role,
        credentials::{self, line},
        secret::Secret,
    },
    model::{account::Accounts, caller_name::CallerName},
    net::{reload::NamedFile, tls::TlsFiles},
};
use clap::{ArgAction, Args, Subcommand};
use std::{fmt::Write, net::SocketAddr, path::PathBuf};

/// Who may call.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Callers")]
pub struct CallerSettings {
    /// File of those who may call, one a line: `NAME ROLE bearer=DIGEST`, as `keyservice credential
    /// new` prints it, or `NAME ROLE certificate=URI-OR-HOST`. Read again when it changes.
    #[arg(long, env = "KEYSERVICE_CREDENTIALS", value_name = "FILE")]
    pub credentials: Option<PathBuf>,

    /// File with the server's certificate and its chain (PEM). Read again when it changes.
    #[arg(
        long,
        env = "KEYSERVICE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// File with the certificate's private key (PEM). Read again when it changes.
    #[arg(
        long,
        env = "KEYSERVICE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// File with the roots of the clients' certificates (PEM): who has one can prove itself by it,
    /// which is mTLS. Read again when it changes.
    #[arg(long, env = "KEYSERVICE_TLS_CLIENT_CA", value_name = "FILE", requires_all = ["tls_cert", "credentials"])]
    pub tls_client_ca: Option<PathBuf>,

    /// Serve without TLS or without credentials on an address that other machines reach: whoever
    /// reaches it reads what is sent, tokens among it, or may make and revoke keys. Right only
    /// where something else, such as a mesh, keeps them off.
    #[arg(long, env = "KEYSERVICE_INSECURE", value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true", action = ArgAction::Set)]
    pub insecure: bool,
}

/// Other machines would reach an unprotected server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "--listen {listen} is reached from other machines, and calls would be {lacks}; give {missing}, \
     or listen on 127.0.0.1, or say --insecure if something else keeps strangers off"
)]
pub struct Unprotected {
    listen: SocketAddr,
    lacks: &'static str,
    missing: &'static str,
}

impl CallerSettings {
    /// The files for TLS, if it is spoken.
    #[must_use]
    pub fn tls_files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            client_ca: self.tls_client_ca.clone(),
        })
    }

    /// The credentials file, if callers must prove themselves.
    #[must_use]
    pub fn credentials_file(&self) -> Option<NamedFile> {
        let path = self.credentials.clone()?;
        Some(NamedFile {
            setting: "--credentials",
            path,
        })
    }

    /// Refuses an unprotected server that other machines reach; warns of any other.
    pub fn check_protection(&self, listen: SocketAddr) -> Result<(), Unprotected> {
        let (lacks, missing) = match (&self.tls_cert, &self.credentials) {
            (Some(_), Some(_)) => return Ok(()),
            (Some(_), None) => ("taken from anyone", "--credentials"),
            (None, Some(_)) => ("in plain text", "--tls-cert and --tls-key"),
            (None, None) => (
                "in plain text and taken from anyone",
                "--tls-cert, --tls-key and --credentials",
            ),
        };
        if listen.ip().to_canonical().is_loopback() {
            tracing::warn!(
                "calls are {lacks}, as only this machine reaches {listen}; elsewhere give {missing}"
            );
        } else if self.insecure {
            tracing::warn!("calls are {lacks}, and --insecure lets other machines reach {listen}");
        } else {
            return Err(Unprotected {
                listen,
                lacks,
                missing,
            });
        }
        Ok(())
    }
}

/// `keyservice credential`.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Draw a bearer secret, and print it once with the line for the credentials file.
    New(NewCredential),
}

/// A caller that is to have a bearer secret.
#[derive(Debug, Args)]
pub struct NewCredential {
    /// What people call the caller.
    #[arg(value_parser = CallerName::parse)]
    name: CallerName,

    /// `authorizer` may call Authorize; `admin` may also call Create, List and Revoke.
    #[arg(long, value_parser = role)]
    role: Role,

    /// The only accounts whose keys it may touch, separated by commas; all if left out.
    #[arg(long, value_name = "ACCOUNT,…", value_parser = credentials::accounts)]
    accounts: Option<Accounts>,
}

impl NewCredential {
    /// What to print for a new secret. This is the one place that shows it.
    #[must_use]
    pub fn shown_with(self, secret: &Secret) -> String {
        let caller = Caller {
            name: self.name,
            role: self.role,
            accounts: self.accounts.unwrap_or(Accounts::All),
        };
        let mut shown = String::new();
        writeln!(
            shown,
            "# The secret, for the caller. It is not shown again."
        )
        .expect("memory");
        writeln!(shown, "{}", secret.expose()).expect("memory");
        writeln!(shown, "# The line for the file of --credentials.").expect("memory");
        writeln!(shown, "{}", line(&caller, secret)).expect("memory");
        shown
    }
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "give authorizer or admin".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cli, Command};
    use clap::Parser;

    fn check(listen: &str, arguments: &[&str]) -> Result<(), Unprotected> {
        let arguments = ["keyservice", "serve"].iter().chain(arguments);
        let Command::Serve(settings) = Cli::try_parse_from(arguments).expect("right").command
        else {
            unreachable!("it is serve");
        };
        let listen = listen.parse().expect("an address");
        settings.callers.check_protection(listen)
    }

    const TLS: [&str; 4] = ["--tls-cert", "c", "--tls-key", "k"];
    const CREDENTIALS: [&str; 2] = ["--credentials", "f"];

    #[test]
    fn an_unprotected_server_is_reached_from_this_machine_alone() {
        let all = [&TLS[..], &CREDENTIALS].concat();
        for here in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(check(here, &[]), Ok(()), "{here}");
        }
        for anywhere in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[2001:db8::1]:1"] {
            for (given, missing) in [
                (&[][..], "--tls-cert, --tls-key and --credentials"),
                (&TLS, "give --credentials,"),
                (&CREDENTIALS, "give --tls-cert and --tls-key,"),
            ] {
                let refused = check(anywhere, given).expect_err("unprotected").to_string();
                assert!(refused.contains(missing), "{refused}");
                assert!(refused.contains(anywhere), "{refused}");
                let insecure = [given, &["--insecure"]].concat();
                assert_eq!(check(anywhere, &insecure), Ok(()));
            }
            assert_eq!(check(anywhere, &all), Ok(()));
        }
    }

    #[test]
    fn half_of_a_protection_is_refused() {
        for half in [
            &["--tls-cert", "c"][..],
            &["--tls-key", "k"],
            &["--tls-client-ca", "a"],
            &[&TLS[..], &["--tls-client-ca", "a"]].concat(),
        ] {
            let arguments = ["keyservice", "serve"].iter().chain(half);
            assert!(Cli::try_parse_from(arguments).is_err(), "{half:?}");
        }
    }
}
