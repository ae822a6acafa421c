//! The audit records in a database: appending them, and reading them.
//!
//! Promises that reading needs no privilege but SELECT, and works on a standby too. No transaction is
//! open while records are handed over: a person may read them in a pager for hours, and the server cannot
//! remove dead rows that an open transaction might still see. Must never hold more than a page of records
//! in memory.

use super::{
    address::Address,
    audit_source::{Source, source, store_id},
    database::{Database, PIN_SEARCH_PATH, Purpose},
    errors::{answered_within, said, store_error},
    histories, migrate, rows,
    trust::{self, Untrusted},
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AuditQuery, AuditRecord, MethodName, Outcome},
        caller_name::CallerName,
        domain::Domain,
        key::KeyId,
        time::Timestamp,
    },
    store::{
        Appended, ApplyRecord, OpenError, ReadAuditError, RecordOrigin, StoreError, Unreadable,
        migrations,
    },
};
use std::time::{Duration, SystemTime};
use tokio_postgres::{
    Client, Row, Transaction,
    error::SqlState,
    types::{FromSql, ToSql, Type},
};
use uuid::Uuid;

pub(super) async fn append(
    database: &Database,
    records: &[AuditRecord],
) -> Result<Appended, StoreError> {
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
    let domains: Vec<_> = records
        .iter()
        .map(|r| r.domain.as_ref().map(Domain::as_str))
        .collect();
    let include_subdomains: Vec<_> = records.iter().map(|r| r.include_subdomains).collect();
    let revisions: Vec<_> = records.iter().map(|r| r.revision).collect();
    let key_ends = records.iter().map(|r| r.key_end.map(rows::stored_end));
    let key_ends: Vec<_> = key_ends.collect();
    let calls: Vec<_> = records
        .iter()
        .map(|r| i32::try_from(r.calls).unwrap_or(i32::MAX))
        .collect();
    database
        .append(
            Purpose::Records,
            "INSERT INTO keyservice.audit \
                 (time, caller, method, account_id, key_id, outcome, calls, domain, \
                  include_subdomains, revision, key_end) \
             SELECT r.* FROM keyservice.check_store($12::pg_catalog.uuid), keyservice.begin_transaction(), \
                 ROWS FROM ( \
                 pg_catalog.unnest($1::pg_catalog.timestamptz[]), \
                 pg_catalog.unnest($2::pg_catalog.text[]), \
                 pg_catalog.unnest($3::pg_catalog.text[]), \
                 pg_catalog.unnest($4::pg_catalog.text[]), \
                 pg_catalog.unnest($5::pg_catalog.uuid[]), \
                 pg_catalog.unnest($6::pg_catalog.text[]), \
                 pg_catalog.unnest($7::pg_catalog.int4[]), \
                 pg_catalog.unnest($8::pg_catalog.text[]), \
                 pg_catalog.unnest($9::pg_catalog.bool[]), \
                 pg_catalog.unnest($10::pg_catalog.int8[]), \
                 pg_catalog.unnest($11::pg_catalog.timestamptz[])) r",
            &[
                &times,
                &column(|r| r.caller.as_str()),
                &column(|r| r.method.as_str()),
                &account_ids,
                &key_ids,
                &column(|r| r.outcome.as_str()),
                &calls,
                &domains,
                &include_subdomains,
                &revisions,
                &key_ends,
                &database.store_id(),
            ],
        )
        .await
}

/// How long connecting may take. Nothing depends on this command being quick.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long the next page may take. A search of a large table for a rare key may take long.
const PAGE_LIMIT: Duration = Duration::from_secs(600);

/// How many records one transaction reads.
const PAGE: usize = 1000;

