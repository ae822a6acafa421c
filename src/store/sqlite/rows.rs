//! The conversion of SQLite's rows to values.
//!
//! Promises an error, not a panic, for a row that is not as the migrations made it. Text is not
//! checked here: it was checked when it was written.

use crate::{
    model::{
        account::{AccountId, AccountState},
        domain::Domain,
        key::{Key, KeyId, KeyName, KeyStateRef, Labels, Reason, Scope, Suspension, Version},
        time::Timestamp,
        token::{Preview, TokenDigest},
        verified_domain::{Coverage, DomainState, VerifiedDomain},
    },
    store::{Position, Revision, WriteId},
};
use rusqlite::{Row, types::Type};
use uuid::Uuid;

/// Writes have no ids here. The file cannot change under the process that has it, so there is no
/// other history from which this one would have to be told.
pub(super) fn position(revision: Revision) -> Position {
    Position {
        revision,
        write_id: WriteId::from_uuid(Uuid::nil()),
    }
}

pub(super) const KEY_COLUMNS: &str = "key_id, account_id, name, preview, domain, create_time, expire_time, revoke_time, \
     suspend_reason, suspend_time, predecessor, successor, version, labels, \
     (SELECT u.last_used_time FROM key_uses u WHERE u.key_id = keys.key_id), \
     revoke_reason";

pub(super) fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        id: KeyId::from_uuid(uuid(row, 0)?),
        account_id: AccountId::from_stored(row.get(1)?),
        name: KeyName::from_stored(row.get(2)?),
        preview: Preview::from_stored(row.get(3)?),
        scope: scope(row, 4)?,
        create_time: time(row, 5)?.ok_or(rusqlite::Error::InvalidQuery)?,
        expire_time: time(row, 6)?,
        revoke_time: time(row, 7)?,
        suspension: suspension(row, 8, 9)?,
        predecessor: key_id(row, 10)?,
        successor: key_id(row, 11)?,
        version: Version::from_stored(row.get(12)?),
        labels: labels(row, 13)?,
        last_used_time: time(row, 14)?.and_then(Timestamp::if_past),
        revoke_reason: row.get::<_, Option<String>>(15)?.map(Reason::from_stored),
    })
}

pub(super) const DOMAIN_COLUMNS: &str =
    "account_id, domain, include_subdomains, create_time, verify_time";

pub(super) fn verified_domain(row: &Row<'_>) -> rusqlite::Result<VerifiedDomain> {
    Ok(VerifiedDomain {
        account_id: AccountId::from_stored(row.get(0)?),
        domain: Domain::from_stored(row.get(1)?),
        include_subdomains: row.get(2)?,
        create_time: time(row, 3)?.ok_or(rusqlite::Error::InvalidQuery)?,
        verify_time: time(row, 4)?.ok_or(rusqlite::Error::InvalidQuery)?,
    })
}

pub(super) const DOMAIN_STATE_COLUMNS: &str =
    "account_id, domain, include_subdomains, remove_time IS NOT NULL";

pub(super) fn domain_state(row: &Row<'_>) -> rusqlite::Result<DomainState> {
    Ok(DomainState {
        account_id: AccountId::from_stored(row.get(0)?),
        domain: Domain::from_stored(row.get(1)?),
        coverage: Coverage::of(row.get(2)?, row.get(3)?),
    })
}

pub(super) const KEY_STATE_COLUMNS: &str = "key_id, digest, account_id, domain, expire_time, revoke_time IS NOT NULL, suspend_time IS NOT NULL";

pub(super) fn key_state<'a>(row: &'a Row<'_>) -> rusqlite::Result<KeyStateRef<'a>> {
    Ok(KeyStateRef {
        id: KeyId::from_uuid(uuid(row, 0)?),
        digest: TokenDigest::from_bytes(row.get(1)?),
        account_id: row.get_ref(2)?.as_str()?,
        domain: row.get_ref(3)?.as_str_or_null()?,
        expire_time: time(row, 4)?,
        revoked: row.get(5)?,
        suspended: row.get(6)?,
    })
}

pub(super) const USE_COLUMNS: &str = "key_id, last_used_time";

/// Reads when a key was last used. A time to come is none.
pub(super) fn key_use(
    row: &Row<'_>,
    now: Timestamp,
) -> rusqlite::Result<Option<(KeyId, Timestamp)>> {
    let (key_id, time) = (KeyId::from_uuid(uuid(row, 0)?), time(row, 1)?);
    Ok(time.filter(|&time| time <= now).map(|time| (key_id, time)))
}

pub(super) const ACCOUNT_STATE_COLUMNS: &str = "account_id, suspend_time IS NOT NULL";

pub(super) fn account_state(row: &Row<'_>) -> rusqlite::Result<AccountState> {
    Ok(AccountState {
        account_id: AccountId::from_stored(row.get(0)?),
        suspended: row.get(1)?,
    })
}

pub(super) fn suspension(
    row: &Row<'_>,
    reason: usize,
    since: usize,
) -> rusqlite::Result<Option<Suspension>> {
    let (reason, time) = (row.get::<_, Option<String>>(reason)?, time(row, since)?);
    Ok(reason.zip(time).map(|(reason, time)| Suspension {
        reason: Reason::from_stored(reason),
        time,
    }))
}

/// Labels as the store keeps them. `None` if there are none.
pub(super) fn stored_labels(labels: &Labels) -> Option<String> {
    let pairs = labels.pairs();
    (!pairs.is_empty()).then(|| serde_json::json!(pairs).to_string())
}

fn labels(row: &Row<'_>, column: usize) -> rusqlite::Result<Labels> {
    let Some(stored) = row.get::<_, Option<String>>(column)? else {
        return Ok(Labels::default());
    };
    let pairs = serde_json::from_str(&stored).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })?;
    Ok(Labels::from_stored(pairs))
}

fn key_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<KeyId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(|bytes| KeyId::from_uuid(Uuid::from_bytes(bytes))))
}

pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

fn scope(row: &Row<'_>, column: usize) -> rusqlite::Result<Scope> {
    let domain: Option<String> = row.get(column)?;
    Ok(Scope::from_domain(domain.map(Domain::from_stored)))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let micros: Option<i64> = row.get(column)?;
    micros
        .map(|micros| {
            Timestamp::from_micros(micros)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, micros))
        })
        .transpose()
}
