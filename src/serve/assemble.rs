//! Makes the parts of the process from its settings.

use super::digest_secret::{self, DigestSecretError};
use crate::{
    app::{App, Callers, Counts},
    audit::recorder::Recorder,
    authorize::{Authorizer, decision::DomainRule},
    callers::{admin_slots::AdminSlots, store_turns::StoreTurns},
    config::{Settings, StoreAddress, VerifiedDomains},
    model::token::Digester,
    net::{connection_counts::ConnectionCounts, reload::Reloaded, tls::Tls},
    replication::{acknowledgement::Acknowledgements, follower::Identity},
    store::Store,
};
use std::{sync::Arc, time::Duration};

pub(super) fn digester(settings: &Settings) -> Result<Digester, DigestSecretError> {
    let secret = settings.digest_secret_file.as_deref();
    let secret = secret.map(digest_secret::read).transpose()?;
    Ok(Digester::new(secret.as_deref()))
}

pub(super) fn app(
    settings: &Settings,
    store: Store,
    identity: &Identity,
    digester: Digester,
    callers: Callers,
    tls: Option<Arc<Reloaded<Tls>>>,
    counts: &'static Counts,
) -> Arc<App> {
    let store = store.observed(&counts.store_errors);
    Arc::new(App {
        acknowledgements: Arc::new(Acknowledgements::new(
            store.replicas.clone(),
            identity.id,
            identity.term,
        )),
        recorder: Arc::new(Recorder::new(store.audit.clone(), store.identity)),
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
