//! The settings that say which store: its address, in one of two forms, and what a start does if it is not there.
//!
//! Promises an address that names a store, or an error that says what does.
//! Must never print a password: not in `Debug`, not in `--help`, not in an error.

use super::{Hidden, duration::delay};
use clap::{ArgAction, Args, builder::TypedValueParser, error::ErrorKind};
use std::{ffi::OsStr, fmt, path::PathBuf, str::FromStr, time::Duration};

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

/// How a start finds its store.
#[derive(Debug, Clone, Copy, Args)]
pub struct StoreStartSettings {
    /// Whether to create a store where there is none. With `false`, a start with a wrong path or the name of another
    /// database is refused, in place of serving no keys. So give `false` once your store is there.
    #[arg(long, env = "KEYSERVICE_CREATE_STORE", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub create_store: bool,

    /// How long a start waits for a PostgreSQL server that cannot be reached, or is starting, and for a store that was
    /// restored to be accepted (`keyservice accept-restore`). Health is `NOT_SERVING` meanwhile, and the log says every
    /// few seconds why. With `0s` it does not wait.
    /// [default: for ever]
    #[arg(long, env = "KEYSERVICE_STORE_WAIT_LIMIT", value_name = "DURATION", value_parser = delay)]
    pub store_wait_limit: Option<Duration>,
}

/// Where keys are stored.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A `postgres://` address. May hold a password.
    Postgres(Hidden),
}

const SQLITE: &str = "sqlite:";
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

impl StoreAddress {
    /// Whether a text begins as an address does. It need not be a right one.
    #[must_use]
    pub fn is_begun_by(text: &str) -> bool {
        text.starts_with(SQLITE) || is_postgres(text)
    }
}

fn is_postgres(text: &str) -> bool {
    POSTGRES.iter().any(|scheme| text.starts_with(scheme))
}

impl FromStr for StoreAddress {
    type Err = String;

    /// Reads an address; one that comes from a file may have a line's end.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix(SQLITE) {
            return plain_path(path).map(Self::Sqlite);
        }
        if is_postgres(text) {
            return Ok(Self::Postgres(Hidden::new(text)));
        }
        let is_database = [".db", ".sqlite", ".sqlite3"]
            .iter()
            .any(|end| text.ends_with(end));
        let meant = match Suggestion(text).to_string() {
            path if is_database && path == text => format!("; did you mean sqlite:{path}?"),
            _ => String::new(),
        };
        Err(format!(
            "give sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE{meant}"
        ))
    }
}

/// Takes what stands after `sqlite:` as it is, if it can only be meant as a path. Anything that
/// other programs would read in another way is refused. Otherwise the service would create a new
/// file under a name that nobody had in mind.
fn plain_path(text: &str) -> Result<PathBuf, String> {
    let refused = |advice: &str| Err(advice.to_owned());
    if text.is_empty() {
        return refused("give the file's path after `sqlite:`");
    }
    if text.starts_with(':') {
        return refused("keys need a file; give its path after `sqlite:`");
    }
    if text.starts_with("file:") {
        return refused("give sqlite:PATH with a plain path, not a `file:` address");
    }
    if text.contains("://") {
        // A `postgres://` address with its password, most likely.
        return refused("give a file's path after `sqlite:`, or postgres://… alone");
    }
    if text.starts_with("//") {
        let path = Suggestion(text.trim_start_matches('/'));
        return Err(format!(
            "give sqlite:PATH without `//`: sqlite:/{path} for a path from the root, or \
             sqlite:{path} for one from the working directory"
        ));
    }
    if let Some((path, _)) = text.split_once('?') {
        let path = Suggestion(path);
        return Err(format!(
            "an SQLite store takes no parameters: give sqlite:{path} without `?`"
        ));
    }
    if text.contains(char::is_control) || text.starts_with([' ', '"', '\'']) {
        return refused("give sqlite:PATH without quotes, control characters or a space in front");
    }
    if text.starts_with('~') || text.contains('$') {
        return refused("`~` and `$` are not expanded here: give sqlite:PATH with the whole path");
    }
    if has_percent_escape(text) {
        return refused(
            "give sqlite:PATH with the characters themselves: escapes such as %20 are not decoded",
        );
    }
    let name = text.rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | "..") {
        return refused("give sqlite:PATH with the path of a file: this one names a directory");
    }
    if ["-wal", "-shm", "-journal"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        return refused(
            "give sqlite:PATH with the path of the database: SQLite gives its own files beside it \
             names that end in -wal, -shm and -journal",
        );
    }
    Ok(PathBuf::from(text))
}

fn has_percent_escape(text: &str) -> bool {
    let mut escapes = text.as_bytes().windows(3);
    escapes.any(|bytes| matches!(bytes, [b'%', hex @ ..] if hex.iter().all(u8::is_ascii_hexdigit)))
}

