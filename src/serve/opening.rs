//! Opens the store.
//!
//! Promises to wait for a database that is away, or that was restored and is not accepted, to create a store only where that is allowed, and to say that it has.

use crate::{
    config::{Settings, StoreAddress},
    model::token::Digester,
    replication::follower::Identity,
    store::{
        OpenError, Presence, Store,
        postgres::{self, PoolSettings, PostgresStore},
        sqlite::{self, SqliteStore},
    },
};
use std::time::{Duration, Instant};
use tokio::{task::spawn_blocking, time::sleep};

/// Between two looks at a database that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the log says so.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Opens the store of the settings. It may wait without end, and is safe to drop at any time.
pub(super) async fn open_store(
    settings: &Settings,
    identity: &Identity,
    digester: &Digester,
) -> Result<Store, OpenError> {
    tracing::info!(store = ?settings.store.address, "opening the store");
    let mut wait = Wait::begin(settings.store_start.store_wait_limit);
    let mut was_restored = false;
    loop {
        let found = look(settings).await?;
        if let Presence::Away(why) = &found
            && !wait.is_over()
        {
            wait.pause(why).await;
            continue;
        }
        if let Presence::Nothing(address) = &found
            && !settings.store_start.create_store
        {
            return Err(OpenError::NotCreated(address.clone()));
        }
        match open(settings, identity, digester).await {
            Ok(store) => {
                if let Presence::Nothing(address) = found {
                    tracing::warn!(
                        store = address,
                        "there was no store, so a new one was created, without any key; if there should be keys, \
                         stop this process and check --store (KEYSERVICE_STORE)"
                    );
                }
                return Ok(store);
            }
            Err(error) if wait.is_over() => return Err(error),
            Err(error @ OpenError::Restored(_)) => {
                was_restored = true;
                while !wait.is_over() && is_restored(settings).await {
                    wait.pause_restored(&error).await;
                }
            }
            // A command that writes to it or accepts it has it for a moment.
            Err(error @ OpenError::InUse { .. }) if was_restored => {
                wait.pause_restored(&error).await;
            }
            // It may have gone since the look.
            Err(error) => match look(settings).await? {
                Presence::Away(_) => {}
                _ => return Err(error),
            },
        }
    }
}

/// The wait for a database that is away.
struct Wait {
    begun: Instant,
    limit: Option<Duration>,
    said: Option<Instant>,
}

impl Wait {
    fn begin(limit: Option<Duration>) -> Self {
        Self {
            begun: Instant::now(),
            limit,
            said: None,
        }
    }

    fn is_over(&self) -> bool {
        self.limit
            .is_some_and(|limit| self.begun.elapsed() >= limit)
    }

    async fn pause(&mut self, why: &str) {
        if self.is_to_be_said() {
            tracing::warn!(
                "waiting for the database: {why}; check that the server runs, and that the address is right"
            );
        }
        sleep(PAUSE).await;
    }

    /// Another process can accept it meanwhile: a replica that remembers what was written, or a command.
    async fn pause_restored(&mut self, why: &OpenError) {
        if self.is_to_be_said() {
            tracing::error!("not serving before this store is accepted: {why}");
        }
        sleep(PAUSE).await;
    }

    fn is_to_be_said(&mut self) -> bool {
        let is_due = self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        if is_due {
            self.said = Some(Instant::now());
        }
        is_due
    }
}

async fn look(settings: &Settings) -> Result<Presence, OpenError> {
    match &settings.store.address {
        StoreAddress::Sqlite(path) => {
            let path = path.clone();
            let looking = spawn_blocking(move || SqliteStore::look(&path));
            Ok(looking.await.expect("looking at a file does not panic"))
        }
        StoreAddress::Postgres(address) => {
            PostgresStore::look(address.expose(), settings.postgres.connect_timeout).await
        }
    }
}

/// Whether the store is still not accepted. This looks without opening it, so that commands can write to it meanwhile.
/// What else may be wrong with it is left to the opening.
async fn is_restored(settings: &Settings) -> bool {
    let found = match &settings.store.address {
        StoreAddress::Sqlite(path) => {
            let path = path.clone();
            let finding = spawn_blocking(move || sqlite::find_restored(&path));
            finding.await.expect("looking at a file does not panic")
        }
        StoreAddress::Postgres(address) => postgres::find_restored(address.expose()).await,
    };
    matches!(found, Ok(Some(_)))
}

async fn open(
    settings: &Settings,
    identity: &Identity,
    digester: &Digester,
) -> Result<Store, OpenError> {
    let writes_per_commit = settings.writes_per_commit.into();
    Ok(match &settings.store.address {
        StoreAddress::Sqlite(path) => {
            let (path, digester) = (path.clone(), digester.clone());
            let store = spawn_blocking(move || SqliteStore::open(&path, &digester));
            let store = store.await.expect("opening a store does not panic")?;
            store.with_writes_per_commit(writes_per_commit).into()
        }
        StoreAddress::Postgres(address) => {
            let settings = &settings.postgres;
            let pool = PoolSettings {
                pool_size: settings.pool_size.into(),
                connect_timeout: settings.connect_timeout,
                acquire_timeout: settings.acquire_timeout,
                statement_timeout: settings.statement_timeout,
                lease_statement_timeout: identity.call_limit().min(settings.statement_timeout),
            };
            let store = PostgresStore::open(address.expose(), pool, digester).await?;
            store.with_writes_per_commit(writes_per_commit).into()
        }
    })
}
