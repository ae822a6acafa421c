//! The statements of the SQLite store that list and count keys.
//!
//! Promises to look at a bounded number of keys, whatever the filter.
//! Must never be called on an async thread (see `worker`).

use super::rows::{KEY_COLUMNS, key};
use crate::{
    model::{
        account::AccountId,
        key::{Key, KeyId, Status, filter::Walk},
    },
    store::{Counted, ListQuery, Listed},
};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

/// How long one search takes. Keys that are not in the cache take long, so their number alone is no bound.
const SEARCH_TIME: Duration = Duration::from_millis(8);

/// How many keys are looked at between two looks at the clock.
const LOOK_AT_CLOCK: usize = 64;

pub(super) fn list(connection: &Connection, query: &ListQuery) -> rusqlite::Result<Option<Listed>> {
    let Some(before) = position(connection, query)? else {
        return Ok(None);
    };
    let mut keys = Vec::new();
    let searched_to = search(connection, query, before, |key| {
        keys.push(key);
        if keys.len() < query.limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(Some(Listed { keys, searched_to }))
}

pub(super) fn count(
    connection: &Connection,
    query: &ListQuery,
) -> rusqlite::Result<Option<Counted>> {
    let Some(before) = position(connection, query)? else {
        return Ok(None);
    };
    let mut count = 0;
    let searched_to = search(connection, query, before, |_| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(Some(Counted { count, searched_to }))
}

/// Goes through the keys until `take` has enough, and gives the last key if there may be more.
fn search(
    connection: &Connection,
    query: &ListQuery,
    before: i64,
    mut take: impl FnMut(Key) -> ControlFlow<()>,
) -> rusqlite::Result<Option<KeyId>> {
    let walk = query.filter.walk();
    let (account, text, source) = source(&walk);
    let order = match walk {
        Walk::Label(..) => "walked",
        _ => "create_revision",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {KEY_COLUMNS} FROM {source} ORDER BY {order} DESC LIMIT ?4"
    ))?;
    let search_len = i64::try_from(query.search_len).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![account, text, before, search_len])?;
    let (began, mut walked) = (Instant::now(), 0);
    while let Some(row) = rows.next()? {
        let key = key(row)?;
        walked += 1;
        let id = key.id;
        let is_selected = query.filter.selects(&key, query.now);
        let is_over = walked % LOOK_AT_CLOCK == 0 && began.elapsed() > SEARCH_TIME;
        if is_selected && take(key).is_break() || walked == query.search_len || is_over {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// The account and the text of a walk, and where its keys come from. Each statement has the same parameters:
/// the account, the text, and the revision before which the keys were created.
fn source<'a>(walk: &'a Walk<'a>) -> (Option<&'a str>, Option<&'a str>, &'static str) {
    match walk {
        Walk::Preview(account_id, preview) => (
            account_id.map(AccountId::as_str),
            Some(preview.as_str()),
            "keys INDEXED BY keys_by_preview \
             WHERE (?1 IS NULL OR account_id = ?1) AND preview = ?2 AND create_revision < ?3",
        ),
        Walk::Label(account_id, label) => (
            Some(account_id.as_str()),
            Some(label),
            "(SELECT create_revision AS walked FROM key_labels \
              WHERE account_id = ?1 AND label = ?2 AND create_revision < ?3 \
              ORDER BY create_revision DESC LIMIT ?4) \
             CROSS JOIN keys ON keys.create_revision = walked",
        ),
        Walk::Domain(account_id, domain) => (
            Some(account_id.as_str()),
            Some(domain.as_str()),
            "keys INDEXED BY keys_by_domain \
             WHERE account_id = ?1 AND domain = ?2 AND create_revision < ?3",
        ),
        Walk::UnrevokedDomain(account_id, domain) => (
            Some(account_id.as_str()),
            Some(domain.as_str()),
            "keys INDEXED BY keys_unrevoked_by_domain \
             WHERE account_id = ?1 AND domain = ?2 AND create_revision < ?3 AND revoke_time IS NULL",
        ),
        Walk::Status(account_id, status) => (Some(account_id.as_str()), None, of_status(*status)),
        Walk::Suspended => (
            None,
            None,
            "keys INDEXED BY keys_suspended_anywhere \
             WHERE ?1 IS NULL AND ?2 IS NULL AND create_revision < ?3 \
               AND revoke_time IS NULL AND suspend_time IS NOT NULL",
        ),
        Walk::Account(account_id) => (
            Some(account_id.as_str()),
            None,
            "keys INDEXED BY keys_by_account \
             WHERE account_id = ?1 AND ?2 IS NULL AND create_revision < ?3",
        ),
        Walk::All => (
            None,
            None,
            "keys WHERE ?1 IS NULL AND ?2 IS NULL AND create_revision < ?3",
        ),
    }
}

fn of_status(status: Status) -> &'static str {
    match status {
        Status::Active => {
            "keys INDEXED BY keys_unrevoked \
             WHERE account_id = ?1 AND ?2 IS NULL AND create_revision < ?3 AND revoke_time IS NULL"
        }
        Status::Revoked => {
            "keys INDEXED BY keys_revoked \
             WHERE account_id = ?1 AND ?2 IS NULL AND create_revision < ?3 AND revoke_time IS NOT NULL"
        }
        Status::Expired => {
            "keys INDEXED BY keys_expiring \
             WHERE account_id = ?1 AND ?2 IS NULL AND create_revision < ?3 \
               AND revoke_time IS NULL AND expire_time IS NOT NULL"
        }
        Status::Suspended => {
            "keys INDEXED BY keys_suspended \
             WHERE account_id = ?1 AND ?2 IS NULL AND create_revision < ?3 \
               AND revoke_time IS NULL AND suspend_time IS NOT NULL"
        }
    }
}

/// The listed keys were created by writes before this revision. The key to go on after must belong
/// to the account: otherwise the list would tell when another account created a key.
fn position(connection: &Connection, query: &ListQuery) -> rusqlite::Result<Option<i64>> {
    let Some(after) = query.after else {
        return Ok(Some(i64::MAX));
    };
    let account_id = query.filter.account_id.as_ref().map(AccountId::as_str);
    connection
        .prepare_cached(
            "SELECT create_revision FROM keys WHERE key_id = ?1 AND (?2 IS NULL OR account_id = ?2)",
        )?
        .query_row(params![after.as_uuid().as_bytes(), account_id], |row| {
            row.get("create_revision")
        })
        .optional()
}
