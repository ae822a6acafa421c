//! The conversion of PostgreSQL's rows to values.
//!
//! Promises an error, not a panic, for a row that is not as the migrations made it. Text is not
//! checked here: it was checked when it was written.

use crate::{
    model::{
        account::{AccountId, AccountState},
        domain::Domain,
        key::{Key, KeyId, KeyName, KeyState, Labels, Reason, Scope, Suspension, Version},
        time::{LeaseTerm, Timestamp},
        token::{Preview, TokenDigest},
        verified_domain::{Coverage, DomainState, VerifiedDomain},
    },
    store::{Change, Position, Replica, ReplicaId, Revision, State, StoreError, WriteId},
};
use std::time::SystemTime;
use tokio_postgres::{
    Row,
    binary_copy::BinaryCopyOutRow,
    row::RowIndex,
    types::{FromSql, Type},
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

/// Of a row of `keyservice.keys` by the name of `k`, and one of `keyservice.key_uses` by that of `u`.
pub(super) const KEY_STATE_COLUMNS: &str = "k.key_id, k.digest, k.account_id, k.domain, k.expire_time, k.revoke_time IS NOT NULL, \
     k.suspend_time IS NOT NULL, u.last_used_time";

/// The types of [`KEY_STATE_COLUMNS`].
pub(super) const KEY_STATE_TYPES: [Type; 8] = [
    Type::UUID,
    Type::BYTEA,
    Type::TEXT,
    Type::TEXT,
    Type::TIMESTAMPTZ,
    Type::BOOL,
    Type::BOOL,
    Type::TIMESTAMPTZ,
];

/// Reads a key's state from a row of a binary COPY, whose type shares no trait with [`Row`].
pub(super) fn copied_key_state(row: &BinaryCopyOutRow) -> Result<KeyState, StoreError> {
    Ok(KeyState {
        id: KeyId::from_uuid(copied(row, 0)?),
        digest: to_digest(copied(row, 1)?)?,
        account_id: AccountId::from_stored(copied(row, 2)?),
        scope: scope(copied(row, 3)?),
        expire_time: time(copied(row, 4)?),
        revoked: copied(row, 5)?,
        suspended: copied(row, 6)?,
        last_used: time(copied(row, 7)?).and_then(Timestamp::if_past),
    })
}

pub(super) const DOMAIN_STATE_COLUMNS: &str =
    "account_id, domain, include_subdomains, remove_time IS NOT NULL";

/// The types of [`DOMAIN_STATE_COLUMNS`].
pub(super) const DOMAIN_STATE_TYPES: [Type; 4] = [Type::TEXT, Type::TEXT, Type::BOOL, Type::BOOL];

/// Reads a domain's state from a row of a binary COPY.
pub(super) fn copied_domain_state(row: &BinaryCopyOutRow) -> Result<DomainState, StoreError> {
    Ok(DomainState {
        account_id: AccountId::from_stored(copied(row, 0)?),
        domain: Domain::from_stored(copied(row, 1)?),
        coverage: Coverage::of(copied(row, 2)?, copied(row, 3)?),
    })
}

pub(super) const ACCOUNT_STATE_COLUMNS: &str = "account_id, suspend_time IS NOT NULL";

/// The types of [`ACCOUNT_STATE_COLUMNS`].
pub(super) const ACCOUNT_STATE_TYPES: [Type; 2] = [Type::TEXT, Type::BOOL];

/// Reads an account's state from a row of a binary COPY.
pub(super) fn copied_account_state(row: &BinaryCopyOutRow) -> Result<AccountState, StoreError> {
    Ok(AccountState {
        account_id: AccountId::from_stored(copied(row, 0)?),
        suspended: copied(row, 1)?,
    })
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
            last_used: None,
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

fn copied<'a, T: FromSql<'a>>(row: &'a BinaryCopyOutRow, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| unreadable(&error))
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
    StoreError::Failed(
        format!(
            "a stored row is unreadable: {}",
            crate::store::with_causes(error)
        )
        .into(),
    )
}
