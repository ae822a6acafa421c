//! The statements of the PostgreSQL store that read one key, and give it its next state.
//!
//! Promises that a write and its audit record are one statement, and so one transaction.

use super::{
    database::{Database, ON_PRIMARY, Purpose, Turn},
    errors::unexpected,
    rows,
};
use crate::{
    model::{
        audit_record::Outcome,
        key::{Key, KeyId, Reason, RequestId, Scope},
        time::Timestamp,
    },
    store::{
        Committed, KeyLookup, KeyReplacement, KeySuspension, KeyTarget, Replaced, StoreError,
        Suspended,
    },
};
use std::time::SystemTime;
use uuid::Uuid;

pub(super) async fn get(
    database: &Database,
    lookup: &KeyLookup,
) -> Result<Option<Key>, StoreError> {
    let (key_id, digest) = by_id_or_digest(&lookup.target);
    let rows = database
        .query(
            Purpose::Calls,
            &format!(
                "SELECT {} FROM keyservice.keys k \
                 WHERE (key_id OPERATOR(pg_catalog.=) $1 OR digest OPERATOR(pg_catalog.=) $2) \
                   AND ($3::pg_catalog.text[] IS NULL \
                        OR account_id COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) ANY ($3)) \
                   AND {ON_PRIMARY}",
                rows::KEY_COLUMNS
            ),
            &[&key_id, &digest, &lookup.accounts.listed()],
        )
        .await?;
    rows.first().map(rows::key).transpose()
}

/// The parameters that find a key, of which one is null.
pub(super) fn by_id_or_digest(target: &KeyTarget) -> (Option<Uuid>, Option<&[u8]>) {
    match target {
        KeyTarget::Id(id) => (Some(id.as_uuid()), None),
        KeyTarget::Digest(digest) => (None, Some(digest.as_bytes().as_slice())),
    }
}

/// The names above a domain that must be verified.
pub(super) fn parents(scope: &Scope, must_be_verified: bool) -> Option<Vec<&str>> {
    match scope {
        Scope::Domain(domain) if must_be_verified => Some(domain.parents().collect()),
        Scope::Domain(_) | Scope::AllDomains => None,
    }
}

