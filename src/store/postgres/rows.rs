//! The conversion of PostgreSQL's rows to values.
//!
//! Promises an error, not a panic, for a row that is not as the migrations made it. Text is not
//! checked here: it was checked when it was written.

use super::copied_row::CopiedRow;
use crate::{
    model::{
        account::{AccountId, AccountState},
        domain::Domain,
        key::{
            Key, KeyEnd, KeyId, KeyName, KeyState, KeyStateRef, Labels, Reason, Scope, Suspension,
            Version,
        },
        time::{LeaseTerm, Timestamp},
        token::{Preview, TokenDigest},
        verified_domain::{Coverage, DomainState, VerifiedDomain},
    },
    store::{Change, Position, Replica, ReplicaId, Revision, State, StoreError, WriteId},
};
use std::time::SystemTime;
use tokio_postgres::{
    Row,
    row::RowIndex,
    types::{FromSql, Timestamp as SqlTime},
};
use uuid::Uuid;

/// Of a row of `keyservice.keys` by the name of `k`.
pub(super) const KEY_COLUMNS: &str = "k.key_id, k.account_id, k.name, k.preview, k.domain, k.create_time, k.expire_time, k.revoke_time, \
     k.suspend_reason, k.suspend_time, k.predecessor, k.successor, k.version, k.labels, \
     (SELECT u.last_used_time FROM keyservice.key_uses u WHERE u.key_id OPERATOR(pg_catalog.=) k.key_id), \
     k.revoke_reason";

pub(super) fn key(row: &Row) -> Result<Key, StoreError> {
    Ok(Key {
        id: KeyId::from_uuid(column(row, 0)?),
        account_id: AccountId::from_stored(column(row, 1)?),
        name: KeyName::from_stored(column(row, 2)?),
        preview: Preview::from_stored(column(row, 3)?),
        scope: scope(column(row, 4)?),
        create_time: Timestamp::from_system_time(column(row, 5)?),
        expire_time: time(column(row, 6)?),
        revoke_time: time(column(row, 7)?),
        suspension: suspension(column(row, 8)?, column(row, 9)?),
        predecessor: column::<Option<Uuid>>(row, 10)?.map(KeyId::from_uuid),
        successor: column::<Option<Uuid>>(row, 11)?.map(KeyId::from_uuid),
        version: Version::from_stored(column(row, 12)?),
        labels: Labels::from_stored(column(row, 13)?),
        last_used_time: time(column(row, 14)?).and_then(Timestamp::if_past),
        revoke_reason: column::<Option<String>>(row, 15)?.map(Reason::from_stored),
    })
}

/// The end of a key as PostgreSQL keeps it in a record: a key without an end ends at infinity.
pub(super) fn stored_end(end: KeyEnd) -> SqlTime<SystemTime> {
    match end {
        KeyEnd::Never => SqlTime::PosInfinity,
        KeyEnd::At(time) => SqlTime::Value(time.to_system_time()),
    }
}

/// Takes such an end back.
pub(super) fn key_end(stored: SqlTime<SystemTime>) -> Result<KeyEnd, String> {
    let time = match stored {
        SqlTime::PosInfinity => return Ok(KeyEnd::Never),
        SqlTime::Value(time) => Some(time),
        SqlTime::NegInfinity => None,
    };
    let in_range = time.filter(|time| Timestamp::from_system_time(*time).to_system_time() == *time);
    in_range
        .map(|time| KeyEnd::At(Timestamp::from_system_time(time)))
        .ok_or_else(|| "its end of a key is not in the years 1970 to 9999".to_owned())
}

pub(super) const DOMAIN_COLUMNS: &str =
    "account_id, domain, include_subdomains, create_time, verify_time";

pub(super) fn verified_domain(row: &Row) -> Result<VerifiedDomain, StoreError> {
    Ok(VerifiedDomain {
        account_id: AccountId::from_stored(column(row, 0)?),
        domain: Domain::from_stored(column(row, 1)?),
        include_subdomains: column(row, 2)?,
        create_time: Timestamp::from_system_time(column(row, 3)?),
        verify_time: Timestamp::from_system_time(column(row, 4)?),
    })
}

/// Reads a count of rows.
pub(super) fn count(row: &Row, name: &str) -> Result<u64, StoreError> {
    Ok(column::<i64>(row, name)?.unsigned_abs())
}

/// What a load copies of a row of `keyservice.keys` by the name of `k`.
pub(super) const COPIED_KEY_COLUMNS: [&str; 7] = [
    "k.key_id",
    "k.digest",
    "k.account_id",
    "k.domain",
    "k.expire_time",
    "CASE WHEN k.revoke_time IS NOT NULL THEN true END",
    "CASE WHEN k.suspend_time IS NOT NULL THEN true END",
];

