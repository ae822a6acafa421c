//! Reads arguments. Somebody may give a token or a secret as one, where every user of the machine can see it.

use super::{failure::Failure, words::own_words};
use crate::model::{
    account::AccountId,
    domain::Domain,
    key::KeyId,
    text::{ContainsSecret, refuse_secrets},
    token::Preview,
};
use std::{collections::HashMap, fmt::Display, path::PathBuf};

/// How many bytes of an argument are searched. A secret is shorter.
const LOOKED_AT: usize = 700;

/// Whether an argument has a token or a bearer secret in it, and which.
pub(in crate::cli) fn secret_in(text: &str) -> Option<ContainsSecret> {
    let end = text
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at > LOOKED_AT);
    refuse_secrets(&text[..end.unwrap_or(text.len())]).err()
}

/// Refuses a secret in the place of this, so that no error shows it and no file keeps it.
fn refuse_secret(text: &str, place: &str) -> Result<(), String> {
    if secret_in(text).is_some() {
        return Err(format!("this is a token or a secret, and not {place}"));
    }
    Ok(())
}

fn parsed<T, E: Display>(
    text: &str,
    place: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, String> {
    refuse_secret(text, place)?;
    parse(text).map_err(|error| sentence(own_words(&error.to_string())))
}

/// What is wrong, as a sentence: what parses a text may leave out that it speaks of this text.
pub(in crate::cli) fn sentence(wrong: impl Display) -> String {
    let wrong = wrong.to_string();
    let is_without_subject = ["is ", "contains "]
        .into_iter()
        .any(|verb| wrong.starts_with(verb));
    if is_without_subject {
        format!("it {wrong}")
    } else {
        wrong
    }
}

/// How many of something.
fn count(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| "give a number, such as 20".to_owned())
}

/// The same, and at least one.
pub(in crate::cli) fn count_of_some(text: &str) -> Result<u32, String> {
    let wrong = "give a number from 1, such as 20";
    match count(text) {
        Ok(0) | Err(_) => Err(wrong.to_owned()),
        Ok(count) => Ok(count),
    }
}

pub(in crate::cli) fn file_path(text: &str) -> Result<PathBuf, String> {
    refuse_secret(text, "the name of a file")?;
    if text.is_empty() {
        return Err("give the path of a file: this is empty".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// A file that is made anew. Standard output is where a secret goes without such a flag.
pub(in crate::cli) fn new_file_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err(
            "give the path of a new file; without this flag, standard output gets it".to_owned(),
        ),
        path => file_path(path),
    }
}

pub(super) fn key_id(text: &str) -> Result<KeyId, String> {
    refuse_preview(text)?;
    parsed(text, "a key id", KeyId::parse)
}

/// Refuses what a list shows of a token where a key id is expected.
pub(in crate::cli) fn refuse_preview(text: &str) -> Result<(), String> {
    match Preview::parse(text) {
        Err(_) => Ok(()),
        Ok(preview) => Err(format!(
            "that is the preview of a token: `keyservice keys list --preview {}` finds its key",
            preview.as_str()
        )),
    }
}

/// A domain as it was given. The service normalises it.
pub(super) fn domain(text: &str) -> Result<String, String> {
    parsed(text, "a domain", |text| Domain::parse(text.to_owned()))?;
    Ok(text.to_owned())
}

pub(super) fn account(text: &str) -> Result<String, String> {
    let account = parsed(text, "an account", |text| AccountId::parse(text.to_owned()))?;
    Ok(account.as_str().to_owned())
}

/// Text whose other rules the service knows.
pub(super) fn text(text: &str) -> Result<String, String> {
    refuse_secret(text, "text for people")?;
    Ok(text.to_owned())
}

/// Reads `NAME=VALUE`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    refuse_secret(text, "a label")?;
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The labels, of which each must be given once: nobody can know which value of two is meant.
pub(super) fn distinct(labels: &[(String, String)]) -> Result<HashMap<String, String>, Failure> {
    let mut distinct = HashMap::new();
    for (name, value) in labels {
        if distinct.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::Misused(format!("--label {name} is given twice")));
        }
    }
    Ok(distinct)
}