/// Hands the records to `apply` in order of time, up to the one that is the last at first. Records
/// with an earlier time that are written meanwhile may be among them.
pub async fn read(
    address: &str,
    query: &AuditQuery,
    apply: &mut ApplyRecord<'_>,
) -> Result<(), ReadAuditError> {
    let address = Address::parse(address, CONNECT_LIMIT)?;
    let cannot_read = |error: &tokio_postgres::Error| OpenError::Driver {
        what: address.to_string(),
        cause: said(error).into(),
        advice: advice(error),
    };
    let connected = answered_within(address.connect_timeout(), address.connect());
    let (mut client, connection) = connected.await?.map_err(|error| cannot_read(&error))?;
    tokio::spawn(connection);
    let untrusted = untrusted(&mut client).await;
    if let Some(untrusted) = untrusted.map_err(|error| cannot_read(&error))? {
        return Err(OpenError::Driver {
            what: address.to_string(),
            cause: untrusted.to_string().into(),
            advice: trust::ADVICE,
        }
        .into());
    }
    let source = source(&mut client).await;
    let source = source.map_err(|error| cannot_read(&error))?;
    let found = version(&mut client, source).await;
    let found = found.map_err(|error| cannot_read(&error))?;
    let found = found.ok_or_else(|| OpenError::Missing(address.to_string()))?;
    migrations::check_current(migrate::MIGRATIONS, found).map_err(OpenError::Schema)?;
    let bounds = answered_within(PAGE_LIMIT, bounds(&mut client, source, query)).await?;
    let bounds = bounds.map_err(|error| cannot_read(&error))?;
    let Some((mut next, last)) = bounds else {
        return Ok(());
    };
    let store_id = store_id(&mut client, source).await;
    let store_id = store_id.map_err(|error| cannot_read(&error))?;
    loop {
        let page =
            answered_within(PAGE_LIMIT, page(&mut client, source, query, next, last)).await?;
        let page = page.map_err(|error| -> ReadAuditError {
            if is_of_the_tables(&error) {
                return cannot_read(&error).into();
            }
            store_error(&error).into()
        })?;
        for row in &page {
            let place = Place::of(row).map_err(|error| store_error(&error))?;
            next = place.next();
            let number = place.number;
            apply(
                RecordOrigin {
                    store_id,
                    history: histories::of_record(row).map_err(|error| store_error(&error))?,
                },
                record(row).map_err(|why| Unreadable { number, why }),
            )?;
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// Whether the server says that the role lacks rights, or that the tables are not there or are others.
fn is_of_the_tables(error: &tokio_postgres::Error) -> bool {
    let classes = ["42", "3F"];
    let code = error.code().map(SqlState::code);
    code.is_some_and(|code| classes.iter().any(|class| code.starts_with(class)))
}

/// What to do if the records cannot be read.
fn advice(error: &tokio_postgres::Error) -> &'static str {
    if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return "give the address of the owner of the tables, or of a role with the rights that `keyservice grants \
                --role ROLE --for audit` prints";
    }
    if is_of_the_tables(error) {
        return "the tables are not as a release leaves them: somebody has changed them, or only a part of the store \
                was restored, for example the schema keyservice without keyservice_audit; restore both from a backup, \
                as the page docs/backup.md says";
    }
    "check that the server runs, and that the address is right"
}

/// The order of the records is that of the primary key.
#[derive(Clone, Copy)]
struct Place {
    time: SystemTime,
    number: i64,
}

impl Place {
    /// Before every record. One may have a number below 0 that was stored before the table refused these.
    const START: Self = Self {
        time: SystemTime::UNIX_EPOCH,
        number: i64::MIN,
    };

    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            time: row.try_get("time")?,
            number: row.try_get("number")?,
        })
    }

    /// The first place behind this one. Whoever may insert records may give one the highest number.
    fn next(self) -> Self {
        match self.number.checked_add(1) {
            Some(number) => Self { number, ..self },
            None => Self {
                time: self.time + Duration::from_micros(1),
                number: i64::MIN,
            },
        }
    }
}

/// Begins a transaction that only reads, and in whose errors each object is named with its schema.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    transaction
        .batch_execute("SET LOCAL statement_timeout = 0")
        .await?;
    transaction.batch_execute(PIN_SEARCH_PATH).await?;
    Ok(transaction)
}

/// What makes the schema one that must not be read, if something does.
async fn untrusted(client: &mut Client) -> Result<Option<Untrusted>, tokio_postgres::Error> {
    trust::check_owners(&begin(client).await?).await
}

/// The schema's version, or `None` if there is no schema.
async fn version(
    client: &mut Client,
    source: Source,
) -> Result<Option<i32>, tokio_postgres::Error> {
    migrate::version_in(&begin(client).await?, source.migrations).await
}

/// The places of the first and the last record to read, or `None` if there is none.
async fn bounds(
    client: &mut Client,
    source: Source,
    query: &AuditQuery,
) -> Result<Option<(Place, Place)>, tokio_postgres::Error> {
    let transaction = begin(client).await?;
    let records = source.records;
    let newest =
        format!("SELECT time, number FROM {records} ORDER BY time DESC, number DESC LIMIT 1");
    let newest = transaction.query_typed(&newest, &[]).await?;
    let Some(last) = newest.first().map(Place::of).transpose()? else {
        return Ok(None);
    };
    let before_first = match query.limit {
        None => return Ok(Some((Place::START, last))),
        Some(0) => return Ok(None),
        Some(limit) => i64::from(limit) - 1,
    };
    let filter = Filter::of(query);
    let mut parameters = filter.parameters();
    parameters.push((&before_first, Type::INT8));
    let first = format!(
        "SELECT time, number FROM {records} WHERE {FILTER} \
         ORDER BY time DESC, number DESC LIMIT 1 OFFSET $8"
    );
    let first = transaction.query_typed(&first, &parameters).await?;
    let first = first.first().map(Place::of).transpose()?;
    // There may be fewer records than that.
    Ok(Some((first.unwrap_or(Place::START), last)))
}