/// Reads [`COPIED_KEY_COLUMNS`].
pub(super) fn copied_key_state(mut row: CopiedRow<'_>) -> Result<KeyStateRef<'_>, StoreError> {
    let state = KeyStateRef {
        id: KeyId::from_uuid(row.uuid()?),
        digest: row.digest()?,
        account_id: row.text()?,
        domain: row.optional_text()?,
        expire_time: row.optional_time()?,
        revoked: row.is_true_and_not_null()?,
        suspended: row.is_true_and_not_null()?,
    };
    row.end()?;
    Ok(state)
}

/// What a load copies of a row of `keyservice.key_uses`.
pub(super) const COPIED_USE_COLUMNS: [&str; 2] = ["key_id", "last_used_time"];

/// Reads [`COPIED_USE_COLUMNS`]. A time to come is none.
pub(super) fn copied_use(
    mut row: CopiedRow<'_>,
    now: Timestamp,
) -> Result<Option<(KeyId, Timestamp)>, StoreError> {
    let (key_id, time) = (KeyId::from_uuid(row.uuid()?), row.time()?);
    row.end()?;
    Ok((time <= now).then_some((key_id, time)))
}

/// What a load copies of a row of `keyservice.domains`.
pub(super) const COPIED_DOMAIN_COLUMNS: [&str; 4] = [
    "account_id",
    "domain",
    "include_subdomains",
    "remove_time IS NOT NULL",
];

/// Reads [`COPIED_DOMAIN_COLUMNS`].
pub(super) fn copied_domain_state(mut row: CopiedRow<'_>) -> Result<DomainState, StoreError> {
    let state = DomainState {
        account_id: AccountId::from_stored(row.text()?.to_owned()),
        domain: Domain::from_stored(row.text()?.to_owned()),
        coverage: Coverage::of(row.is_true()?, row.is_true()?),
    };
    row.end()?;
    Ok(state)
}

/// What a load copies of a row of `keyservice.accounts`.
pub(super) const COPIED_ACCOUNT_COLUMNS: [&str; 2] = ["account_id", "suspend_time IS NOT NULL"];

/// Reads [`COPIED_ACCOUNT_COLUMNS`].
pub(super) fn copied_account_state(mut row: CopiedRow<'_>) -> Result<AccountState, StoreError> {
    let state = AccountState {
        account_id: AccountId::from_stored(row.text()?.to_owned()),
        suspended: row.is_true()?,
    };
    row.end()?;
    Ok(state)
}

/// Reads a row of `keyservice.feed`.
pub(super) fn change(row: &Row) -> Result<Change, StoreError> {
    Ok(Change {
        position: position(row)?,
        state: state(row)?,
    })
}

fn state(row: &Row) -> Result<State, StoreError> {
    let account_id = AccountId::from_stored(column(row, "account_id")?);
    let domain: Option<String> = column(row, "domain")?;
    if let Some(id) = column::<Option<Uuid>>(row, "key_id")? {
        return Ok(State::Key(KeyState {
            id: KeyId::from_uuid(id),
            digest: to_digest(column(row, "digest")?)?,
            account_id,
            scope: scope(domain),
            expire_time: time(column(row, "expire_time")?),
            revoked: column(row, "revoked")?,
            suspended: column(row, "suspended")?,
        }));
    }
    Ok(match domain {
        Some(domain) => State::Domain(DomainState {
            account_id,
            domain: Domain::from_stored(domain),
            coverage: Coverage::of(column(row, "include_subdomains")?, column(row, "removed")?),
        }),
        None => State::Account(AccountState {
            account_id,
            suspended: column(row, "suspended")?,
        }),
    })
}

/// Reads a row's `revision` and `write_id`.
pub(super) fn position(row: &Row) -> Result<Position, StoreError> {
    Ok(Position {
        revision: Revision::from_number(column(row, "revision")?),
        write_id: WriteId::from_uuid(column(row, "write_id")?),
    })
}

/// Reads a row's `head_revision` and `head_write_id`, which are null if there is no write.
pub(super) fn head(row: &Row) -> Result<Position, StoreError> {
    let revision: Option<i64> = column(row, "head_revision")?;
    let write_id: Option<Uuid> = column(row, "head_write_id")?;
    let head = revision.zip(write_id).map(|(revision, write_id)| Position {
        revision: Revision::from_number(revision),
        write_id: WriteId::from_uuid(write_id),
    });
    Ok(head.unwrap_or(Position::START))
}

/// The longest name of a replica, in characters: as much as the table takes.
const MAX_NAME_LEN: usize = 400;

/// Reads a row of `keyservice.replicas`. Bounds what it says, since other replicas have written it:
/// a write waits for as long as a row says, and the log shows its name.
pub(super) fn replica(row: &Row) -> Result<Replica, StoreError> {
    let name: &str = column(row, "name")?;
    Ok(Replica {
        id: ReplicaId::from_uuid(column(row, "replica_id")?),
        name: name.chars().take(MAX_NAME_LEN).collect(),
        applied: Revision::from_number(column::<i64>(row, "applied_revision")?.max(0)),
        renewals: column(row, "renewals")?,
        term: LeaseTerm::from_stored_millis(column(row, "lease_millis")?),
    })
}

pub(super) fn column<'a, T: FromSql<'a>>(
    row: &'a Row,
    index: impl RowIndex + std::fmt::Display,
) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| unreadable(&error))
}

/// The text of an array of texts, for an array of arrays: those of PostgreSQL are of one length.
pub(super) fn array_text<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let quoted = texts.into_iter().map(|text| {
        let escaped = text.as_ref().replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"")
    });
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

fn to_digest(bytes: &[u8]) -> Result<TokenDigest, StoreError> {
    let bytes = bytes.try_into().map_err(|error| unreadable(&error))?;
    Ok(TokenDigest::from_bytes(bytes))
}

fn scope(domain: Option<String>) -> Scope {
    Scope::from_domain(domain.map(Domain::from_stored))
}

pub(super) fn suspension(reason: Option<String>, time: Option<SystemTime>) -> Option<Suspension> {
    let (reason, time) = reason.zip(time)?;
    Some(Suspension {
        reason: Reason::from_stored(reason),
        time: Timestamp::from_system_time(time),
    })
}

fn time(time: Option<SystemTime>) -> Option<Timestamp> {
    time.map(Timestamp::from_system_time)
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> StoreError {
    unreadable_row(&crate::store::with_causes(error))
}

/// For a row that is not as the migrations made it.
pub(super) fn unreadable_row(why: &str) -> StoreError {
    StoreError::Failed(format!("a stored row is unreadable: {why}").into())
}