pub(super) async fn replace(
    database: &Database,
    replacement: &KeyReplacement,
) -> Result<Replaced, StoreError> {
    let KeyReplacement { key, successor, .. } = replacement;
    let new = successor.as_ref();
    let time = |time: Timestamp| -> SystemTime { time.to_system_time() };
    let suspension = key.suspension.as_ref();
    let rows = database
        .write(
            Turn::Common,
            &replacement.still_allowed,
            "WITH replaced AS MATERIALIZED ( \
                 SELECT outcome, revision, write_id, first_key_id \
                 FROM keyservice.check_store($23::pg_catalog.uuid) CROSS JOIN keyservice.replace_key( \
                     $1::pg_catalog.uuid, $2::pg_catalog.int4, $3::pg_catalog.text, $4::pg_catalog.text, \
                         $5::pg_catalog.text[], $6::pg_catalog.text[], $7::pg_catalog.timestamptz, \
                         $8::pg_catalog.timestamptz, $9::pg_catalog.text, $10::pg_catalog.timestamptz, \
                         $11::pg_catalog.timestamptz, $12::pg_catalog.uuid, $13::pg_catalog.bytea, \
                         $14::pg_catalog.text, $15::pg_catalog.text, $16::pg_catalog.timestamptz, \
                         $22::pg_catalog.int8)), \
             recorded AS ( \
                 INSERT INTO keyservice.audit \
                     (time, caller, method, account_id, key_id, domain, outcome, calls, revision, key_end) \
                 SELECT $11, $17, $18, $19, k.key_id, $4, \
                     CASE WHEN first_key_id IS NULL THEN $20 ELSE $21 END, 1, k.revision, \
                     CASE WHEN first_key_id IS NULL AND k.key_id OPERATOR(pg_catalog.=) $1 \
                         THEN $24::pg_catalog.timestamptz END \
                 FROM replaced CROSS JOIN LATERAL (VALUES \
                     (CASE WHEN first_key_id IS NULL AND $13 IS NOT NULL THEN $12 END, \
                      replaced.revision OPERATOR(pg_catalog.-) 1), \
                     (coalesce(first_key_id, $1), replaced.revision)) k (key_id, revision) \
                 WHERE write_id IS NOT NULL AND k.key_id IS NOT NULL) \
             SELECT outcome, revision, write_id, first_key_id FROM replaced",
            &[
                &key.id.as_uuid(),
                &key.version.number(),
                &key.name.as_str(),
                &key.scope.domain(),
                &parents(&key.scope, replacement.must_be_verified),
                &key.labels.pairs(),
                &key.expire_time.map(time),
                &key.revoke_time.map(time),
                &suspension.map(|suspension| suspension.reason.as_str()),
                &suspension.map(|suspension| time(suspension.time)),
                &time(replacement.now),
                &key.successor.map(KeyId::as_uuid),
                &new.map(|new| new.digest.as_bytes().as_slice()),
                &new.map(|new| new.key.preview.as_str()),
                &new.and_then(|new| new.request_id.as_ref().map(RequestId::as_str)),
                &new.and_then(|new| new.key.expire_time.map(time)),
                &replacement.caller.as_str(),
                &replacement.method.as_str(),
                &key.account_id.as_str(),
                &Outcome::OK.as_str(),
                &Outcome::ALREADY_EXISTS.as_str(),
                &replacement.max_keys.map(i64::from),
                &database.store_id(),
                &replacement.recorded_end().map(rows::stored_end),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| unexpected("replace_key gave no row"))?;
    match rows::column(row, "outcome")? {
        "REPLACED" => Ok(Replaced::Replaced(Committed::new((), rows::position(row)?))),
        "REQUEST_ID_USED" => {
            let first = KeyId::from_uuid(rows::column(row, "first_key_id")?);
            let committed = Committed::new(first, rows::position(row)?);
            Ok(Replaced::RequestIdUsed(committed.by_earlier_write(true)))
        }
        "CONFLICT" => Ok(Replaced::Conflict),
        "UNVERIFIED" => Ok(Replaced::DomainNotVerified),
        "FULL" => Ok(Replaced::TooManyKeys),
        _ => Err(unexpected(
            "replace_key gave an outcome that this release does not know",
        )),
    }
}

pub(super) async fn set_suspension(
    database: &Database,
    suspension: &KeySuspension,
) -> Result<Suspended, StoreError> {
    let (key_id, digest) = by_id_or_digest(&suspension.target);
    let rows = database
        .write(
            Turn::of(suspension.method()),
            &suspension.still_allowed,
            &format!(
                "WITH revised AS MATERIALIZED ( \
                     SELECT (r.revised).*, r.write_id \
                     FROM keyservice.check_store($9::pg_catalog.uuid) \
                     CROSS JOIN keyservice.set_key_suspension($1::pg_catalog.uuid, $2::pg_catalog.bytea, \
                         $3::pg_catalog.text[], $4::pg_catalog.text, $5::pg_catalog.timestamptz) r), \
                 recorded AS ( \
                     INSERT INTO keyservice.audit \
                         (time, caller, method, account_id, key_id, domain, outcome, calls, revision) \
                     SELECT $5, $6, $7, account_id, key_id, domain, $8, 1, revision \
                     FROM revised WHERE write_id IS NOT NULL) \
                 SELECT {}, revision, write_id FROM revised k WHERE key_id IS NOT NULL",
                rows::KEY_COLUMNS
            ),
            &[
                &key_id,
                &digest,
                &suspension.accounts.listed(),
                &suspension.reason.as_ref().map(Reason::as_str),
                &suspension.now.to_system_time(),
                &suspension.caller.as_str(),
                &suspension.method().as_str(),
                &Outcome::OK.as_str(),
                &database.store_id(),
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Suspended::NotFound);
    };
    let key = rows::key(row)?;
    Ok(match key.revoke_time {
        Some(_) => Suspended::Revoked(key),
        None => Suspended::Stored(Committed::new(key, rows::position(row)?)),
    })
}
