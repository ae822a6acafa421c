//! The statements of the PostgreSQL store on keys: create, revoke and list.
//!
//! Promises that a write and its audit record are one statement, and so one transaction. Must never
//! record a write that the database's functions did not make.

use super::{
    database::{Database, Purpose},
    key_changes::{by_id_or_digest, parents},
    rows,
};
use crate::{
    model::{
        audit_record::{AdminMethod, Outcome},
        domain::Domain,
        key::{Key, KeyId, RequestId, Status},
        time::Timestamp,
    },
    store::{
        Committed, CreateOutcome, LIST_SEARCH_LEN, ListQuery, Listed, NewKey, Revocation,
        StoreError,
    },
};
use uuid::Uuid;

pub(super) async fn create(
    database: &Database,
    new: &NewKey,
) -> Result<Option<Committed<CreateOutcome>>, StoreError> {
    let key = &new.key;
    let rows = database
        .write(
            // This statement locks the table of audit records as it starts, and the writers' lock
            // only after that.
            "WITH created AS MATERIALIZED ( \
                 SELECT revision, write_id, first_key_id \
                 FROM keyservice.create_key($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)), \
             recorded AS ( \
                 INSERT INTO keyservice.audit \
                     (time, caller, method, account_id, key_id, domain, outcome, calls, revision) \
                 SELECT $9, $12, $13, $3, coalesce(first_key_id, $1), $6, \
                     CASE WHEN first_key_id IS NULL THEN $14 ELSE $15 END, 1, revision \
                 FROM created WHERE write_id IS NOT NULL) \
             SELECT revision, write_id, first_key_id FROM created WHERE write_id IS NOT NULL",
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
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let first: Option<Uuid> = rows::column(row, "first_key_id")?;
    let outcome = first.map_or(CreateOutcome::Created, |first| {
        let first = KeyId::from_uuid(first);
        CreateOutcome::RequestIdUsed { first }
    });
    Ok(Some(Committed::new(outcome, rows::position(row)?)))
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

pub(super) async fn list(
    database: &Database,
    query: &ListQuery,
) -> Result<Option<Listed>, StoreError> {
    let Some(before) = list_position(database, query).await? else {
        return Ok(None);
    };
    // Each condition names its parameter, so that every statement takes the same parameters.
    let status = match query.status {
        None => "$5::pg_catalog.timestamptz IS NOT NULL",
        Some(Status::Revoked) => {
            "revoke_time IS NOT NULL AND $5::pg_catalog.timestamptz IS NOT NULL"
        }
        Some(Status::Expired) => "revoke_time IS NULL AND expire_time OPERATOR(pg_catalog.<=) $5",
        Some(Status::Active) => {
            "revoke_time IS NULL \
             AND suspend_time IS NULL \
             AND (expire_time IS NULL OR expire_time OPERATOR(pg_catalog.>) $5)"
        }
        Some(Status::Suspended) => {
            "revoke_time IS NULL AND suspend_time IS NOT NULL \
             AND (expire_time IS NULL OR expire_time OPERATOR(pg_catalog.>) $5)"
        }
    };
    let domain = domain_condition(query);
    let end = search_end(database, query, before).await?;
    let rows = database
        .query(
            Purpose::Calls,
            &format!(
                "SELECT {} FROM keyservice.keys k \
                 WHERE account_id COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $1 AND {domain} \
                   AND create_revision OPERATOR(pg_catalog.<) $3 \
                   AND create_revision OPERATOR(pg_catalog.>=) $6 AND {status} \
                 ORDER BY create_revision DESC LIMIT $4",
                rows::KEY_COLUMNS
            ),
            &[
                &query.account_id.as_str(),
                &query.domain.as_ref().map(Domain::as_str),
                &before,
                &i64::try_from(query.limit).unwrap_or(i64::MAX),
                &query.now.to_system_time(),
                &end.as_ref().map_or(0, |end| end.create_revision),
            ],
        )
        .await?;
    let keys = rows.iter().map(rows::key).collect::<Result<_, _>>()?;
    let searched_to = end.map(|end| end.key_id);
    Ok(Some(Listed { keys, searched_to }))
}

fn domain_condition(query: &ListQuery) -> &'static str {
    match query.domain {
        None => "$2::pg_catalog.text IS NULL",
        Some(_) => "domain COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $2",
    }
}

/// The last key that a List looks at.
struct SearchEnd {
    key_id: KeyId,
    create_revision: i64,
}

/// Where the search for keys with a status ends, or `None` if it looks at all of them. Without a status,
/// every key is one to list.
async fn search_end(
    database: &Database,
    query: &ListQuery,
    before: i64,
) -> Result<Option<SearchEnd>, StoreError> {
    if query.status.is_none() {
        return Ok(None);
    }
    let domain = domain_condition(query);
    let rows = database
        .query(
            Purpose::Calls,
            &format!(
                "SELECT key_id, create_revision FROM keyservice.keys \
                 WHERE account_id COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $1 AND {domain} \
                   AND create_revision OPERATOR(pg_catalog.<) $3 \
                 ORDER BY create_revision DESC OFFSET {} LIMIT 1",
                LIST_SEARCH_LEN - 1
            ),
            &[
                &query.account_id.as_str(),
                &query.domain.as_ref().map(Domain::as_str),
                &before,
            ],
        )
        .await?;
    let end = rows.first().map(|row| {
        Ok(SearchEnd {
            key_id: KeyId::from_uuid(rows::column(row, "key_id")?),
            create_revision: rows::column(row, "create_revision")?,
        })
    });
    end.transpose()
}

/// The listed keys were created by writes before this revision. The key to go on after must belong
/// to the account: otherwise the list would tell when another account created a key.
async fn list_position(database: &Database, query: &ListQuery) -> Result<Option<i64>, StoreError> {
    let Some(after) = query.after else {
        return Ok(Some(i64::MAX));
    };
    let rows = database
        .query(
            Purpose::Calls,
            "SELECT create_revision FROM keyservice.keys \
             WHERE key_id OPERATOR(pg_catalog.=) $1 \
               AND account_id COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $2",
            &[&after.as_uuid(), &query.account_id.as_str()],
        )
        .await?;
    let row = rows.first();
    row.map(|row| rows::column(row, "create_revision"))
        .transpose()
}
