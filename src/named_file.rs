//! A file that a setting names, and the error when it cannot be used.
//!
//! Must never repeat the value of a setting if it is no path. It may be a secret, such as a private key
//! that somebody has given in place of its file's path.

use crate::file_access::{self, Content, warn_of_others};
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A file, and the setting that names it.
#[derive(Debug, Clone)]
pub(crate) struct NamedFile {
    /// The setting's flag.
    pub setting: &'static str,
    /// Where the file is.
    pub path: PathBuf,
}

/// The settings whose files nobody else may read.
const HOLD_SECRETS: [&str; 4] = [
    "--tls-key",
    "--digest-secret-file",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
];

/// Larger than any sensible file of certificates or callers.
const MAX_LEN: u64 = 1024 * 1024;

impl NamedFile {
    /// Reads it whole. Blocks.
    pub(crate) fn read(&self) -> Result<Vec<u8>, FileError> {
        let content = file_access::read(&self.path, MAX_LEN);
        let content = content.map_err(|error| FileError::unreadable(self, &error))?;
        content.ok_or_else(|| FileError::invalid(self, "is larger than 1 MiB"))
    }

    /// Warns of others who may read or change it.
    pub(crate) fn warn_of_others(&self) {
        let is_secret = HOLD_SECRETS.contains(&self.setting);
        let content = if is_secret {
            Content::Secret
        } else {
            Content::Public
        };
        warn_of_others(self.setting, &[&self.path], content);
    }
}

/// A file cannot be read, or its contents are invalid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// There is none.
    #[error("{setting}: there is no such file in {folder}; give a file's path, not what it holds")]
    Missing {
        setting: &'static str,
        folder: String,
    },
    #[error("{} {}: {why}", file.setting, file.path.display())]
    Invalid { file: NamedFile, why: String },
}

impl FileError {
    pub(crate) fn unreadable(file: &NamedFile, error: &io::Error) -> Self {
        use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
        match error.kind() {
            NotFound | NotADirectory | InvalidFilename | InvalidInput => Self::Missing {
                setting: file.setting,
                folder: existing_folder(&file.path),
            },
            _ => Self::invalid(file, error),
        }
    }

    pub(crate) fn invalid(file: &NamedFile, why: impl fmt::Display) -> Self {
        let (file, why) = (file.clone(), why.to_string());
        Self::Invalid { file, why }
    }
}

/// The deepest folder of a path that exists. So it is certainly a path, and no secret.
fn existing_folder(path: &Path) -> String {
    let existing = path.ancestors().skip(1).find(|folder| folder.is_dir());
    existing.map_or_else(
        || "the working directory".to_owned(),
        |folder| folder.display().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_no_path_is_not_repeated() {
        let long = "hunter2".repeat(1000);
        for (value, folder) in [
            ("hunter2", "the working directory"),
            ("/etc/hunter2", "/etc"),
            ("/etc/hunter2/hunter2", "/etc"),
            ("/etc/passwd/hunter2", "/etc"),
            (
                "-----BEGIN PRIVATE KEY-----\nhunter2/hunter2\n",
                "the working directory",
            ),
            ("postgres://u:hunter2@h/d", "the working directory"),
            (&long, "the working directory"),
            ("hunter2\0", "the working directory"),
        ] {
            let file = NamedFile {
                setting: "--tls-key",
                path: value.into(),
            };
            let error = fs::read(value).expect_err("it is not there");
            let error = FileError::unreadable(&file, &error).to_string();
            let told = format!("--tls-key: there is no such file in {folder}; ");
            assert!(error.starts_with(&told), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
