//! From which relations a role reads the audit records.

use super::audit::begin;
use tokio_postgres::Client;
use uuid::Uuid;

/// The relations that a role reads.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) records: &'static str,
    pub(super) migrations: &'static str,
    /// The columns about the history of a record.
    pub(super) histories: &'static str,
    /// What has the store's id. The grants of earlier releases are on the records alone.
    identity: Option<&'static str>,
}

/// The views for those who may use their schema. The grants of earlier releases are on the tables.
pub(super) async fn source(client: &mut Client) -> Result<Source, tokio_postgres::Error> {
    let may_use = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n \
                   WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice_audit' \
                     AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')), \
                   coalesce((SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT') FROM pg_catalog.pg_class c \
                       JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                   WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice' \
                     AND c.relname OPERATOR(pg_catalog.=) 'store_identity'), false)";
    let transaction = begin(client).await?;
    let may_use = transaction.query_typed_one(may_use, &[]).await?;
    Ok(if may_use.try_get(0)? {
        Source {
            records: "keyservice_audit.records",
            migrations: "keyservice_audit.migrations",
            histories: "history_id, history_after, history_parent",
            identity: Some("keyservice_audit.records"),
        }
    } else {
        Source {
            records: "keyservice.audit",
            migrations: "keyservice.migrations",
            histories: "NULL::pg_catalog.uuid AS history_id",
            identity: may_use
                .try_get::<_, bool>(1)?
                .then_some("keyservice.store_identity"),
        }
    })
}

/// The id of the store, if the role may see it.
pub(super) async fn store_id(
    client: &mut Client,
    source: Source,
) -> Result<Option<Uuid>, tokio_postgres::Error> {
    let Some(identity) = source.identity else {
        return Ok(None);
    };
    let read = format!("SELECT store_id FROM {identity} LIMIT 1");
    let rows = begin(client).await?.query_typed(&read, &[]).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}
