//! The setting that says which store: its address, in one of two forms.
//!
//! Promises an address that names a store, or an error that says what does.
//! Must never print a password: not in `Debug`, not in `--help`, not in an error.

use super::Hidden;
use clap::{Args, builder::TypedValueParser, error::ErrorKind};
use std::{ffi::OsStr, fmt, path::PathBuf, str::FromStr};

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct StoreSetting {
    /// Where keys are stored: `sqlite:PATH` for one process, or
    /// `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=…` for many. An address with a password is
    /// better given in the environment, where other users of the machine do not see it.
    #[arg(
        id = "store",
        long,
        env = "KEYSERVICE_STORE",
        value_name = "ADDRESS",
        default_value = "sqlite:keyservice.db",
        hide_env_values = true,
        value_parser = StoreAddressParser
    )]
    pub address: StoreAddress,
}

/// Where keys are stored.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A `postgres://` address. May hold a password.
    Postgres(Hidden),
}

impl FromStr for StoreAddress {
    type Err = String;

    /// Reads an address; one that comes from a file may have a line's end.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("sqlite:") {
            if path.is_empty() {
                return Err("give the file's path after `sqlite:`".to_owned());
            }
            if path.contains("://") {
                return Err("give a file's path after `sqlite:`, or postgres://… alone".to_owned());
            }
            if path == ":memory:" {
                return Err("keys need a file; give its path after `sqlite:`".to_owned());
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Hidden::new(text)));
        }
        Err("give sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE".to_owned())
    }
}

/// Reads a store's address for clap, whose own message would repeat a wrong one, password and all.
#[derive(Clone)]
struct StoreAddressParser;

impl TypedValueParser for StoreAddressParser {
    type Value = StoreAddress;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<StoreAddress, clap::Error> {
        value.to_string_lossy().parse().map_err(|advice| {
            let message = format!("--store (KEYSERVICE_STORE): {advice}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_store_address_is_sqlite_or_postgres_and_hides_its_password() {
        let store: StoreAddress = "postgres://u:hunter2@h/d".parse().expect("good");
        assert!(!format!("{store:?}").contains("hunter2"));
        let file = StoreAddress::Sqlite("a.db".into());
        assert_eq!("sqlite:a.db\n".parse(), Ok(file));
        assert!("sqlite:".parse::<StoreAddress>().is_err());
        assert!(
            "sqlite:postgres://u:hunter2@h/d"
                .parse::<StoreAddress>()
                .is_err()
        );
        assert!("sqlite::memory:".parse::<StoreAddress>().is_err());
        assert!("mysql://h/d".parse::<StoreAddress>().is_err());
    }

    #[test]
    fn a_wrong_store_address_is_refused_without_being_repeated() {
        let wrong = Settings::parse_from(&["--store", "postgre://u:hunter2@h/d"]);
        let error = wrong.expect_err("wrong").to_string();
        assert!(error.contains("--store (KEYSERVICE_STORE): give sqlite:PATH"));
        assert!(!error.contains("hunter2"));
    }
}
