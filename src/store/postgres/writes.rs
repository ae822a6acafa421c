//! Owns the writes of keys, each with its audit record.
//! Promises that each is one statement, so one transaction: the record stands if the write does.
//! Must never record a write that the database's functions did not make.

use super::{PostgresStore, rows, unexpected};
use crate::{
    model::{
        audit_record::{AdminMethod, Outcome},
        key::{Key, KeyId, RequestId},
        time::Timestamp,
    },
    store::{Committed, CreateOutcome, NewKey, Revocation, RevokeTarget, StoreError},
};
use uuid::Uuid;

pub(super) async fn create(
    store: &PostgresStore,
    new: &NewKey,
) -> Result<Committed<CreateOutcome>, StoreError> {
    let key = &new.key;
    let rows = store
        .query(
            // The table of records is locked with the statement's start, before the writers' lock.
            "WITH created AS MATERIALIZED ( \
                 SELECT revision, write_id, first_key_id \
                 FROM keyservice.create_key($1, $2, $3, $4, $5, $6, $7, $8, $9)), \
             recorded AS ( \
                 INSERT INTO keyservice.audit \
                     (time, caller, method, account_id, key_id, outcome, calls) \
                 SELECT $8, $10, $11, $3, coalesce(first_key_id, $1), \
                     CASE WHEN first_key_id IS NULL THEN $12 ELSE $13 END, 1 \
                 FROM created) \
             SELECT revision, write_id, first_key_id FROM created",
            &[
                &key.id.as_uuid(),
                &new.digest.as_bytes().as_slice(),
                &key.account_id.as_str(),
                &key.name.as_str(),
                &key.preview.as_str(),
                &key.scope.domain(),
                &new.request_id.as_ref().map(RequestId::as_str),
                &key.create_time.to_system_time(),
                &key.expire_time.map(Timestamp::to_system_time),
                &new.caller.as_str(),
                &AdminMethod::Create.as_str(),
                &Outcome::OK.as_str(),
                &Outcome::ALREADY_EXISTS.as_str(),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| unexpected("create_key gave no row"))?;
    let first: Option<Uuid> = rows::column(row, "first_key_id")?;
    let outcome = first.map_or(CreateOutcome::Created, |first| {
        let first = KeyId::from_uuid(first);
        CreateOutcome::RequestIdUsed { first }
    });
    Ok(Committed::new(outcome, rows::position(row)?))
}

pub(super) async fn revoke(
    store: &PostgresStore,
    revocation: &Revocation,
) -> Result<Option<Committed<Key>>, StoreError> {
    let (key_id, digest) = match &revocation.target {
        RevokeTarget::Id(id) => (Some(id.as_uuid()), None),
        RevokeTarget::Digest(digest) => (None, Some(digest.as_bytes().as_slice())),
    };
    let rows = store
        .query(
            &format!(
                "WITH revoked AS MATERIALIZED ( \
                     SELECT (r.revoked).*, r.write_id \
                     FROM keyservice.revoke_key($1, $2, $3, $4) r), \
                 recorded AS ( \
                     INSERT INTO keyservice.audit \
                         (time, caller, method, account_id, key_id, outcome, calls) \
                     SELECT $4, $5, $6, account_id, key_id, $7, 1 \
                     FROM revoked WHERE write_id IS NOT NULL) \
                 SELECT {}, revision, write_id FROM revoked WHERE write_id IS NOT NULL",
                rows::KEY_COLUMNS
            ),
            &[
                &key_id,
                &digest,
                &revocation.accounts.names(),
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
