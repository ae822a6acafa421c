//! Owns the pool of connections, and what every session begins with.
//! Promises sessions that commit to disk and run at READ COMMITTED, whatever the server's defaults.
//! Must never wait for a connection without a limit.

use super::{Limits, address::Address};
use crate::store::with_causes;
use deadpool_postgres::{
    BuildError, Connect, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use std::{pin::Pin, time::Duration};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error};

pub(super) fn build(address: &Address, limits: &Limits, size: usize) -> Result<Pool, BuildError> {
    let manager = Manager::from_connect(
        Config::new(), // The address has its own.
        address.clone(),
        ManagerConfig {
            // A look at whether the connection is known to be closed, and no round trip.
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let setup = session_setup(limits.statement_timeout);
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
