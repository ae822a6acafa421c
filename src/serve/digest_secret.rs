//! Reads the secret that keys the digests of tokens.

use crate::{
    file_access,
    named_file::{FileError, NamedFile},
};
use std::path::{Path, PathBuf};

/// A shorter secret could be guessed.
const MIN_LEN: usize = 32;

/// No secret is longer.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// The file of `--digest-secret-file` holds no usable secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DigestSecretError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] FileError),
    /// Its content is too short.
    #[error(
        "--digest-secret-file {0} holds fewer than 32 bytes; make one with `openssl rand -hex 32`"
    )]
    TooShort(PathBuf),
    /// Its content is too long.
    #[error(
        "--digest-secret-file {0} holds more than 64 KiB; give the file that holds the secret alone"
    )]
    TooLong(PathBuf),
}

/// Reads the secret. White space at its end does not count, because editors add it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DigestSecretError> {
    let named = NamedFile {
        setting: "--digest-secret-file",
        path: path.to_owned(),
    };
    let content = file_access::read(path, MAX_FILE_LEN)
        .map_err(|error| FileError::unreadable(&named, &error))?;
    let mut secret = content.ok_or_else(|| DigestSecretError::TooLong(path.to_owned()))?;
    secret.truncate(secret.trim_ascii_end().len());
    if secret.len() < MIN_LEN {
        return Err(DigestSecretError::TooShort(path.to_owned()));
    }
    named.warn_of_others();
    Ok(secret)
}
