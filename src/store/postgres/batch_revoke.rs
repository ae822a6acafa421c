//! The statements of the PostgreSQL store that find many given keys, and revoke many.
//!
//! Promises that to find them holds up no write; and that a batch is one transaction, with its audit records.

use super::{
    database::{Database, ON_PRIMARY, Purpose, Turn},
    rows,
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, Outcome},
        domain::Domain,
        key::KeyId,
    },
    store::{BatchRevocation, Committed, KeyTarget, Position, Selected, Selection, StoreError},
};
use uuid::Uuid;

pub(super) async fn select(
    database: &Database,
    selection: &Selection,
) -> Result<Selected, StoreError> {
    let targets = selection.targets();
    let id = |target: &KeyTarget| match target {
        KeyTarget::Id(id) => Some(id.as_uuid()),
        KeyTarget::Digest(_) => None,
    };
    let digest = |target: &KeyTarget| match target {
        KeyTarget::Id(_) => None,
        KeyTarget::Digest(digest) => Some(digest.as_bytes().to_vec()),
    };
    let ids: Vec<Option<Uuid>> = targets.iter().map(id).collect();
    let digests: Vec<Option<Vec<u8>>> = targets.iter().map(digest).collect();
    let rows = database
        .query(
            Purpose::Calls,
            // The LIMIT keeps PostgreSQL from reading all keys to join them.
            &format!(
            "SELECT k.key_id, k.revoke_time IS NOT NULL AS is_revoked \
             FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.uuid[]), pg_catalog.unnest($2::pg_catalog.bytea[])) \
                 WITH ORDINALITY t (key_id, digest, place) \
             LEFT JOIN LATERAL ( \
                 SELECT x.key_id, x.revoke_time FROM keyservice.keys x \
                 WHERE (x.key_id OPERATOR(pg_catalog.=) t.key_id OR x.digest OPERATOR(pg_catalog.=) t.digest) \
                   AND ($3::pg_catalog.text[] IS NULL \
                        OR x.account_id COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) ANY ($3)) \
                 LIMIT 1) k ON true \
             WHERE {ON_PRIMARY} ORDER BY t.place"),
            &[&ids, &digests, &selection.accounts().listed()],
        )
        .await?;
    let found = rows.iter().map(|row| {
        let id: Option<Uuid> = rows::column(row, "key_id")?;
        Ok((id.map(KeyId::from_uuid), rows::column(row, "is_revoked")?))
    });
    let found = found.collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Selected::of_given(selection, &found))
}

/// One statement, which is one transaction: all of the keys, or none.
pub(super) async fn revoke(
    database: &Database,
    batch: &BatchRevocation,
) -> Result<Committed<u64>, StoreError> {
    let ids: Vec<Uuid> = batch.key_ids.iter().map(|id| id.as_uuid()).collect();
    let rows = database
        .write(
            // A batch is long, and would keep the other turn from short ones.
            Turn::Common,
            &batch.still_allowed,
            "WITH batch AS MATERIALIZED ( \
                 SELECT revoked, revision, write_id \
                 FROM keyservice.check_store($9::pg_catalog.uuid) \
                 CROSS JOIN keyservice.batch_revoke($1::pg_catalog.uuid[], $2::pg_catalog.text, \
                     $3::pg_catalog.timestamptz, $4::pg_catalog.text, $5::pg_catalog.text, \
                     $6::pg_catalog.text)), \
             recorded AS ( \
                 INSERT INTO keyservice.audit \
                     (time, caller, method, account_id, domain, outcome, calls, revision) \
                 SELECT $3, $4, $5, $7, $8, $6, 1, CASE WHEN revoked OPERATOR(pg_catalog.>) 0 THEN revision END \
                 FROM batch) \
             SELECT revoked, revision, write_id FROM batch",
            &[
                &ids,
                &batch.reason.as_str(),
                &batch.now.to_system_time(),
                &batch.caller.as_str(),
                &AdminMethod::BatchRevoke.as_str(),
                &Outcome::OK.as_str(),
                &batch.filter.account_id.as_ref().map(AccountId::as_str),
                &batch.filter.domain.as_ref().map(Domain::as_str),
                &database.store_id(),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| super::errors::unexpected("batch_revoke gave no row"))?;
    let has_writes = rows::column::<Option<i64>>(row, "revision")?.is_some();
    let position = if has_writes {
        rows::position(row)?
    } else {
        Position::START
    };
    let revoked = rows::count(row, "revoked")?;
    Ok(Committed::new(revoked, position).by_earlier_write(revoked == 0))
}
