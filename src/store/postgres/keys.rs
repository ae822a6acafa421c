//! The statements of the PostgreSQL store on keys: create and revoke.
//!
//! Promises that a write and its audit record are one statement, and so one transaction. Must never
//! record a write that the database's functions did not make.

use super::{
    database::Database,
    errors::unexpected,
    key_changes::{by_id_or_digest, parents},
    rows,
};
use crate::{
    model::{
        audit_record::{AdminMethod, Outcome},
        key::{Key, KeyId, RequestId},
        time::Timestamp,
    },
    store::{Committed, CreateOutcome, NewKey, NotCreated, Revocation, StoreError},
};
use uuid::Uuid;

pub(super) async fn create(
    database: &Database,
    new: &NewKey,
) -> Result<Result<Committed<CreateOutcome>, NotCreated>, StoreError> {
    let key = &new.key;
    let rows = database
        .write(
            // This statement locks the table of audit records as it starts, and the writers' lock
            // only after that.
            "WITH created AS MATERIALIZED ( \
                 SELECT is_full, revision, write_id, first_key_id \
                 FROM keyservice.create_key($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $16)), \
             recorded AS ( \
                 INSERT INTO keyservice.audit \
                     (time, caller, method, account_id, key_id, domain, outcome, calls, revision) \
                 SELECT $9, $12, $13, $3, coalesce(first_key_id, $1), $6, \
                     CASE WHEN first_key_id IS NULL THEN $14 ELSE $15 END, 1, revision \
                 FROM created WHERE write_id IS NOT NULL) \
             SELECT is_full, revision, write_id, first_key_id FROM created",
            &[
                &key.id.as_uuid(),
                &new.digest.as_bytes().as_slice(),
                &key.account_id.as_str(),
                &key.name.as_str(),
                &key.preview.as_str(),
                &key.scope.domain(),
                &parents(&key.scope, new.must_be_verified),
                &new.request_id.as_ref().map(RequestId::as_str),
                &key.create_time.to_system_time(),
                &key.expire_time.map(Timestamp::to_system_time),
                &key.labels.pairs(),
                &new.caller.as_str(),
                &AdminMethod::Create.as_str(),
                &Outcome::OK.as_str(),
                &Outcome::ALREADY_EXISTS.as_str(),
                &new.max_keys.map(i64::from),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| unexpected("create_key gave no row"))?;
    if rows::column(row, "is_full")? {
        return Ok(Err(NotCreated::TooManyKeys));
    }
    if rows::column::<Option<Uuid>>(row, "write_id")?.is_none() {
        return Ok(Err(NotCreated::DomainNotVerified));
    }
    let first: Option<Uuid> = rows::column(row, "first_key_id")?;
    let outcome = first.map_or(CreateOutcome::Created, |first| {
        let first = KeyId::from_uuid(first);
        CreateOutcome::RequestIdUsed { first }
    });
    Ok(Ok(Committed::new(outcome, rows::position(row)?)))
}

pub(super) async fn revoke(
    database: &Database,
    revocation: &Revocation,
) -> Result<Option<Committed<Key>>, StoreError> {
    let (key_id, digest) = by_id_or_digest(&revocation.target);
    let rows = database
        .write(
            &format!(
                "WITH revoked AS MATERIALIZED ( \
                     SELECT (r.revoked).*, r.write_id \
                     FROM keyservice.revoke_key($1, $2, $3, $4) r), \
                 recorded AS ( \
                     INSERT INTO keyservice.audit \
                         (time, caller, method, account_id, key_id, domain, outcome, calls, \
                          revision) \
                     SELECT $4, $5, $6, account_id, key_id, domain, $7, 1, revision \
                     FROM revoked WHERE write_id IS NOT NULL) \
                 SELECT {}, revision, write_id FROM revoked k WHERE write_id IS NOT NULL",
                rows::KEY_COLUMNS
            ),
            &[
                &key_id,
                &digest,
                &revocation.accounts.listed(),
                &revocation.now.to_system_time(),
                &revocation.caller.as_str(),
                &AdminMethod::Revoke.as_str(),
                &Outcome::OK.as_str(),
            ],
        )
        .await?;
    let revoked = rows.first().map(|row| {
        let (key, position) = (rows::key(row)?, rows::position(row)?);
        Ok(Committed::new(key, position))
    });
    revoked.transpose()
}
