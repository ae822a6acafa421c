//! Owns the pools of connections, and what every session begins with.
//! Promises sessions that commit to disk and run at READ COMMITTED, whatever the server's defaults.
//! Must never lend a connection whose last statement failed or was not answered.

use super::{PoolSettings, address::Address};
use crate::store::with_causes;
use deadpool_postgres::{
    BuildError, Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod,
    Runtime,
};
use std::{
    ops::{Deref, DerefMut},
    pin::Pin,
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error};

pub(super) fn build(
    address: &Address,
    limits: &PoolSettings,
    size: usize,
    statement_timeout: Duration,
) -> Result<Pool, BuildError> {
    let manager = Manager::from_connect(
        Config::new(), // The address has its own.
        address.clone(),
        ManagerConfig {
            // A look at whether the connection is known to be closed, and no round trip.
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let setup = session_setup(statement_timeout);
    Pool::builder(manager)
        .runtime(Runtime::Tokio1)
        .max_size(size)
        .wait_timeout(Some(limits.acquire_timeout))
        .create_timeout(Some(address.connect_timeout()))
        .recycle_timeout(Some(limits.acquire_timeout))
        .post_create(Hook::async_fn(move |client, _| {
            let setup = setup.clone();
            Box::pin(async move {
                client
                    .batch_execute(&setup)
                    .await
                    .map_err(HookError::Backend)
            })
        }))
        .build()
}

/// A connection in use. Dropped before it is given back, by a time limit, an error, or because its
/// caller went away, it is closed: the answer may still come, or never, and a session that failed
/// may fail for ever, like one that began while the database was read-only.
pub(super) struct InUse(Option<Object>);

impl InUse {
    pub(super) fn new(connection: Object) -> Self {
        Self(Some(connection))
    }

    pub(super) fn give_back(mut self) {
        self.0 = None;
    }
}

impl Deref for InUse {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.0.as_ref().expect("only its end takes it")
    }
}

impl DerefMut for InUse {
    fn deref_mut(&mut self) -> &mut Object {
        self.0.as_mut().expect("only its end takes it")
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(unfit) = self.0.take() {
            drop(Object::take(unfit));
        }
    }
}

impl Connect for Address {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async {
            let (client, connection) = self.connect().await?;
            let task = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("a connection broke: {}", with_causes(&error));
                }
            });
            Ok((client, task))
        })
    }
}

/// What every session of the pool begins with, whatever the server's defaults are.
fn session_setup(statement_timeout: Duration) -> String {
    // READ COMMITTED is what the write functions need. A commit must be on disk when it is
    // acknowledged; an operator's stricter setting of synchronous_commit is left alone.
    format!(
        "SET statement_timeout = {}; \
         SET default_transaction_isolation = 'read committed'; \
         SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') = 'off'",
        statement_timeout.as_millis()
    )
}
