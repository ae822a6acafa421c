//! Owns the life of `keyservice serve`: what it is made of, from its settings to its end.
//! Promises to start with all that its settings ask for, or an error that says what to do.
//! Must never take a call in plain text or of anyone but where the settings say so.

mod signals;
mod tasks;

use crate::{
    audit::recorder::Recorder,
    authorize::{keyring::Keyring, lease::Lease},
    callers::{Caller, credentials::Credentials},
    config::{
        LeaseSettingsError, SecretFileError, Settings, StoreAddress, Unprotected,
        read_digest_secret,
    },
    grpc::{
        keys::service::KeyServiceImpl,
        layers::{Callers, new_counts},
    },
    model::token::Digester,
    net::{
        open_files,
        reload::{FileError, Reloaded, Wrong},
        tls::{Tls, TlsFiles},
    },
    replication::{acknowledgement::Acknowledgements, follower::Identity},
    serve::signals::asked_to_end,
    store::{
        OpenError, ReplicaId, Store, StoreError,
        postgres::{self, PostgresStore},
        sqlite::SqliteStore,
    },
};
use std::{net::SocketAddr, sync::Arc};
use tasks::Tasks;
use tokio::{net::TcpListener, sync::Semaphore};
use uuid::Uuid;

/// The service did not start, or broke. Each variant says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The lease and its renewal.
    #[error(transparent)]
    Lease(#[from] LeaseSettingsError),
    /// The digest secret.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The protection of calls.
    #[error(transparent)]
    Unprotected(#[from] Unprotected),
    /// The files that say who may call, and those for TLS.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The address.
    #[error(
        "cannot listen on {1}: {2}; stop what listens there, or choose another address with {0}"
    )]
    Listen(&'static str, SocketAddr, #[source] std::io::Error),
    /// The keyring.
    #[error("cannot load the keys: {0}; start again when the store answers")]
    Load(#[from] StoreError),
    /// The system.
    #[error("cannot take signals: {0}")]
    Signals(#[source] std::io::Error),
    /// The server.
    #[error("the server broke: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Runs the service until a signal ends it.
pub async fn serve(settings: &Settings) -> Result<(), ServeError> {
    let asked_to_end = asked_to_end().map_err(ServeError::Signals)?;
    let lease = settings.lease_settings()?;
    let digester = digester(settings)?;
    let protection = Protection::follow(settings)?;
    let sockets = Sockets::listen(settings)?;
    let identity = Identity {
        id: ReplicaId::from_uuid(Uuid::from_u128(rand::random())),
        name: replica_name(&sockets.api),
        term: lease.term,
        renewal_interval: lease.renewal_interval,
    };
    let store = tokio::select! {
        store = open_store(settings, &identity, &digester) => store?,
        () = asked_to_end.cancelled() => return Ok(()),
    };
    let service = key_service(settings, store, &identity, digester);
    let id = identity.id;
    let mut tasks = Tasks::start(settings, &service, identity, protection, sockets).await;
    tokio::select! {
        ended = &mut tasks.follow => {
            let ended = ended.expect("the follower's task does not panic");
            return ended.map_err(ServeError::from);
        }
        ended = &mut tasks.server => return Ok(ended.expect("the server's task does not panic")?),
        () = asked_to_end.cancelled() => {}
    }
    tasks.end(settings.drain_limit, &service, id).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Who may call, and how connections are encrypted, as the files say.
struct Protection {
    callers: Callers,
    tls: Option<Arc<Reloaded<Tls>>>,
}

impl Protection {
    /// From now on, as the files change.
    fn follow(settings: &Settings) -> Result<Self, ServeError> {
        settings.callers.check_protection(settings.listen)?;
        let callers = follow_callers(settings)?;
        let tls = settings.callers.tls_files().map(TlsFiles::follow);
        let tls = tls.transpose()?.map(Arc::new);
        Ok(Self { callers, tls })
    }
}

/// What the process listens on.
struct Sockets {
    api: TcpListener,
    health: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

impl Sockets {
    fn listen(settings: &Settings) -> Result<Self, ServeError> {
        let listen_if = |setting, address: Option<_>| {
            let listening = address.map(|address| listen(setting, address));
            listening.transpose()
        };
        Ok(Self {
            api: listen("--listen", settings.listen)?,
            health: listen_if("--health-listen", settings.health_listen)?,
            metrics: listen_if("--metrics-listen", settings.metrics_listen)?,
        })
    }
}

fn digester(settings: &Settings) -> Result<Digester, ServeError> {
    let secret = settings.digest_secret_file.as_deref();
    let secret = secret.map(read_digest_secret).transpose()?;
    Ok(Digester::new(secret.as_deref()))
}

fn key_service(
    settings: &Settings,
    store: Store,
    identity: &Identity,
    digester: Digester,
) -> KeyServiceImpl {
    let counts = new_counts();
    let store = store.observed(&counts.store_errors);
    KeyServiceImpl {
        acknowledgements: Arc::new(Acknowledgements::new(
            store.replicas.clone(),
            identity.id,
            identity.term,
        )),
        recorder: Arc::new(Recorder::new(store.audit.clone())),
        store,
        keyring: Arc::new(Keyring::new()),
        lease: Arc::new(Lease::none()),
        digester,
        admin_places: Arc::new(Semaphore::new(settings.limits.max_admin_calls)),
        counts,
    }
}

/// What people know this process by: its machine, which in Kubernetes is its pod, and its address.
fn replica_name(listener: &TcpListener) -> String {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy().into_owned();
    match listener.local_addr() {
        Ok(address) => format!("{machine} ({address})"),
        Err(_) => machine,
    }
}

async fn open_store(
    settings: &Settings,
    identity: &Identity,
    digester: &Digester,
) -> Result<Store, OpenError> {
    tracing::info!(store = ?settings.store.address, "opening the store");
    Ok(match &settings.store.address {
        StoreAddress::Sqlite(path) => {
            let (path, digester) = (path.clone(), digester.clone());
            let store = tokio::task::spawn_blocking(move || SqliteStore::open(&path, &digester));
            store.await.expect("opening a store does not panic")?.into()
        }
        StoreAddress::Postgres(address) => {
            let pool = postgres::PoolSettings {
                pool_size: settings.pool_size.into(),
                connect_timeout: settings.connect_timeout,
                acquire_timeout: settings.acquire_timeout,
                statement_timeout: settings.statement_timeout,
                lease_statement_timeout: identity.call_limit().min(settings.statement_timeout),
            };
            PostgresStore::open(address, pool, digester).await?.into()
        }
    })
}

/// Those in the credentials file, as it changes; anyone where there is none.
fn follow_callers(settings: &Settings) -> Result<Callers, FileError> {
    let Some(file) = settings.callers.credentials_file() else {
        return Ok(Callers::Anyone(Arc::new(Caller::anyone())));
    };
    let read = |contents: &[Vec<u8>]| {
        Credentials::parse(&contents[0]).map_err(|error| Wrong::new(0, error))
    };
    Ok(Callers::Known(Arc::new(Reloaded::start(vec![file], read)?)))
}

fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    open_files::listen(address).map_err(|error| ServeError::Listen(setting, address, error))
}
