//! The statements of the PostgreSQL store that list and count keys.
//!
//! Promises that one statement looks at a bounded number of keys, whatever the filter.

use super::{
    database::{Database, ON_PRIMARY, Purpose},
    rows,
};
use crate::{
    model::{
        account::AccountId,
        domain::Domain,
        key::{
            KeyId, KeyName, Status,
            filter::{KeyFilter, Walk},
        },
        time::Timestamp,
        token::Preview,
    },
    store::{Counted, ListQuery, Listed, StoreError},
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// The keys that a walk comes to, in its order, and whether a filter selects them. `$1` to `$5` are the
/// arguments of the walk, and the filter's come after these.
const WALKED: &str = "(SELECT w.*, \
         ($6::pg_catalog.text IS NULL OR w.account_id COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $6) \
         AND ($7::pg_catalog.text IS NULL OR $7 OPERATOR(pg_catalog.=) CASE \
             WHEN w.revoke_time IS NOT NULL THEN 'REVOKED' \
             WHEN w.expire_time OPERATOR(pg_catalog.<=) $8 THEN 'EXPIRED' \
             WHEN w.suspend_time IS NOT NULL THEN 'SUSPENDED' \
             ELSE 'ACTIVE' END) \
         AND ($9::pg_catalog.text IS NULL OR w.domain COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $9) \
         AND w.labels OPERATOR(pg_catalog.@>) $10 \
         AND ($11::pg_catalog.text IS NULL OR pg_catalog.starts_with(w.name, $11)) \
         AND ($12::pg_catalog.text IS NULL OR w.preview COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $12) \
         AND ($13::pg_catalog.timestamptz IS NULL OR w.create_time OPERATOR(pg_catalog.<) $13) \
         AND ($14::pg_catalog.timestamptz IS NULL OR coalesce( \
             (SELECT u.last_used_time FROM keyservice.key_uses u WHERE u.key_id OPERATOR(pg_catalog.=) w.key_id), \
             w.create_time) OPERATOR(pg_catalog.<) $14) \
         AND (NOT $15 OR w.revoke_time IS NULL) \
         AS is_selected \
     FROM keyservice.walk_keys($1::pg_catalog.text, $2::pg_catalog.text, $3::pg_catalog.text, \
         $4::pg_catalog.int8, $5::pg_catalog.int8) WITH ORDINALITY w) k";

pub(super) async fn list(
    database: &Database,
    query: &ListQuery,
) -> Result<Option<Listed>, StoreError> {
    let Some(before) = position(database, query).await? else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT {}, ordinality, is_selected IS TRUE AS is_selected FROM {WALKED} \
         WHERE (is_selected OR ordinality OPERATOR(pg_catalog.=) $5) AND {ON_PRIMARY} \
         ORDER BY ordinality LIMIT $16",
        rows::KEY_COLUMNS
    );
    let limit = to_i64(query.limit);
    let found = search(database, &sql, query, before, Some(&limit)).await?;
    let mut listed = Listed {
        keys: Vec::new(),
        searched_to: None,
    };
    for row in &found {
        let key = rows::key(row)?;
        if rows::column::<i64>(row, "ordinality")? == to_i64(query.search_len) {
            listed.searched_to = Some(key.id);
        }
        if rows::column(row, "is_selected")? {
            listed.keys.push(key);
        }
    }
    Ok(Some(listed))
}

pub(super) async fn count(
    database: &Database,
    query: &ListQuery,
) -> Result<Option<Counted>, StoreError> {
    let Some(before) = position(database, query).await? else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT pg_catalog.count(*) FILTER (WHERE is_selected) AS count, \
             pg_catalog.array_agg(key_id) FILTER (WHERE ordinality OPERATOR(pg_catalog.=) $5) AS last \
         FROM {WALKED} WHERE {ON_PRIMARY}"
    );
    let found = search(database, &sql, query, before, None).await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let last: Option<Vec<Uuid>> = rows::column(row, "last")?;
    Ok(Some(Counted {
        count: rows::count(row, "count")?,
        searched_to: last.and_then(|ids| ids.first().copied().map(KeyId::from_uuid)),
    }))
}

