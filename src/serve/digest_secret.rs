//! Reads the secret that keys the digests of tokens.

use crate::net::named_file::{FileError, NamedFile};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// A shorter secret could be guessed.
const MIN_LEN: usize = 32;

/// No secret is longer. Without a limit, reading a device would not end.
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
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DigestSecretError> {
    let named = NamedFile {
        setting: "--digest-secret-file",
        path: path.to_owned(),
    };
    let unreadable = |error| FileError::unreadable(&named, &error);
    let file = File::open(path).map_err(unreadable)?;
    let mut secret = Vec::new();
    let len = file.take(MAX_FILE_LEN + 1).read_to_end(&mut secret);
    if len.map_err(unreadable)? as u64 > MAX_FILE_LEN {
        return Err(DigestSecretError::TooLong(path.to_owned()));
    }
    secret.truncate(secret.trim_ascii_end().len());
    if secret.len() < MIN_LEN {
        return Err(DigestSecretError::TooShort(path.to_owned()));
    }
    named.warn_of_others();
    Ok(secret)
}
