//! A lock on a table in PostgreSQL, which keeps calls waiting for as long as a test wants.

use crate::support::{postgres::session, server::Server};
use tokio_postgres::Client;

/// Held until it is dropped.
pub struct KeysLock(Client);

impl KeysLock {
    /// Makes reads and writes of keys wait.
    pub async fn take(store: &str) -> Self {
        Self::on("keys", store).await
    }

    /// Makes reads and writes of a table wait.
    pub async fn on(table: &str, store: &str) -> Self {
        Self::in_mode("ACCESS EXCLUSIVE", table, store).await
    }

    /// Makes writes alone wait, as the building of an index on a table does.
    pub async fn against_writes(table: &str, store: &str) -> Self {
        Self::in_mode("SHARE", table, store).await
    }

    async fn in_mode(mode: &str, table: &str, store: &str) -> Self {
        let session = session(store).await;
        let lock = format!("BEGIN; LOCK TABLE keyservice.{table} IN {mode} MODE");
        session.batch_execute(&lock).await.expect("the lock");
        Self(session)
    }

    /// Whether one Create waits.
    pub async fn holds_a_create(&self) -> bool {
        self.holds("create_key").await
    }

    /// Whether one statement with this text waits.
    pub async fn holds(&self, text: &str) -> bool {
        // A transaction would go on seeing the activity that it saw first.
        let look_again = self.0.batch_execute("SELECT pg_stat_clear_snapshot()");
        look_again.await.expect("an answer");
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'";
        let row = self.0.query_one(waiting, &[&text]).await;
        let row = row.expect("an answer");
        row.get::<_, i64>(0) == 1
    }
}

/// For a server whose statements wait for a lock on purpose.
pub const PATIENT: [&str; 2] = ["--statement-timeout", "1h"];

/// The store, after a server has been started on it.
pub async fn with_tables(store: String) -> String {
    Server::start(&store).await.terminate().await;
    store
}