/// The records from one place to another, at most a page of them.
async fn page(
    client: &mut Client,
    source: Source,
    query: &AuditQuery,
    next: Place,
    last: Place,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let Source {
        records, histories, ..
    } = source;
    let sql = format!(
        // Whoever may insert records may insert long texts.
        "SELECT time, pg_catalog.left(caller, 400) AS caller, pg_catalog.left(method, 400) AS method, \
             pg_catalog.left(account_id, 400) AS account_id, key_id, \
             pg_catalog.left(outcome, 400) AS outcome, calls, pg_catalog.left(domain, 400) AS domain, \
             include_subdomains, revision, key_end, number, {histories} \
         FROM {records} WHERE {FILTER} \
           AND (time, number) OPERATOR(pg_catalog.>=) ($8, $9) \
           AND (time, number) OPERATOR(pg_catalog.<=) ($10, $11) \
         ORDER BY time, number LIMIT {PAGE}"
    );
    let filter = Filter::of(query);
    let mut parameters = filter.parameters();
    for place in [&next, &last] {
        parameters.push((&place.time, Type::TIMESTAMPTZ));
        parameters.push((&place.number, Type::INT8));
    }
    let transaction = begin(client).await?;
    let rows = transaction.query_typed(&sql, &parameters).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// What a query restricts, as the parameters of [`FILTER`].
struct Filter<'a> {
    since: SystemTime,
    until: Option<SystemTime>,
    account_id: Option<&'a str>,
    key_id: Option<Uuid>,
    caller: Option<&'a str>,
    domain: Option<&'a str>,
    methods: Option<Vec<&'a str>>,
}

const FILTER: &str = "time OPERATOR(pg_catalog.>=) $1 \
     AND time OPERATOR(pg_catalog.<) coalesce($2, 'infinity') \
     AND ($3 IS NULL OR account_id OPERATOR(pg_catalog.=) $3) \
     AND ($4 IS NULL OR key_id OPERATOR(pg_catalog.=) $4) \
     AND ($5 IS NULL OR caller OPERATOR(pg_catalog.=) $5) \
     AND ($6 IS NULL OR domain OPERATOR(pg_catalog.=) $6) \
     AND ($7 IS NULL OR method OPERATOR(pg_catalog.=) ANY ($7))";

impl<'a> Filter<'a> {
    fn of(query: &'a AuditQuery) -> Self {
        Self {
            since: query.since.to_system_time(),
            until: query.until.map(Timestamp::to_system_time),
            account_id: query.account_id.as_ref().map(AccountId::as_str),
            key_id: query.key_id.map(KeyId::as_uuid),
            caller: query.caller.as_ref().map(CallerName::as_str),
            domain: query.domain.as_ref().map(Domain::as_str),
            methods: (!query.methods.is_empty())
                .then(|| query.methods.iter().map(MethodName::as_str).collect()),
        }
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.since, Type::TIMESTAMPTZ),
            (&self.until, Type::TIMESTAMPTZ),
            (&self.account_id, Type::TEXT),
            (&self.key_id, Type::UUID),
            (&self.caller, Type::TEXT),
            (&self.domain, Type::TEXT),
            (&self.methods, Type::TEXT_ARRAY),
        ]
    }
}

fn record(row: &Row) -> Result<AuditRecord, String> {
    let account_id: Option<String> = column(row, "account_id")?;
    let key_id: Option<Uuid> = column(row, "key_id")?;
    let domain: Option<String> = column(row, "domain")?;
    let calls: i32 = column(row, "calls")?;
    let time: SystemTime = column(row, "time")?;
    let shown = Timestamp::from_system_time(time);
    if shown.to_system_time() != time {
        return Err("its time is not in the years 1970 to 9999".to_owned());
    }
    Ok(AuditRecord {
        time: shown,
        caller: CallerName::from_stored(column(row, "caller")?),
        method: MethodName::from_stored(column(row, "method")?),
        account_id: account_id.map(AccountId::from_stored),
        key_id: key_id.map(KeyId::from_uuid),
        domain: domain.map(Domain::from_stored),
        include_subdomains: column(row, "include_subdomains")?,
        key_end: column::<Option<_>>(row, "key_end")?
            .map(rows::key_end)
            .transpose()?,
        revision: column(row, "revision")?,
        outcome: Outcome::from_stored(column(row, "outcome")?),
        calls: u32::try_from(calls).map_err(|_| "it stands for less than no call".to_owned())?,
    })
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, String> {
    row.try_get(name).map_err(|error| said(&error))
}