/// The path that may be meant, unless it may hold a secret: a token has neither dot nor slash, and a
/// password's address has an `@`.
struct Suggestion<'a>(&'a str);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let harmless = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let shown = self.0.chars().all(harmless) && self.0.contains(['.', '/']);
        f.write_str(if shown { self.0 } else { "PATH" })
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
        let address = value
            .to_str()
            .ok_or_else(|| "give an address in UTF-8".to_owned());
        address.and_then(str::parse).map_err(|advice| {
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
        let nested = "sqlite:postgres://u:hunter2@h/d";
        let refused = nested.parse::<StoreAddress>().expect_err("no path");
        assert!(!refused.contains("hunter2"), "{refused}");
        assert!("mysql://h/d".parse::<StoreAddress>().is_err());
    }

    #[test]
    fn a_wrong_store_address_is_refused_without_being_repeated() {
        let wrong = Settings::parse_from(&["--store", "postgre://u:hunter2@h/d"]);
        let error = wrong.expect_err("wrong").to_string();
        assert!(error.contains("--store (KEYSERVICE_STORE): give sqlite:PATH"));
        assert!(!error.contains("hunter2"));
        let bare = "b/keyservice.db".parse::<StoreAddress>();
        let advice = bare.expect_err("no address");
        assert!(
            advice.ends_with("; did you mean sqlite:b/keyservice.db?"),
            "{advice}"
        );
        for wrong in ["u:hunter2@h.db", "hunter2", "x.hunter2"] {
            let advice = wrong.parse::<StoreAddress>().expect_err("no address");
            assert!(!advice.contains("hunter2"), "{advice}");
        }
    }

    #[test]
    fn an_sqlite_store_is_a_plain_path_and_anything_else_is_refused_with_advice() {
        for path in [
            "keyservice.db",
            "./keyservice.db",
            "../data/keys",
            "/var/lib/keyservice/keyservice.db",
            "/srv/clés à 100 %/C#/a b,c=d;e&f.db",
        ] {
            let address = format!("sqlite:{path}").parse();
            assert_eq!(address, Ok(StoreAddress::Sqlite(path.into())), "{path}");
        }
        for (address, advice) in [
            ("sqlite:", "give the file's path"),
            ("sqlite::memory:", "keys need a file"),
            ("sqlite::memory:?cache=shared", "keys need a file"),
            ("sqlite:file:keys.db?mode=rwc", "not a `file:` address"),
            ("sqlite:file:///keys.db", "not a `file:` address"),
            (
                "sqlite://keyservice.db",
                "sqlite:/keyservice.db for a path from the root, or sqlite:keyservice.db for",
            ),
            ("sqlite:///var/keys.db", "sqlite:/var/keys.db for a path"),
            ("sqlite:////var/keys.db", "sqlite:/var/keys.db for a path"),
            ("sqlite://kate:hunter2@h/keys.db", "sqlite:/PATH for a path"),
            ("sqlite://", "without `//`"),
            ("sqlite://tsend_hunter2", "sqlite:/PATH for a path"),
            ("sqlite:e.db?mode=rwc", "give sqlite:e.db without `?`"),
            ("sqlite:?mode=rwc", "without `?`"),
            ("sqlite:e.db?key=hunter2", "give sqlite:e.db without `?`"),
            ("sqlite:~/keys.db", "give sqlite:PATH with the whole path"),
            ("sqlite:~kate/keys.db", "not expanded"),
            ("sqlite:$HOME/keys.db", "not expanded"),
            ("sqlite:/data/$(POD)/keys.db", "not expanded"),
            ("sqlite:my%20keys.db", "escapes such as %20"),
            ("sqlite:%2Fkeys.db", "escapes such as %20"),
            ("sqlite: keys.db", "a space in front"),
            ("sqlite:'keys.db'", "without quotes"),
            ("sqlite:\"keys.db\"", "without quotes"),
            ("sqlite:keys\0.db", "control characters"),
            ("sqlite:a.db\nb.db", "control characters"),
            ("sqlite:data/", "names a directory"),
            ("sqlite:/", "names a directory"),
            ("sqlite:.", "names a directory"),
            ("sqlite:data/..", "names a directory"),
            ("sqlite:keys.db-wal", "the path of the database"),
            ("sqlite:data/keys.db-journal", "the path of the database"),
            ("sqlite3:keys.db", "give sqlite:PATH"),
            ("SQLITE:keys.db", "give sqlite:PATH"),
            ("keys.db", "give sqlite:PATH"),
        ] {
            let refused = address.parse::<StoreAddress>().expect_err(address);
            assert!(refused.contains(advice), "{address}: {refused}");
            assert!(!refused.contains("hunter2"), "{address}: {refused}");
        }
    }

    #[test]
    fn a_store_address_that_is_not_utf8_is_refused_and_not_changed_to_another_name() {
        use std::{ffi::OsString, os::unix::ffi::OsStringExt};
        let address = OsString::from_vec(b"sqlite:k\xff.db".to_vec());
        let parsed = StoreAddressParser.parse_ref(&clap::Command::new("serve"), None, &address);
        let refused = parsed.expect_err("wrong").to_string();
        assert!(refused.contains("give an address in UTF-8"), "{refused}");
    }
}
