//! Searches bytes for secrets and parts of secrets, in every encoding that a program may print.

use data_encoding::{BASE64_NOPAD, HEXLOWER};
use std::{collections::HashMap, fs, path::Path};

/// A part of this many bytes counts as a leak. A preview shows shorter parts.
const PIECE_LEN: usize = 12;

/// Finds parts of secrets, in upper or lower case.
#[derive(Default)]
pub struct Search {
    /// The patterns, by their first bytes.
    patterns: HashMap<[u8; PIECE_LEN], Vec<Vec<u8>>>,
    /// Whether any pattern starts with these three bytes. This makes the search fast.
    begins: Vec<bool>,
}

impl Search {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut search = Self {
            patterns: HashMap::new(),
            begins: vec![false; 1 << 24],
        };
        for secret in secrets {
            assert!(secret.len() >= PIECE_LEN, "too short to look for: {secret}");
            for piece in secret.as_bytes().windows(PIECE_LEN) {
                forms(piece).into_iter().for_each(|form| search.add(form));
            }
        }
        search
    }

    fn add(&mut self, form: Vec<u8>) {
        let form = form.to_ascii_lowercase();
        self.begins[first_three(&form)] = true;
        let start = *form
            .first_chunk()
            .expect("no form is shorter than the piece");
        self.patterns.entry(start).or_default().push(form);
    }

    /// The first match, with the bytes around it.
    pub fn find(&self, bytes: &[u8]) -> Option<String> {
        let bytes = bytes.to_ascii_lowercase();
        let at = (0..bytes.len().saturating_sub(PIECE_LEN - 1)).find(|&at| {
            let rest = &bytes[at..];
            self.begins[first_three(rest)]
                && rest
                    .first_chunk()
                    .and_then(|start| self.patterns.get(start))
                    .is_some_and(|forms| forms.iter().any(|form| rest.starts_with(form)))
        })?;
        let around = at.saturating_sub(200)..bytes.len().min(at + 100);
        Some(String::from_utf8_lossy(&bytes[around]).into_owned())
    }
}

/// A part as text, in hexadecimal, as a list of decimal numbers, and in base64.
fn forms(piece: &[u8]) -> [Vec<u8>; 4] {
    let decimal: Vec<String> = piece.iter().map(u8::to_string).collect();
    [
        piece.to_vec(),
        HEXLOWER.encode(piece).into_bytes(),
        decimal.join(", ").into_bytes(),
        BASE64_NOPAD.encode(piece).into_bytes(),
    ]
}

fn first_three(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The paths and the contents of all files below a directory, in one sequence of bytes.
pub fn files_below(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(files_below(&path));
        } else if path.is_file() {
            all.extend(path.as_os_str().as_encoded_bytes());
            // A server may have deleted the file meanwhile.
            all.extend(fs::read(&path).unwrap_or_default());
        }
    }
    all
}
