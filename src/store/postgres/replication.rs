//! The store's part of replication: the changes since a position, and the replicas' leases.
//!
//! Promises that a renewal stands wholly before or wholly after every write, and that changes of
//! another history are never taken for changes of this one. Must never compare a time of the
//! database's with a time of this machine's.

use super::{
    database::{Database, Purpose},
    errors::unexpected,
    rows,
};
use crate::{
    model::time::Timestamp,
    store::{
        ChangePage, Position, Progress, Renewal, Renewed, Replica, ReplicaId, ReplicaSnapshot,
        ReplicationError, Revision, StoreError,
    },
};
use std::time::SystemTime;
use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

const CHANGES: &str = "
    SELECT r.history_holds, r.head_revision, r.head_write_id, since.*
    FROM keyservice.check_store($5::pg_catalog.uuid) CROSS JOIN keyservice.read_feed($1::pg_catalog.int8,
        $2::pg_catalog.int8, $3::pg_catalog.uuid, $4::pg_catalog.int8) r
    LEFT JOIN LATERAL pg_catalog.unnest(r.feed) since ON true";

/// Changes and replicas stand side by side in the rows of one answer. The shorter list is filled up
/// with nulls.
const RENEW: &str = "
    SELECT r.history_holds, r.head_revision, r.head_write_id, side_by_side.*
    FROM keyservice.check_store($10::pg_catalog.uuid)
        CROSS JOIN keyservice.renew_by_feed($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.int8,
        $4::pg_catalog.int4, $5::pg_catalog.int8, $6::pg_catalog.int8, $7::pg_catalog.int8,
        $8::pg_catalog.uuid, $9::pg_catalog.int8) r
    LEFT JOIN LATERAL ROWS FROM (
        pg_catalog.unnest(r.feed), pg_catalog.unnest(r.replicas)) AS side_by_side (
        revision, write_id, key_id, digest, expire_time, revoked, suspended, account_id, domain,
        include_subdomains, removed,
        replica_id, name, applied_revision, renewals, lease_millis, renew_time, reads_feed) ON true";

const REPLICAS: &str = "
    SELECT l.lost, r.*
    FROM keyservice.check_store($3::pg_catalog.uuid)
        CROSS JOIN keyservice.look_at_replicas($1::pg_catalog.int8[], $2::pg_catalog.uuid[]) l
    LEFT JOIN LATERAL pg_catalog.unnest(l.replicas) r ON true";

const LAST_WRITE_BEFORE: &str = "
    SELECT w.revision, w.write_time
    FROM keyservice.check_store($3::pg_catalog.uuid)
        CROSS JOIN keyservice.writes w
    WHERE w.revision OPERATOR(pg_catalog.<) $1::pg_catalog.int8
        AND w.write_time OPERATOR(pg_catalog.<=) $2::pg_catalog.timestamptz
    ORDER BY w.revision DESC LIMIT 1";

pub(super) async fn last_write_before(
    database: &Database,
    revision: Revision,
    until: Timestamp,
) -> Result<Option<(Revision, Timestamp)>, StoreError> {
    let rows = database
        .query(
            Purpose::Calls,
            LAST_WRITE_BEFORE,
            &[
                &revision.number(),
                &until.to_system_time(),
                &database.store_id(),
            ],
        )
        .await?;
    let last = rows.first().map(|row| {
        let time: SystemTime = rows::column(row, "write_time")?;
        let revision = Revision::from_number(rows::column(row, "revision")?);
        Ok((revision, Timestamp::from_system_time(time)))
    });
    last.transpose()
}

pub(super) async fn changes(
    database: &Database,
    since: Progress,
    limit: usize,
) -> Result<ChangePage, ReplicationError> {
    let rows = database
        .query(
            Purpose::Leases,
            CHANGES,
            &[
                &since.read_to.number(),
                &since.head.revision.number(),
                &since.head.write_id.as_uuid(),
                &i64::try_from(limit).unwrap_or(i64::MAX),
                &database.store_id(),
            ],
        )
        .await?;
    page(&rows, since, limit)
}

pub(super) async fn renew(
    database: &Database,
    renewal: &Renewal,
) -> Result<Renewed, ReplicationError> {
    let rows = database
        .query(
            Purpose::Leases,
            RENEW,
            &[
                &renewal.id.as_uuid(),
                &renewal.name,
                &renewal.renewals,
                &i32::try_from(renewal.term.as_millis()).unwrap_or(i32::MAX),
                &renewal.applied.number(),
                &renewal.since.read_to.number(),
                &renewal.since.head.revision.number(),
                &renewal.since.head.write_id.as_uuid(),
                &i64::try_from(renewal.limit).unwrap_or(i64::MAX),
                &database.store_id(),
            ],
        )
        .await?;
    Ok(Renewed {
        page: page(&rows, renewal.since, renewal.limit)?,
        replicas: where_present::<Uuid, _>(&rows, "replica_id", rows::replica)?,
    })
}

fn page(rows: &[Row], since: Progress, limit: usize) -> Result<ChangePage, ReplicationError> {
    let row = rows.first().ok_or_else(|| unexpected("no row came back"))?;
    if !rows::column::<bool>(row, "history_holds")? {
        return Err(ReplicationError::OtherHistory);
    }
    let changes = where_present::<i64, _>(rows, "revision", rows::change)?;
    let head = rows::head(row)?;
    Ok(ChangePage::new(changes, since.read_to, limit, head))
}

pub(super) async fn replicas(
    database: &Database,
    writes: &[Position],
) -> Result<ReplicaSnapshot, StoreError> {
    let revisions: Vec<_> = writes.iter().map(|write| write.revision.number()).collect();
    let write_ids: Vec<_> = writes
        .iter()
        .map(|write| write.write_id.as_uuid())
        .collect();
    let rows = database
        .query(
            Purpose::Leases,
            REPLICAS,
            &[&revisions, &write_ids, &database.store_id()],
        )
        .await?;
    let row = rows.first().ok_or_else(|| unexpected("no row came back"))?;
    let lost: Vec<i64> = rows::column(row, "lost")?;
    Ok(ReplicaSnapshot {
        replicas: where_present::<Uuid, _>(&rows, "replica_id", rows::replica)?,
        lost: lost.into_iter().map(Revision::from_number).collect(),
    })
}

pub(super) async fn remove_lapsed(
    database: &Database,
    lapsed: &Replica,
) -> Result<bool, StoreError> {
    let removed = database
        .query(
            Purpose::Leases,
            "DELETE FROM keyservice.replicas \
             WHERE replica_id OPERATOR(pg_catalog.=) $1 AND renewals OPERATOR(pg_catalog.=) $2 \
             RETURNING replica_id",
            &[&lapsed.id.as_uuid(), &lapsed.renewals],
        )
        .await?;
    Ok(!removed.is_empty())
}

pub(super) async fn leave(database: &Database, id: ReplicaId) -> Result<(), StoreError> {
    let sql = "DELETE FROM keyservice.replicas WHERE replica_id OPERATOR(pg_catalog.=) $1";
    database
        .query(Purpose::Leases, sql, &[&id.as_uuid()])
        .await
        .map(drop)
}

/// Reads those rows in which a column of this type is not null.
fn where_present<'a, Column: FromSql<'a>, T>(
    rows: &'a [Row],
    column: &'static str,
    read: fn(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut present = Vec::new();
    for row in rows {
        if rows::column::<Option<Column>>(row, column)?.is_some() {
            present.push(read(row)?);
        }
    }
    Ok(present)
}
