//! The statements of the PostgreSQL store on verified domains.
//!
//! Promises that a write and its audit record are one statement, and so one transaction. Must never
//! record a write that the database's functions did not make.

use super::{
    database::{Database, Purpose},
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

pub(super) async fn add(
    database: &Database,
    addition: &DomainAddition,
) -> Result<Committed<AddedDomain>, StoreError> {
    let rows = database
        .write(
            &format!(
                "WITH added AS MATERIALIZED ( \
                     SELECT (a.added).*, a.write_id, a.is_shared \
                     FROM keyservice.add_domain($1, $2, $3, $4) a), \
                 recorded AS ( \
                     INSERT INTO keyservice.audit \
                         (time, caller, method, account_id, domain, include_subdomains, outcome, \
                          calls) \
                     SELECT $4, $5, $6, $1, $2, $3, $7, 1 FROM added) \
                 SELECT {}, is_shared, revision, write_id FROM added",
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
    Ok(Committed::new(added, rows::position(row)?))
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
    Ok(removed.map(|removed| Committed::new((), removed.position())))
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
            &format!(
                "WITH removed AS MATERIALIZED ( \
                     SELECT revision, write_id FROM keyservice.{function}($1, $2, $3)), \
                 recorded AS ( \
                     INSERT INTO keyservice.audit \
                         (time, caller, method, account_id, domain, include_subdomains, outcome, \
                          calls) \
                     SELECT $3, $4, $5, $1, $2, $8, $6, 1 FROM removed WHERE write_id IS NOT NULL) \
                 SELECT revision, write_id, ( \
                     SELECT d.domain FROM keyservice.domains d \
                     WHERE d.account_id OPERATOR(pg_catalog.=) $1 \
                       AND d.domain OPERATOR(pg_catalog.=) ANY ($7) \
                       AND d.remove_time IS NULL AND d.include_subdomains \
                     ORDER BY pg_catalog.char_length(d.domain) DESC LIMIT 1) AS still_verified_by \
                 FROM removed WHERE write_id IS NOT NULL"
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
            ],
        )
        .await?;
    let removed = rows.first().map(|row| {
        let still_verified_by: Option<String> = rows::column(row, "still_verified_by")?;
        let removed = RemovedDomain {
            still_verified_by: still_verified_by.map(Domain::from_stored),
        };
        Ok(Committed::new(removed, rows::position(row)?))
    });
    removed.transpose()
}

/// The columns `active` and `read` of a count of keys, which [`active_keys`] reads. The index `keys_by_domain`
/// has the keys of a domain in this order, so no more are read than are counted.
fn count_of_keys(account_id: &str, domain: &str, now: &str, len: usize) -> String {
    format!(
        "SELECT pg_catalog.count(*) FILTER (WHERE k.revoke_time IS NULL \
                 AND (k.expire_time IS NULL OR k.expire_time OPERATOR(pg_catalog.>) {now})) AS active, \
             pg_catalog.count(*) AS read \
         FROM (SELECT revoke_time, expire_time FROM keyservice.keys \
               WHERE account_id COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) {account_id} \
                 AND domain COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) {domain} \
               ORDER BY create_revision DESC LIMIT {len} + 1) k"
    )
}

fn active_keys(row: &Row, len: usize) -> Result<ActiveKeys, StoreError> {
    let (active, read) = (rows::count(row, "active")?, rows::count(row, "read")?);
    Ok(ActiveKeys::among(active, read, len))
}

pub(super) async fn list(
    database: &Database,
    query: &DomainQuery,
) -> Result<Vec<ListedDomain>, StoreError> {
    let rows = database
        .query(
            Purpose::Calls,
            &format!(
                "SELECT d.*, counted.active, counted.read \
                 FROM (SELECT {} FROM keyservice.domains \
                       WHERE account_id OPERATOR(pg_catalog.=) $1 \
                         AND domain OPERATOR(pg_catalog.>) coalesce($2, '') AND remove_time IS NULL \
                       ORDER BY domain LIMIT $3) d \
                 CROSS JOIN LATERAL ({}) counted \
                 ORDER BY domain",
                rows::DOMAIN_COLUMNS,
                count_of_keys("d.account_id", "d.domain", "$4", LISTED_COUNT_LEN)
            ),
            &[
                &query.account_id.as_str(),
                &query.after.as_ref().map(Domain::as_str),
                &i64::try_from(query.limit).unwrap_or(i64::MAX),
                &query.now.to_system_time(),
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
            &count_of_keys("$1", "$2", "$3", COUNT_LEN),
            &[
                &account_id.as_str(),
                &domain.as_str(),
                &now.to_system_time(),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| unexpected("a count gave no row"))?;
    active_keys(row, COUNT_LEN)
}
