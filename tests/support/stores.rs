//! Stores for tests, opened as the service opens them.

use crate::support::{
    postgres::{Cluster, session},
    server::sqlite_in,
};
use keyservice::{
    model::{
        key::KeyState,
        token::{Digester, TokenDigest},
    },
    store::{
        Position, Store,
        postgres::{PoolSettings, PostgresStore},
        sqlite::SqliteStore,
    },
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tempfile::TempDir;

/// A new and empty store that is opened twice, as by two replicas. SQLite serves only one process, so
/// both are the same there.
pub struct Stores {
    pub first: Store,
    pub second: Store,
    /// The address for `--store`.
    pub address: String,
    _directory: Option<TempDir>,
    pub cluster: Option<(Arc<Cluster>, String)>,
}

impl Stores {
    pub fn sqlite() -> Self {
        let directory = super::directory();
        let path = directory.path().join("keys.db");
        let store = SqliteStore::open(&path, &Digester::new(None)).expect("it opens");
        let first = Store::from(store);
        Self {
            second: first.clone(),
            first,
            address: sqlite_in(&directory),
            _directory: Some(directory),
            cluster: None,
        }
    }

    pub async fn postgres() -> Self {
        let cluster = Cluster::shared();
        let address = cluster.create_database();
        Self {
            first: open(&address).await.into(),
            second: open(&address).await.into(),
            address: address.clone(),
            _directory: None,
            cluster: Some((cluster, address)),
        }
    }

    /// Runs SQL in a separate session. Returns the database's error message if it fails.
    pub async fn sql(&self, sql: &str) -> Result<(), String> {
        if let Some(file) = self.address.strip_prefix("sqlite:") {
            let file = rusqlite::Connection::open(file).expect("it opens");
            file.execute_batch(sql).map_err(|error| error.to_string())
        } else {
            let session = session(&self.address).await;
            let ran = session.batch_execute(sql).await;
            ran.map_err(|error| error.as_db_error().expect("an answer").to_string())
        }
    }

    /// The names of the two audit tables.
    pub fn audit_tables(&self) -> [&'static str; 2] {
        match self.cluster {
            None => ["audit", "audit_prunings"],
            Some(_) => ["keyservice.audit", "keyservice.audit_prunings"],
        }
    }

    /// Loads the states of all keys, by digest, with the position of the load.
    pub async fn load(&self) -> (Position, States) {
        let mut states = HashMap::new();
        let position = self
            .first
            .changes
            .load(&mut |state| assert!(states.insert(state.digest, state).is_none()))
            .await
            .expect("it loads");
        (position, states)
    }
}

pub async fn open(address: &str) -> PostgresStore {
    let pool = PoolSettings {
        pool_size: 8,
        connect_timeout: Duration::from_secs(10),
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        lease_statement_timeout: Duration::from_secs(10),
    };
    let store = PostgresStore::open(address, pool, &Digester::new(None)).await;
    store.expect("it opens")
}

pub type States = HashMap<TokenDigest, KeyState>;
