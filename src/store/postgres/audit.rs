//! The audit records in a database: appending them, and reading them.
//!
//! Promises that reading needs no privilege but SELECT, and works on a standby too. Must never hold
//! more than one record in memory while it reads.

use super::{
    address::Address,
    database::{Database, PIN_SEARCH_PATH, Purpose},
    errors::{answered_within, store_error, unexpected},
    migrate, rows,
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, AuditQuery, AuditRecord, Outcome},
        caller_name::CallerName,
        key::KeyId,
        time::Timestamp,
    },
    store::{ApplyRecord, OpenError, ReadAuditError, StoreError, migrations, with_causes},
};
use futures::TryStreamExt;
use std::{pin::pin, time::Duration};
use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};

pub(super) async fn append(database: &Database, records: &[AuditRecord]) -> Result<(), StoreError> {
    let column = |value: fn(&AuditRecord) -> &str| records.iter().map(value).collect::<Vec<_>>();
    let times: Vec<_> = records.iter().map(|r| r.time.to_system_time()).collect();
    let account_ids: Vec<_> = records
        .iter()
        .map(|r| r.account_id.as_ref().map(AccountId::as_str))
        .collect();
    let key_ids: Vec<_> = records
        .iter()
        .map(|r| r.key_id.map(KeyId::as_uuid))
        .collect();
    let calls: Vec<_> = records
        .iter()
        .map(|r| i32::try_from(r.calls).unwrap_or(i32::MAX))
        .collect();
    database
        .query(
            Purpose::Calls,
            "INSERT INTO keyservice.audit (time, caller, method, account_id, key_id, outcome, calls) \
             SELECT r.* FROM keyservice.begin_transaction(), ROWS FROM ( \
                 pg_catalog.unnest($1::pg_catalog.timestamptz[]), \
                 pg_catalog.unnest($2::pg_catalog.text[]), \
                 pg_catalog.unnest($3::pg_catalog.text[]), \
                 pg_catalog.unnest($4::pg_catalog.text[]), \
                 pg_catalog.unnest($5::pg_catalog.uuid[]), \
                 pg_catalog.unnest($6::pg_catalog.text[]), \
                 pg_catalog.unnest($7::pg_catalog.int4[])) r",
            &[
                &times,
                &column(|r| r.caller.as_str()),
                &column(|r| r.method.as_str()),
                &account_ids,
                &key_ids,
                &column(|r| r.outcome.as_str()),
                &calls,
            ],
        )
        .await
        .map(drop)
}

/// How long connecting may take. Nothing depends on this command being quick.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long the next record may take. A search of a large table for a rare key may take long.
const RECORD_LIMIT: Duration = Duration::from_secs(600);

/// Hands the records to `apply` in order of time, as of one moment.
pub async fn read(
    address: &str,
    query: &AuditQuery,
    apply: &mut ApplyRecord<'_>,
) -> Result<(), ReadAuditError> {
    let address = Address::parse(address, CONNECT_LIMIT)?;
    let cannot_read = |error: &tokio_postgres::Error| OpenError::Driver {
        what: address.to_string(),
        cause: with_causes(error).into(),
        advice: "check that the server runs, that the address is right, and that the role may \
                 SELECT from the tables in schema keyservice",
    };
    let connected = answered_within(address.connect_timeout(), address.connect());
    let (client, connection) = connected.await?.map_err(|error| cannot_read(&error))?;
    tokio::spawn(connection);
    let found = begin(&client).await;
    let found = found.map_err(|error| cannot_read(&error))?;
    let found = found.ok_or_else(|| OpenError::Missing(address.to_string()))?;
    migrations::check_current(migrate::MIGRATIONS, found).map_err(OpenError::Schema)?;
    let rows = select(&client, query).await;
    let mut rows = pin!(rows.map_err(|error| cannot_read(&error))?);
    while let Some(row) = answered_within(RECORD_LIMIT, rows.try_next())
        .await?
        .map_err(|error| store_error(&error))?
    {
        apply(record(&row)?)?;
    }
    Ok(())
}

/// Begins a transaction that only reads, and gives the schema's version, or `None` if there is no
/// schema.
async fn begin(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    // The transaction ends with the connection.
    client
        .batch_execute("BEGIN READ ONLY; SET LOCAL statement_timeout = 0")
        .await?;
    client.batch_execute(PIN_SEARCH_PATH).await?;
    migrate::version(client).await
}

async fn select(
    client: &Client,
    query: &AuditQuery,
) -> Result<tokio_postgres::RowStream, tokio_postgres::Error> {
    let all = format!(
        "SELECT time, caller, method, account_id, key_id, outcome, calls, number \
         FROM keyservice.audit \
         WHERE time OPERATOR(pg_catalog.>=) $1 \
           AND time OPERATOR(pg_catalog.<) coalesce($2, 'infinity') \
           AND ($3 IS NULL OR account_id OPERATOR(pg_catalog.=) $3) \
           AND ($4 IS NULL OR key_id OPERATOR(pg_catalog.=) $4) \
           AND ($5 IS NULL OR caller OPERATOR(pg_catalog.=) $5) \
         ORDER BY time {0}, number {0}",
        if query.limit.is_some() { "DESC" } else { "ASC" }
    );
    let sql = match query.limit {
        None => all,
        Some(limit) => {
            format!("SELECT * FROM ({all} LIMIT {limit}) newest ORDER BY time, number")
        }
    };
    let account_id = query.account_id.as_ref().map(AccountId::as_str);
    let caller = query.caller.as_ref().map(CallerName::as_str);
    let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
        (&query.since.to_system_time(), Type::TIMESTAMPTZ),
        (
            &query.until.map(Timestamp::to_system_time),
            Type::TIMESTAMPTZ,
        ),
        (&account_id, Type::TEXT),
        (&query.key_id.map(KeyId::as_uuid), Type::UUID),
        (&caller, Type::TEXT),
    ];
    client.query_typed_raw(&sql, parameters).await
}

fn record(row: &Row) -> Result<AuditRecord, StoreError> {
    let account_id: Option<String> = rows::column(row, "account_id")?;
    let key_id: Option<uuid::Uuid> = rows::column(row, "key_id")?;
    let method: &str = rows::column(row, "method")?;
    let calls: i32 = rows::column(row, "calls")?;
    Ok(AuditRecord {
        time: Timestamp::from_system_time(rows::column(row, "time")?),
        caller: CallerName::from_stored(rows::column(row, "caller")?),
        method: AdminMethod::parse(method)
            .ok_or_else(|| unexpected("a stored audit record names no method"))?,
        account_id: account_id.map(AccountId::from_stored),
        key_id: key_id.map(KeyId::from_uuid),
        outcome: Outcome::from_stored(rows::column(row, "outcome")?),
        calls: calls.unsigned_abs(),
    })
}
