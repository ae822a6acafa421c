//! How connections are established, and the settings with which every session begins.
//!
//! Promises sessions with the store that was opened, and with no standby of it, which may lag behind. They commit to
//! disk and run at READ COMMITTED, whatever the server's defaults are.

use super::{address::Address, warnings::Warnings};
use crate::{observe::repeated_line::RepeatedLine, store::with_causes};
use deadpool_postgres::{
    BuildError, Connect, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, error::Severity};
use uuid::Uuid;

/// What bounds the store's use of PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// How many connections serve calls. Two more serve the leases, and one receives
    /// notifications.
    pub pool_size: usize,
    /// How long it may take to establish one connection, unless the address says otherwise.
    pub connect_timeout: Duration,
    /// How long it may take to get a connection from the pool, including one that must be
    /// established.
    pub acquire_timeout: Duration,
    /// How long the server may execute one statement.
    pub statement_timeout: Duration,
    /// The same, for the statements that a lease depends on: nobody can use an answer that comes
    /// later, and the server should stop working on it.
    pub lease_statement_timeout: Duration,
}

/// Builds a pool of up to `size` connections. It connects to nothing yet. Once the store is known, it lends only
/// connections to that one.
pub(super) fn build(
    address: &Address,
    settings: &PoolSettings,
    size: usize,
    statement_timeout: Duration,
    store_id: &Arc<OnceLock<Uuid>>,
) -> Result<Pool, BuildError> {
    let manager = Manager::from_connect(
        Config::new(), // Unused: the address has its own.
        address.clone(),
        ManagerConfig {
            // Checks whether the connection is known to be closed, without a round trip.
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let (setup, store_id) = (session_setup(statement_timeout), store_id.clone());
    Pool::builder(manager)
        .runtime(Runtime::Tokio1)
        .max_size(size)
        .create_timeout(Some(address.connect_timeout()))
        .recycle_timeout(Some(settings.acquire_timeout))
        .post_create(Hook::async_fn(move |client, _| {
            let check = store_id.get();
            let check = check.map(|id| {
                format!(
                    "; SELECT keyservice.refuse_standby(); SELECT keyservice.check_store('{id}'::pg_catalog.uuid)"
                )
            });
            let setup = format!("{setup}{}", check.unwrap_or_default());
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
            Ok((client, tokio::spawn(drive(connection, self.warnings()))))
        })
    }
}

/// Drives a connection to its end. A server, or the settings of a role, may send notices without end,
/// so only some are logged. The warnings among them are counted before the answer that comes after them is given.
async fn drive<S, T>(mut connection: Connection<S, T>, warnings: Warnings)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    static NOTICE: RepeatedLine = RepeatedLine::new();
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                if notice.parsed_severity() == Some(Severity::Warning) {
                    warnings.count();
                }
                if let Some(left_out) = NOTICE.admit(Instant::now()) {
                    tracing::info!(left_out, "PostgreSQL says: {notice}");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!("a connection broke: {}", with_causes(&error));
                return;
            }
        }
    }
}

/// Limits on time that a server, a database or a role may have, and of which this service has its own:
/// each version of PostgreSQL has some of them. The service's role could set them for itself, for
/// longer than a password lasts.
const OTHER_LIMITS: &str = "lock_timeout, idle_session_timeout, transaction_timeout, \
                            idle_in_transaction_session_timeout";

/// The statements with which every session of the pool begins, whatever the server's defaults are.
fn session_setup(statement_timeout: Duration) -> String {
    // The view pg_settings is not read, because everybody may lock it.
    // Without keepalives, the server keeps a session whose connection was cut for two hours, and counts it.
    // The functions that write need READ COMMITTED. A commit must be on disk, and on the synchronous
    // standbys', when it is acknowledged. If an operator has set synchronous_commit more strictly, it
    // stays as it is.
    // No statement is worth compiling, which takes longer than a lease, and which settings of the role could force.
    format!(
        "SET search_path = pg_catalog, pg_temp; \
         SET jit = off; \
         SET statement_timeout = {}; \
         SET client_min_messages = 'warning'; \
         SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
         SET default_transaction_isolation = 'read committed'; \
         SELECT pg_catalog.set_config(s.name, '0', false) \
         FROM pg_catalog.unnest('{{{OTHER_LIMITS}}}'::pg_catalog.text[]) s (name) \
         WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL; \
         SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
         WHERE pg_catalog.current_setting('synchronous_commit') \
             OPERATOR(pg_catalog.<>) ALL ('{{on, remote_apply}}')",
        statement_timeout.as_millis()
    )
}
