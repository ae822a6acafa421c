//! How many dead rows the table of leases holds: what renewals have replaced and `VACUUM` has not removed.
//!
//! Promises a number that is at most a little older than its interval, for operators. Must never delay
//! a call or a renewal, and needs no right beyond those of the service.

use super::database::{Database, Purpose};
use crate::store::StoreError;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio_util::task::AbortOnDropHandle;

/// The alert waits for minutes, and dead rows that matter gather over many.
const INTERVAL: Duration = Duration::from_secs(30);

/// The server's own estimate, which each vacuum corrects.
const COUNT: &str = "
    SELECT pg_catalog.pg_stat_get_dead_tuples(c.oid) AS count
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice' AND c.relname OPERATOR(pg_catalog.=) 'replicas'";

/// Counts in a task that ends when this is dropped.
pub(super) struct DeadRows {
    /// A number on its own, so its memory ordering does not matter.
    count: Arc<AtomicU64>,
    _task: AbortOnDropHandle<()>,
}

impl DeadRows {
    pub(super) fn start(database: Arc<Database>) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(count_for_ever(database, count.clone()));
        Self {
            count,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// As last counted. 0 before the first time.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

async fn count_for_ever(database: Arc<Database>, count: Arc<AtomicU64>) {
    loop {
        match look(&database).await {
            Ok(found) => count.store(found, Relaxed),
            Err(error) => tracing::debug!("cannot count the dead rows of leases: {error}"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn look(database: &Database) -> Result<u64, StoreError> {
    let rows = database.query(Purpose::Calls, COUNT, &[]).await?;
    let count: i64 = rows
        .first()
        .map_or(Ok(0), |row| super::rows::column(row, "count"))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
