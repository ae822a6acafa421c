//! Where the file of contexts stands.

use crate::cli::client::failure::Failure;
use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
};

/// The most links that are followed to the file.
const MOST_LINKS: usize = 40;

/// Why the file that nobody has named has no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::client) enum Nowhere {
    /// No variable says where.
    Unset,
    /// The home is not there.
    NoHome(PathBuf),
}

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file of contexts has no place, because ")?;
        match self {
            Self::Unset => f.write_str("neither HOME nor XDG_CONFIG_HOME is set")?,
            Self::NoHome(home) => {
                let home = home.display();
                write!(
                    f,
                    "HOME is {home}, which does not exist, and XDG_CONFIG_HOME is not set"
                )?;
            }
        }
        f.write_str("; name the file by --config or KEYSERVICE_CONFIG")
    }
}

impl From<Nowhere> for Failure {
    fn from(nowhere: Nowhere) -> Self {
        Self::Misused(nowhere.to_string())
    }
}

/// The path of the file that was named, or else of the usual one.
pub(super) fn place(named: Option<&Path>) -> Result<PathBuf, Nowhere> {
    const FILE: &str = "keyservice/config.toml";
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let folder = |variable| env::var_os(variable).filter(|value| !value.is_empty());
    if let Some(config) = folder("XDG_CONFIG_HOME") {
        return Ok(PathBuf::from(config).join(FILE));
    }
    let home = PathBuf::from(folder("HOME").ok_or(Nowhere::Unset)?);
    if home.try_exists().is_ok_and(|exists| !exists) {
        return Err(Nowhere::NoHome(home));
    }
    Ok(home.join(".config").join(FILE))
}

/// Where the file stands to which links lead, which may not be there yet.
pub(super) fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}
