//! The life of `keyservice serve`: it starts, serves, and ends when a signal asks it to.
//!
//! Promises to start with everything that its settings ask for, or an error that says what to do.
//! Must never take a call in plain text or from anyone unless the settings say so.

mod assemble;
mod digest_secret;
mod lease_timing;
mod opening;
mod protection;
mod signals;
mod tasks;

use crate::{
    app::Callers,
    config::Settings,
    grpc::{ServingState, layers::new_counts},
    model::token::Digester,
    named_file::FileError,
    net::{open_files, reload::Reloaded, tls::Tls},
    replication::follower::Identity,
    store::{OpenError, ReplicaId, StoreError},
};
pub(crate) use digest_secret::{DigestSecretError, read as read_digest_secret};
use lease_timing::LeaseTiming;
pub(crate) use lease_timing::LeaseTimingError;
pub(crate) use protection::Unprotected;
use signals::asked_to_end;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tasks::Tasks;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Handle,
    task::spawn_blocking,
};
use uuid::Uuid;

/// The service did not start, or broke. Each variant says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The lease and its renewal do not fit one another.
    #[error(transparent)]
    LeaseTiming(#[from] LeaseTimingError),
    /// The digest secret cannot be used.
    #[error(transparent)]
    DigestSecret(#[from] DigestSecretError),
    /// Other machines would reach an unprotected server.
    #[error(transparent)]
    Unprotected(#[from] Unprotected),
    /// A file of credentials or certificates cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {1}: {2}; stop what listens there, or choose another address with {0}"
    )]
    Listen(&'static str, SocketAddr, #[source] std::io::Error),
    /// The keys cannot be loaded.
    #[error("cannot load the keys: {0}; start again when the store answers")]
    Load(#[from] StoreError),
    /// The system delivers no signals.
    #[error("cannot take signals: {0}")]
    Signals(#[source] std::io::Error),
    /// The server broke.
    #[error("the server broke: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Sets which signals the threads of this process take. Call it before there are more than one.
///
/// # Errors
/// The system refuses it.
pub(crate) fn prepare_signals() -> Result<(), ServeError> {
    signals::prepare().map_err(ServeError::Signals)
}

/// Runs the service until a signal ends it. All that clients can keep busy runs on the runtime for them.
///
/// # Errors
/// What kept the service from starting, or broke it, with what to do.
pub(crate) async fn serve(settings: Arc<Settings>, for_clients: &Handle) -> Result<(), ServeError> {
    let end = asked_to_end().map_err(ServeError::Signals)?;
    let lease = LeaseTiming::new(&settings.postgres)?;
    protection::check(&settings.callers, settings.listen)?;
    let files = tokio::select! {
        files = Files::read(settings.clone()) => files?,
        () = end.asked() => return Ok(()),
    };
    let settings = &*settings;
    let Files {
        digester,
        callers,
        tls,
    } = files;
    let mut sockets = Sockets::listen(settings)?;
    let (state, counts) = (ServingState::not_serving().await, new_counts());
    let probes = sockets.health.take();
    let _health_server =
        probes.map(|socket| tasks::serve_health(socket, settings, counts, &state, for_clients));
    let identity = identity(&sockets.api, lease);
    let store = tokio::select! {
        store = opening::open_store(settings, &identity, &digester) => store?,
        () = end.asked() => return Ok(()),
    };
    let app = assemble::app(settings, store, &identity, digester, callers, tls, counts);
    let id = identity.id;
    let mut tasks = Tasks::start(settings, &app, state, identity, sockets, for_clients);
    tokio::select! {
        ended = &mut tasks.follow => {
            let ended = ended.expect("the follower's task does not panic");
            return ended.map_err(ServeError::from);
        }
        ended = &mut tasks.server => return ended.expect("the server's task does not panic"),
        () = end.asked() => {}
    }
    let delay = if end.is_by_hand() {
        Duration::ZERO
    } else {
        settings.shutdown_delay
    };
    tasks.end(delay, settings.drain_limit, &app, id).await?;
    tracing::info!("stopped");
    Ok(())
}

/// What the files that the settings name hold.
struct Files {
    digester: Digester,
    callers: Callers,
    tls: Option<Arc<Reloaded<Tls>>>,
}

impl Files {
    /// Reads them on a thread of its own. A mount that hangs can hold it up.
    async fn read(settings: Arc<Settings>) -> Result<Self, ServeError> {
        let reading = spawn_blocking(move || {
            Ok(Self {
                digester: assemble::digester(&settings)?,
                callers: protection::watch_callers(&settings.callers)?,
                tls: protection::watch_tls(&settings.callers)?,
            })
        });
        reading.await.expect("reading files does not panic")
    }
}

/// The sockets that the process listens on.
struct Sockets {
    /// It does not listen until the replica serves: a client that cannot connect turns to another one.
    api: TcpSocket,
    health: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

impl Sockets {
    fn listen(settings: &Settings) -> Result<Self, ServeError> {
        let (health, metrics) = (settings.health_listen, settings.metrics_listen);
        let health = health.map(|at| named("--health-listen", at, open_files::listen_for_probes));
        let metrics = metrics.map(|at| named("--metrics-listen", at, open_files::listen));
        Ok(Self {
            api: named("--listen", settings.listen, open_files::bind)?,
            health: health.transpose()?,
            metrics: metrics.transpose()?,
        })
    }
}

/// The socket of a setting.
fn named<T>(
    setting: &'static str,
    address: SocketAddr,
    make: impl FnOnce(SocketAddr) -> io::Result<T>,
) -> Result<T, ServeError> {
    make(address).map_err(|error| ServeError::Listen(setting, address, error))
}

fn identity(api: &TcpSocket, lease: LeaseTiming) -> Identity {
    Identity {
        id: ReplicaId::from_uuid(Uuid::from_u128(rand::random())),
        name: replica_name(api),
        term: lease.term,
        renewal_interval: lease.renewal_interval,
    }
}

/// The name by which people know this process: its machine, which in Kubernetes is its pod, and its
/// address.
fn replica_name(api: &TcpSocket) -> String {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy().into_owned();
    match api.local_addr() {
        Ok(address) => format!("{machine} ({address})"),
        Err(_) => machine,
    }
}
