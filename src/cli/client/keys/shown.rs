//! How a key is shown to people.

use super::suspended_accounts::SuspendedAccounts;
use crate::cli::{
    client::{
        failure::Failure,
        origin::Place,
        printer::{Lines, json, print, suspended, time, time_or_none},
    },
    output::{OutputFormat, Table},
};
use std::{
    collections::HashMap,
    io::{self, Write},
};
use tosend_keyservice::{
    Admin,
    proto::{Key, key::Status, scope::Kind},
};

/// Prints one key. People are told, too, if its account is suspended.
pub(super) async fn show(
    admin: &Admin,
    format: OutputFormat,
    key: Option<Key>,
) -> Result<(), Failure> {
    show_with(admin, format, key, "").await
}

/// The same, with this behind the domain.
pub(super) async fn show_with(
    admin: &Admin,
    format: OutputFormat,
    key: Option<Key>,
    of_domain: &str,
) -> Result<(), Failure> {
    let keys = [key.unwrap_or_default()];
    let mut accounts = SuspendedAccounts::default();
    if format.is_table() {
        accounts.look_up(admin, &keys).await;
    }
    let [key] = &keys;
    print(
        format,
        || text(key, &accounts, of_domain),
        || json("Key", key),
    )
}

/// All that is known of a key.
pub(super) fn text(key: &Key, accounts: &SuspendedAccounts, of_domain: &str) -> String {
    let mut lines = Lines::default();
    lines.add("Key", &key.key_id);
    lines.add("Name", &key.name);
    lines.add("Account", &key.account_id);
    lines.add("Token", &key.preview);
    let domain = domain(key, "every verified domain of the account");
    lines.add("Domain", format!("{domain}{of_domain}"));
    let account = accounts.of(key).map(suspended);
    let account = account.map_or(String::new(), |account| {
        let link = match key.status() {
            Status::Active => "but",
            _ => "and",
        };
        format!(", {link} its account is suspended {account}")
    });
    lines.add("Status", format!("{}{account}", status(key)));
    lines.add_some("Created", key.create_time.as_ref().map(time));
    lines.add("Expires", expires(key));
    let last_used = key.last_used_time.as_ref().map(time);
    lines.add_some(
        "Last used",
        last_used.map(|time| format!("{time}, or up to an hour later")),
    );
    lines.add_some("Suspended", key.suspension.as_ref().map(suspended));
    lines.add_some("Revoked", key.revoke_time.as_ref().map(time));
    lines.add_some("Reason", key.revoke_reason.as_ref());
    lines.add_some("Replaces", key.predecessor.as_ref());
    lines.add_some("Replaced by", key.successor.as_ref());
    for label in labels(&key.labels) {
        lines.add("Label", label);
    }
    lines.add("Etag", &key.etag);
    lines.into_text()
}

/// What a person is told before a key is revoked at this place. None if it is revoked already.
pub(super) fn revokes(place: &Place, key: &Key) -> Option<String> {
    (key.status() != Status::Revoked).then(|| format!("At {place}, this revokes {}.", named(key)))
}

/// What a person is told before a key is replaced at once. None if it is revoked already.
pub(super) fn replaces(place: &Place, key: &Key) -> Option<String> {
    let is_revoked = key.status() == Status::Revoked;
    let key = named(key);
    (!is_revoked).then(|| format!("At {place}, this makes a new key, and revokes {key}."))
}

/// A key, for a question about it.
pub(super) fn named(key: &Key) -> String {
    format!(
        // Quotes in the name are escaped: what follows is not the name's to say.
        "the key {:?} ({}) of the account {}, {}",
        key.name, key.preview, key.account_id, key.key_id
    )
}

const HEADINGS: [&str; 10] = [
    "KEY",
    "ACCOUNT",
    "NAME",
    "TOKEN",
    "DOMAIN",
    "STATUS",
    "CREATED",
    "EXPIRES",
    "LAST USED",
    "LABELS",
];

/// Keys in rows. The last column has a heading if one of the first keys has labels.
#[derive(Default)]
pub(super) struct KeyTable(Option<Table<10>>);

impl KeyTable {
    pub(super) fn add(&mut self, keys: &[Key], accounts: &SuspendedAccounts) {
        if keys.is_empty() {
            return;
        }
        let table = self.0.get_or_insert_with(|| {
            let mut headings = HEADINGS;
            if keys.iter().all(|key| key.labels.is_empty()) {
                headings[HEADINGS.len() - 1] = "";
            }
            Table::new(headings)
        });
        for key in keys {
            table.add(row(key, accounts));
        }
    }

    /// Whether it never had a row.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Prints what was added since it was last printed, the first time below the headings.
    pub(super) fn print(&mut self, output: &mut impl Write) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |table| table.print(output))
    }
}

fn row(key: &Key, accounts: &SuspendedAccounts) -> [String; 10] {
    let account = accounts.of(key).map_or("", |_| ", account suspended");
    [
        key.key_id.clone(),
        key.account_id.clone(),
        key.name.clone(),
        key.preview.clone(),
        domain(key, "*"),
        format!("{}{account}", status(key)),
        time_or_none(key.create_time.as_ref()),
        expires(key),
        time_or_none(key.last_used_time.as_ref()),
        labels(&key.labels).join(","),
    ]
}

fn expires(key: &Key) -> String {
    key.expire_time.as_ref().map_or("never".to_owned(), time)
}

fn domain(key: &Key, all: &str) -> String {
    match key.scope.as_ref().and_then(|scope| scope.kind.as_ref()) {
        Some(Kind::AllDomains(_)) => all.to_owned(),
        Some(Kind::Domain(domain)) => domain.clone(),
        None => "?".to_owned(),
    }
}

fn status(key: &Key) -> String {
    let status = Status::try_from(key.status);
    let name = status.map(|status| {
        status
            .as_str_name()
            .trim_start_matches("STATUS_")
            .to_owned()
    });
    name.unwrap_or_else(|_| key.status.to_string())
}

fn labels(labels: &HashMap<String, String>) -> Vec<String> {
    let mut lines: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    lines.sort();
    lines
}

/// Those flags of a command that have a value, as they were given.
pub(super) fn given_flags(flags: impl Iterator<Item = (&'static str, Option<String>)>) -> String {
    let given = flags.filter_map(|(flag, value)| Some(format!(" --{flag} {}", value?)));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::origin::Origin;

    #[test]
    fn a_name_cannot_say_how_the_question_goes_on() {
        let key = Key {
            name: r#"a" (tsend_ab…wxyz) of the account test, key_1. "#.to_owned(),
            account_id: "acme".to_owned(),
            ..Key::default()
        };
        let place = Place {
            server: "here".to_owned(),
            origin: Origin::Default,
        };
        let question = revokes(&place, &key).expect("it is not revoked");
        let quotes = question.replace(r#"\""#, "").matches('"').count();
        assert_eq!(quotes, 2, "{question}");
    }
}
