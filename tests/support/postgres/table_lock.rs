//! A lock on a table in PostgreSQL, with which a test blocks calls for as long as it wants.

use crate::support::{postgres::session, server::Server};
use tokio_postgres::Client;

/// The lock is held until this is dropped.
pub struct TableLock(Client);

impl TableLock {
    /// Blocks reads and writes of keys.
    pub async fn on_keys(store: &str) -> Self {
        Self::on_table("keys", store).await
    }

    /// Blocks reads and writes of a table.
    pub async fn on_table(table: &str, store: &str) -> Self {
        Self::in_mode("ACCESS EXCLUSIVE", table, store).await
    }

    /// Blocks only writes, as the building of an index does.
    pub async fn against_writes(table: &str, store: &str) -> Self {
        Self::in_mode("SHARE", table, store).await
    }

    pub async fn in_mode(mode: &str, table: &str, store: &str) -> Self {
        let session = session(store).await;
        let lock = format!("BEGIN; LOCK TABLE keyservice.{table} IN {mode} MODE");
        session.batch_execute(&lock).await.expect("the lock");
        Self(session)
    }

    /// Whether exactly one Create waits for a lock.
    pub async fn blocks_a_create(&self) -> bool {
        self.blocks("create_key").await
    }

    /// Whether exactly one statement with this text waits for a lock.
    pub async fn blocks(&self, text: &str) -> bool {
        self.count(text).await == 1
    }

    /// How many statements with this text wait for a lock.
    pub async fn count(&self, text: &str) -> i64 {
        // Otherwise a transaction always sees the activity that it saw first.
        let clear = self.0.batch_execute("SELECT pg_stat_clear_snapshot()");
        clear.await.expect("an answer");
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'";
        let row = self.0.query_one(waiting, &[&text]).await;
        let row = row.expect("an answer");
        row.get(0)
    }
}

/// For a server whose statements must wait for a lock without a timeout.
pub const LONG_STATEMENT_TIMEOUT: [&str; 2] = ["--statement-timeout", "1h"];

/// Returns the address of a store after a server has created its tables.
pub async fn with_schema(store: String) -> String {
    Server::start(&store).await.terminate().await;
    store
}
