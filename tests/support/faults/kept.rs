//! The client that lets keys go soon after they were revoked or have expired.
//!
//! The service looks for old keys each hour, and old means a day at least. So this client makes those of some
//! seconds older in the database, and does there what a replica does in each hour. Each replica forgets the
//! keys when it looks for the first time after its start, or does not load them.

use crate::support::stores;
use keyservice::{
    model::{key::KeyId, time::Timestamp},
    store::{Old, RetentionStore, Revision},
};
use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;
use uuid::Uuid;

/// How long a key is kept, at least. It is longer than any call of a client that changes the key.
pub const KEPT: Duration = Duration::from_secs(12);

/// By how much they are made older. The service's role may delete none that are younger than half of this.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long one round may take.
const LONGEST: Duration = Duration::from_secs(5);

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// How many keys and writes were let go.
#[derive(Debug, Default)]
pub struct LetGo {
    pub keys: AtomicU64,
    pub writes: AtomicU64,
}

impl LetGo {
    /// Lets go what is old in the database at this address, which changes with each failover.
    pub async fn run(&self, address: impl Fn() -> String) {
        loop {
            sleep(PAUSE).await;
            // Whatever fails here, fails because of a fault.
            let _ = timeout(LONGEST, self.let_go(&address())).await;
        }
    }

    async fn let_go(&self, address: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        make_older(address).await?;
        let store = stores::try_to_open(address).await?;
        let old = Old {
            before: Timestamp::now().saturating_sub(DAY / 2),
            now: Timestamp::now(),
            // It follows nothing, so it stands in nobody's way.
            applied: Revision::from_number(i64::MAX),
        };
        let mut found = store.raise_history_start(&old, Revision::ZERO).await?;
        while found.more {
            found = store.raise_history_start(&old, found.until).await?;
        }
        let mut next = Some(KeyId::from_uuid(Uuid::nil()));
        while let Some(after) = next {
            let forgotten = store.forget_keys(&old, found.until, after).await?;
            self.keys.fetch_add(forgotten.count, Relaxed);
            next = forgotten.last;
        }
        let mut next = Some(Revision::ZERO);
        while let Some(after) = next {
            let forgotten = store.forget_writes(&old, found.until, after).await?;
            self.writes.fetch_add(forgotten.count, Relaxed);
            next = forgotten.last;
        }
        Ok(())
    }
}

async fn make_older(address: &str) -> Result<(), tokio_postgres::Error> {
    let (kept, day) = (KEPT.as_secs(), DAY.as_secs());
    let old = |time: &str| {
        format!("{time} BETWEEN now() - interval '{day} s' AND now() - interval '{kept} s'")
    };
    let older = |table: &str, time: &str| {
        format!(
            "UPDATE keyservice.{table} SET {time} = {time} - interval '{day} s' WHERE {}",
            old(time)
        )
    };
    let all = [
        // No trigger may take it for a change of the service's.
        "SET session_replication_role = replica".to_owned(),
        older("keys", "revoke_time"),
        older("keys", "expire_time"),
        older("writes", "write_time"),
    ];
    let (session, connection) = tokio_postgres::connect(address, NoTls).await?;
    tokio::spawn(connection);
    session.batch_execute(&all.join("; ")).await
}
