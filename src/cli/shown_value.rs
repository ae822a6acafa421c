//! Which wrong arguments an error repeats. What a terminal or a build shows is often kept.
//!
//! Must never show a token, a secret or what may be a password.

use super::client::secret_in;
use crate::model::{
    caller_name::SECRET_PREFIX,
    domain::Domain,
    key::KeyId,
    text,
    token::{self, Preview},
};
use clap::error::{ContextKind, ContextValue};

/// Whether a wrong value stands where a password may be due: in the address of a store, or in a setting of `serve`, of
/// which units and scripts hold many on a line.
pub(super) fn may_be_password(error: &clap::Error, command: &clap::Command) -> bool {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => "",
    };
    command.get_name() == "serve" || argument.starts_with("--store")
}

/// A wrong value. The rule: it is shown, unless it looks like a secret, or stands where one may be due (see
/// [`may_be_password`]). A word that no command knows may be a piece of anything, so only a plain one is shown.
pub(super) fn shown_value(value: &str) -> &str {
    const MAX_LEN: usize = 200;
    let small = value.to_ascii_lowercase();
    let has = |part: &str| small.contains(part);
    let is_address = has("://") || has("@") && has(":");
    let is_secret = secret_in(value).is_some()
        || [token::PREFIX, SECRET_PREFIX, "password", "-----begin"]
            .into_iter()
            .any(has);
    let is_key_id = value.starts_with("key_") && value == small;
    if Preview::parse(value).is_ok() {
        // It is made to be shown.
        value
    } else if is_address || is_secret || value.len() > MAX_LEN || is_random(value) && !is_key_id {
        "…"
    } else {
        value
    }
}

/// Whether a text has so many letters and digits in a row as only secrets and ids have.
fn is_random(text: &str) -> bool {
    const LEN: usize = 20;
    let runs = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    runs.filter(|run| run.len() >= LEN).any(|run| {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
        has(u8::is_ascii_digit) || has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
    })
}

/// A word that was given, if it is one of plain letters, such as a mistyped command, or a number, a time or a
/// duration. Anything else may be a password, so `…` stands in its place.
pub(super) fn shown_word(word: &str) -> &str {
    const MAX_LEN: usize = 20;
    let is_of_time =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-:".contains(&byte);
    let number = word.strip_prefix('-').unwrap_or(word);
    let is_time = number.starts_with(|first: char| first.is_ascii_digit())
        && word.len() <= MAX_LEN
        && word.bytes().all(is_of_time);
    if is_time {
        word
    } else {
        text::shown_name(word)
    }
}

/// An argument that this command does not take. Of what is no flag, a key id is shown too, and what can only be a
/// domain, but not where a piece of a store's address may be due.
pub(super) fn shown_argument(argument: &str, command: &clap::Command) -> String {
    if let Some(flag) = argument.strip_prefix("--") {
        return format!("--{}", text::shown_name(flag));
    }
    let works_on_store = command
        .get_arguments()
        .any(|it| it.get_long() == Some("store"));
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_domain = argument.bytes().all(is_plain)
        && argument.contains('.')
        && !is_random(argument)
        && Domain::parse(argument.to_owned()).is_ok();
    if KeyId::parse(argument).is_ok() || is_domain && !works_on_store {
        argument.to_owned()
    } else {
        shown_word(argument).to_owned()
    }
}