async fn search(
    database: &Database,
    sql: &str,
    query: &ListQuery,
    before: i64,
    limit: Option<&i64>,
) -> Result<Vec<tokio_postgres::Row>, StoreError> {
    let ListQuery { filter, now, .. } = query;
    let KeyFilter {
        account_id,
        is_unrevoked,
        status,
        domain,
        labels,
        name_prefix,
        preview,
        created_before,
        unused_since,
    } = filter;
    let walk = filter.walk();
    let (name, walked_account, walked_text) = arguments(&walk);
    let (search_len, now) = (to_i64(query.search_len), now.to_system_time());
    let account_id = account_id.as_ref().map(AccountId::as_str);
    let status = status.map(status_name);
    let domain = domain.as_ref().map(Domain::as_str);
    let labels = labels.pairs();
    let name_prefix = name_prefix.as_ref().map(KeyName::as_str);
    let preview = preview.as_ref().map(Preview::as_str);
    let created_before = created_before.map(Timestamp::to_system_time);
    let unused_since = unused_since.map(Timestamp::to_system_time);
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
        &name,
        &walked_account,
        &walked_text,
        &before,
        &search_len,
        &account_id,
        &status,
        &now,
        &domain,
        &labels,
        &name_prefix,
        &preview,
        &created_before,
        &unused_since,
        is_unrevoked,
    ];
    parameters.extend(limit.map(|limit| limit as &(dyn ToSql + Sync)));
    database.query(Purpose::Calls, sql, &parameters).await
}

/// The name of a walk in `keyservice.walk_keys`, its account and its text.
fn arguments<'a>(walk: &'a Walk<'a>) -> (&'static str, Option<&'a str>, Option<&'a str>) {
    match walk {
        Walk::Preview(account_id, preview) => (
            "PREVIEW",
            account_id.map(AccountId::as_str),
            Some(preview.as_str()),
        ),
        Walk::Label(account_id, label) => ("LABEL", Some(account_id.as_str()), Some(label)),
        Walk::Domain(account_id, domain) => {
            ("DOMAIN", Some(account_id.as_str()), Some(domain.as_str()))
        }
        Walk::UnrevokedDomain(account_id, domain) => (
            "UNREVOKED_DOMAIN",
            Some(account_id.as_str()),
            Some(domain.as_str()),
        ),
        Walk::Status(account_id, status) => (status_name(*status), Some(account_id.as_str()), None),
        Walk::Suspended => ("SUSPENDED_ANYWHERE", None, None),
        Walk::Account(account_id) => ("ACCOUNT", Some(account_id.as_str()), None),
        Walk::All => ("ALL", None, None),
    }
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Active => "ACTIVE",
        Status::Revoked => "REVOKED",
        Status::Expired => "EXPIRED",
        Status::Suspended => "SUSPENDED",
    }
}

fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The listed keys were created by writes before this revision. The key to go on after must belong
/// to the account: otherwise the list would tell when another account created a key.
async fn position(database: &Database, query: &ListQuery) -> Result<Option<i64>, StoreError> {
    let Some(after) = query.after else {
        return Ok(Some(i64::MAX));
    };
    let account_id = query.filter.account_id.as_ref().map(AccountId::as_str);
    let rows = database
        .query(
            Purpose::Calls,
            &format!(
                "SELECT create_revision FROM keyservice.keys \
                 WHERE key_id OPERATOR(pg_catalog.=) $1 \
                   AND ($2::pg_catalog.text IS NULL \
                        OR account_id COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $2) \
                   AND {ON_PRIMARY}"
            ),
            &[&after.as_uuid(), &account_id],
        )
        .await?;
    let row = rows.first();
    row.map(|row| rows::column(row, "create_revision"))
        .transpose()
}
