//! Stores to test, opened as the service opens them.

use super::postgres::Cluster;
use keyservice::{
    key::KeyState,
    store::{
        KeyStore, Position,
        postgres::{Limits, PostgresStore},
        sqlite::SqliteStore,
    },
    token::{Digester, TokenDigest},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tempfile::TempDir;

/// Two ways into one new and empty store: two replicas' where it serves several.
pub struct Stores {
    pub first: Arc<dyn KeyStore>,
    pub second: Arc<dyn KeyStore>,
    _directory: Option<TempDir>,
    pub cluster: Option<(Arc<Cluster>, String)>,
}

impl Stores {
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys.db");
        let store = SqliteStore::open(&path, &Digester::new(None)).expect("it opens");
        let first: Arc<dyn KeyStore> = Arc::new(store);
        Self {
            second: first.clone(),
            first,
            _directory: Some(directory),
            cluster: None,
        }
    }

    pub async fn postgres() -> Self {
        let cluster = Cluster::shared();
        let address = cluster.database();
        Self {
            first: Arc::new(open(&address).await),
            second: Arc::new(open(&address).await),
            _directory: None,
            cluster: Some((cluster, address)),
        }
    }

    /// Every key's state as a load sees it, by digest, and the load's position.
    pub async fn load(&self) -> (Position, States) {
        let mut states = HashMap::new();
        let position = self
            .first
            .load(&mut |state| assert!(states.insert(state.digest, state).is_none()))
            .await
            .expect("it loads");
        (position, states)
    }
}

pub async fn open(address: &str) -> PostgresStore {
    let limits = Limits {
        pool_size: 8,
        connect_timeout: Duration::from_secs(10),
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        lease_statement_timeout: Duration::from_secs(10),
    };
    let store = PostgresStore::open(address, limits, &Digester::new(None)).await;
    store.expect("it opens")
}

pub type States = HashMap<TokenDigest, KeyState>;
