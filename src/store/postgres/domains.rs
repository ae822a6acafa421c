//! The statements of the PostgreSQL store on verified domains.
//!
//! Promises that a write and its audit record are one statement, and so one transaction. Must never
//! record a write that the database's functions did not make.

use super::{
    database::{Database, ON_PRIMARY, Purpose, Turn},
    errors::unexpected,
    rows,
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, Outcome},
        domain::Domain,
        time::Timestamp,
    },
    store::{
        ActiveKeys, AddedDomain, COUNT_LEN, Committed, DomainAddition, DomainQuery, DomainRemoval,
        LISTED_COUNT_LEN, ListedDomain, RemovedDomain, StoreError,
    },
};
use tokio_postgres::Row;

/// Whether the write of a row was there before the statement, which does not see its own. It does not see one either
/// that was committed while it waited for the writers' lock.
const IS_EARLIER: &str = "EXISTS ( \
     SELECT FROM keyservice.writes w WHERE w.revision OPERATOR(pg_catalog.=) changed.revision) AS is_earlier";

pub(super) async fn add(
    database: &Database,
    addition: &DomainAddition,
) -> Result<Committed<AddedDomain>, StoreError> {
    let rows = database
        .write(
            Turn::Common,
            &addition.still_allowed,
            &format!(
                "WITH changed AS MATERIALIZED ( \
                     SELECT (a.added).*, a.write_id, a.is_shared \
                     FROM keyservice.check_store($8::pg_catalog.uuid) \
                         CROSS JOIN keyservice.add_domain($1::pg_catalog.text, $2::pg_catalog.text, \
                         $3::pg_catalog.bool, $4::pg_catalog.timestamptz) a), \
                 recorded AS ( \
                     INSERT INTO keyservice.audit \
                         (time, caller, method, account_id, domain, include_subdomains, outcome, \
                          calls, revision) \
                     SELECT $4, $5, $6, $1, $2, $3, $7, 1, revision FROM changed) \
                 SELECT {}, is_shared, revision, write_id, {IS_EARLIER} FROM changed",
                rows::DOMAIN_COLUMNS
            ),
            &[
                &addition.account_id.as_str(),
                &addition.domain.as_str(),
                &addition.include_subdomains,
                &addition.now.to_system_time(),
                &addition.caller.as_str(),
                &AdminMethod::AddDomain.as_str(),
                &Outcome::OK.as_str(),
                &database.store_id(),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| unexpected("add_domain gave no row"))?;
    let added = AddedDomain {
        domain: rows::verified_domain(row)?,
        is_shared: rows::column(row, "is_shared")?,
    };
    let committed = Committed::new(added, rows::position(row)?);
    Ok(committed.by_earlier_write(rows::column(row, "is_earlier")?))
}

pub(super) async fn remove(
    database: &Database,
    removal: &DomainRemoval,
) -> Result<Option<Committed<RemovedDomain>>, StoreError> {
    remove_by(
        "remove_domain",
        AdminMethod::RemoveDomain,
        database,
        removal,
    )
    .await
}

/// On record as the call by which an admin would do it.
pub(super) async fn remove_subdomains(
    database: &Database,
    removal: &DomainRemoval,
) -> Result<Option<Committed<()>>, StoreError> {
    let removed = remove_by(
        "remove_subdomains",
        AdminMethod::AddDomain,
        database,
        removal,
    )
    .await?;
    Ok(removed.map(|removed| removed.map(|_| ())))
}

async fn remove_by(
    function: &str,
    method: AdminMethod,
    database: &Database,
    removal: &DomainRemoval,
) -> Result<Option<Committed<RemovedDomain>>, StoreError> {
    let include_subdomains = (method == AdminMethod::AddDomain).then_some(false);
    let parents: Vec<&str> = removal.domain.parents().collect();
    let rows = database
        .write(
            Turn::of(method),
            &removal.still_allowed,
            &format!(
                "WITH changed AS MATERIALIZED ( \
                     SELECT revision, write_id \
                     FROM keyservice.check_store($9::pg_catalog.uuid) \
                     CROSS JOIN keyservice.{function}($1::pg_catalog.text, $2::pg_catalog.text, \
                         $3::pg_catalog.timestamptz)), \
                 recorded AS ( \
                     INSERT INTO keyservice.audit \
                         (time, caller, method, account_id, domain, include_subdomains, outcome, \
                          calls, revision) \
                     SELECT $3, $4, $5, $1, $2, $8, $6, 1, revision FROM changed WHERE write_id IS NOT NULL) \
                 SELECT revision, write_id, {IS_EARLIER}, ( \
                     SELECT d.domain FROM keyservice.domains d \
                     WHERE d.account_id OPERATOR(pg_catalog.=) $1 \
                       AND d.domain OPERATOR(pg_catalog.=) ANY ($7) \
                       AND d.remove_time IS NULL AND d.include_subdomains \
                     ORDER BY pg_catalog.char_length(d.domain) DESC LIMIT 1) AS still_verified_by \
                 FROM changed WHERE write_id IS NOT NULL"
            ),
            &[
                &removal.account_id.as_str(),
                &removal.domain.as_str(),
                &removal.now.to_system_time(),
                &removal.caller.as_str(),
                &method.as_str(),
                &Outcome::OK.as_str(),
                &parents,
                &include_subdomains,
                &database.store_id(),
            ],
        )
        .await?;
    let removed = rows.first().map(|row| {
        let still_verified_by: Option<String> = rows::column(row, "still_verified_by")?;
        let removed = RemovedDomain {
            still_verified_by: still_verified_by.map(Domain::from_stored),
        };
        let committed = Committed::new(removed, rows::position(row)?);
        Ok(committed.by_earlier_write(rows::column(row, "is_earlier")?))
    });
    removed.transpose()
}

/// Reads an answer of `keyservice.count_active_keys`, which was asked for [`limit`] of the same length.
fn active_keys(row: &Row, len: usize) -> Result<ActiveKeys, StoreError> {
    let (active, looked_at) = (rows::count(row, "active")?, rows::count(row, "looked_at")?);
    Ok(ActiveKeys::among(active, looked_at, len))
}

/// How many keys must be looked at to tell whether there are more than so many.
fn limit(len: usize) -> i64 {
    i64::try_from(len).map_or(i64::MAX, |len| len.saturating_add(1))
}

pub(super) async fn list(
    database: &Database,
    query: &DomainQuery,
) -> Result<Vec<ListedDomain>, StoreError> {
    let rows = database
        .query(
            Purpose::Calls,
            &format!(
                "SELECT d.*, counted.active, counted.looked_at \
                 FROM (SELECT {} FROM keyservice.domains \
                       WHERE account_id OPERATOR(pg_catalog.=) $1 \
                         AND domain OPERATOR(pg_catalog.>) coalesce($2, '') AND remove_time IS NULL \
                       ORDER BY domain LIMIT $3) d \
                 CROSS JOIN LATERAL \
                     keyservice.count_active_keys(d.account_id, d.domain, $4::pg_catalog.timestamptz, \
                         $5::pg_catalog.int8) counted \
                 WHERE {ON_PRIMARY} ORDER BY domain",
                rows::DOMAIN_COLUMNS
            ),
            &[
                &query.account_id.as_str(),
                &query.after.as_ref().map(Domain::as_str),
                &i64::try_from(query.limit).unwrap_or(i64::MAX),
                &query.now.to_system_time(),
                &limit(LISTED_COUNT_LEN),
            ],
        )
        .await?;
    let listed = rows.iter().map(|row| {
        Ok(ListedDomain {
            domain: rows::verified_domain(row)?,
            active_keys: active_keys(row, LISTED_COUNT_LEN)?,
        })
    });
    listed.collect()
}

pub(super) async fn count_active_keys(
    database: &Database,
    account_id: &AccountId,
    domain: &Domain,
    now: Timestamp,
) -> Result<ActiveKeys, StoreError> {
    let rows = database
        .query(
            Purpose::Calls,
            &format!("SELECT active, looked_at FROM keyservice.count_active_keys($1::pg_catalog.text, \
                $2::pg_catalog.text, $3::pg_catalog.timestamptz, $4::pg_catalog.int8) WHERE {ON_PRIMARY}"),
            &[
                &account_id.as_str(),
                &domain.as_str(),
                &now.to_system_time(),
                &limit(COUNT_LEN),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| unexpected("a count gave no row"))?;
    active_keys(row, COUNT_LEN)
}
