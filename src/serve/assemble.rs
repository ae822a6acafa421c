//! Makes the parts of the process from its settings.

use super::digest_secret::{self, DigestSecretError};
use crate::{
    app::{App, Callers},
    audit::recorder::Recorder,
    authorize::{Authorizer, decision::DomainRule},
    callers::{admin_slots::AdminSlots, store_turns::StoreTurns},
    config::{Settings, StoreAddress, VerifiedDomains},
    grpc::layers::new_counts,
    model::token::Digester,
    net::{connection_counts::ConnectionCounts, reload::Reloaded, tls::Tls},
    replication::{acknowledgement::Acknowledgements, follower::Identity},
    store::{
        OpenError, Store,
        postgres::{self, PostgresStore},
        sqlite::SqliteStore,
    },
};
use std::{sync::Arc, time::Duration};

pub(super) fn digester(settings: &Settings) -> Result<Digester, DigestSecretError> {
    let secret = settings.digest_secret_file.as_deref();
    let secret = secret.map(digest_secret::read).transpose()?;
    Ok(Digester::new(secret.as_deref()))
}

pub(super) async fn open_store(
    settings: &Settings,
    identity: &Identity,
    digester: &Digester,
) -> Result<Store, OpenError> {
    tracing::info!(store = ?settings.store.address, "opening the store");
    let writes_per_commit = settings.writes_per_commit.into();
    Ok(match &settings.store.address {
        StoreAddress::Sqlite(path) => {
            let (path, digester) = (path.clone(), digester.clone());
            let store = tokio::task::spawn_blocking(move || SqliteStore::open(&path, &digester));
            let store = store.await.expect("opening a store does not panic")?;
            store.with_writes_per_commit(writes_per_commit).into()
        }
        StoreAddress::Postgres(address) => {
            let settings = &settings.postgres;
            let pool = postgres::PoolSettings {
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

pub(super) fn app(
    settings: &Settings,
    store: Store,
    identity: &Identity,
    digester: Digester,
    callers: Callers,
    tls: Option<Arc<Reloaded<Tls>>>,
) -> Arc<App> {
    let counts = new_counts();
    let store = store.observed(&counts.store_errors);
    Arc::new(App {
        acknowledgements: Arc::new(Acknowledgements::new(
            store.replicas.clone(),
            identity.id,
            identity.term,
        )),
        recorder: Arc::new(Recorder::new(store.audit.clone())),
        store,
        authorizer: Arc::new(Authorizer::new(digester, domain_rule(settings))),
        callers,
        tls,
        admin_slots: Arc::new(AdminSlots::new(settings.limits.max_admin_calls)),
        store_turns: store_turns(settings),
        max_keys_per_account: settings.max_keys_per_account,
        connections: Arc::new(ConnectionCounts::default()),
        counts,
    })
}

fn domain_rule(settings: &Settings) -> DomainRule {
    match settings.verified_domains {
        VerifiedDomains::Required => DomainRule::Verified,
        VerifiedDomains::Off => {
            tracing::warn!(
                "--verified-domains is off: keys are granted for domains that nobody has verified"
            );
            DomainRule::Any
        }
    }
}

/// PostgreSQL works on as many statements as there are connections. SQLite has a thread for each kind of
/// work, and so many calls may wait for it that it is never idle.
fn store_turns(settings: &Settings) -> StoreTurns {
    const ON_SQLITE: usize = 4;
    let postgres = &settings.postgres;
    match &settings.store.address {
        StoreAddress::Sqlite(_) => StoreTurns::of_threads(ON_SQLITE, Duration::from_secs(10)),
        StoreAddress::Postgres(_) => {
            StoreTurns::of_connections(postgres.pool_size.into(), postgres.acquire_timeout)
        }
    }
}
