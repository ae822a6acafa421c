//! Reads the name of a file. Somebody may give a token or a secret in its place.

use crate::model::text::refuse_secrets;
use std::path::PathBuf;

/// How many bytes of a name are searched. A secret is shorter.
const LOOKED_AT: usize = 700;

/// Refuses a token or a bearer secret, so that no error shows it and no file keeps it.
pub(super) fn file_path(text: &str) -> Result<PathBuf, String> {
    let end = text
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at > LOOKED_AT);
    let start = &text[..end.unwrap_or(text.len())];
    refuse_secrets(start).map_err(|_| {
        "this is a token or a secret, and not the name of a file; others can see it among the arguments: put it \
         into a file, or give - and pass it on standard input"
            .to_owned()
    })?;
    Ok(PathBuf::from(text))
}
