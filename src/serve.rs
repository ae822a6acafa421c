//! Owns the life of `keyservice serve`: opening, serving, draining, leaving.
//! Promises SERVING only while there is a lease, and never from the first moment of shutdown.
//! Must never let one slow caller keep the process from ending: the drain has a limit.

use crate::{
    caller::{Caller, credentials::Credentials},
    follower::{Follower, Identity},
    grpc::{self, Callers, KeyServiceImpl, ServingState},
    keyring::Keyring,
    lease::Lease,
    listener::{self, ConnectionCounts},
    metrics::{self, CountedStore, Counts, Exposition},
    recorder::Recorder,
    reload::{FileError, Reloaded, Wrong},
    replicas::Replicas,
    settings::{
        LeaseSettingsError, SecretFileError, Settings, StoreAddress, Unprotected,
        read_digest_secret,
    },
    store::{
        KeyStore, OpenError, ReplicaId, StoreError,
        postgres::{self, PostgresStore},
        sqlite::SqliteStore,
    },
    tls::{Tls, TlsFiles},
    token::Digester,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
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

/// How long clients that watch health have from NOT_SERVING on to turn to other replicas, before
/// their connections are told to end. A call that meets the end of its connection may fail, unless
/// the client's library begins it again by itself. The word takes a client milliseconds, or some
/// tenths of a second where it is far away or busy.
const TURN_AWAY: Duration = Duration::from_millis(500);

/// How long leaving may take. Whoever waits for this replica then waits for its lease to lapse.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// Runs the service until a signal ends it.
pub async fn serve(settings: &Settings) -> Result<(), ServeError> {
    let asked_to_end = asked_to_end().map_err(ServeError::Signals)?;
    let lease_settings = settings.lease_settings()?;
    let secret = settings.digest_secret_file.as_deref();
    let secret = secret.map(read_digest_secret).transpose()?;
    let digester = Digester::new(secret.as_deref());
    settings.callers.check_protection(settings.listen)?;
    let scrapers = settings.metrics_listen.map(|_| metrics::MAX_CONNECTIONS);
    let limits = listener::within_open_files(
        &settings.limits,
        settings.pool_size,
        scrapers.unwrap_or_default(),
    );
    let callers = callers(settings)?;
    let tls = settings.callers.tls_files().map(TlsFiles::follow);
    let tls = tls.transpose()?.map(Arc::new);
    let listener = listen("--listen", settings.listen)?;
    let health_listener = listen_if("--health-listen", settings.health_listen)?;
    let metrics_listener = listen_if("--metrics-listen", settings.metrics_listen)?;
    let identity = Identity {
        id: ReplicaId::from_uuid(Uuid::from_u128(rand::random())),
        name: replica_name(&listener),
        term: lease_settings.term,
        renewal_interval: lease_settings.renewal_interval,
    };
    let store = tokio::select! {
        store = open_store(settings, &identity, &digester) => store?,
        () = asked_to_end.cancelled() => return Ok(()),
    };
    let counts = grpc::counts();
    let errors = &counts.store_errors;
    let store: Arc<dyn KeyStore> = Arc::new(CountedStore { store, errors });
    let service = KeyServiceImpl {
        replicas: Arc::new(Replicas::new(store.clone(), identity.id, identity.term)),
        recorder: Arc::new(Recorder::new(store.clone())),
        store,
        keyring: Arc::new(Keyring::new()),
        lease: Arc::new(Lease::none()),
        digester,
        admin_places: Arc::new(Semaphore::new(settings.limits.max_admin_calls)),
        counts,
    };
    let state = ServingState::not_serving().await;

    let connection_counts = Arc::new(ConnectionCounts::default());
    let drain = CancellationToken::new();
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, tls = tls.is_some(), "listening");
    }
    let mut server = AbortOnDropHandle::new(tokio::spawn({
        let (service, state) = (service.clone(), state.clone());
        let counts = connection_counts.clone();
        let connections = listener::connections(listener, tls.clone(), &limits, counts);
        let callers = callers.clone();
        let (reflection, drain) = (settings.reflection, drain.clone().cancelled_owned());
        async move {
            grpc::serve(
                connections,
                callers,
                service,
                state,
                reflection,
                &limits,
                drain,
            )
            .await
        }
    }));
    let _health_server =
        health_listener.map(|listener| serve_health(listener, settings, &state, service.counts));
    let _metrics_server = metrics_listener.map(|listener| {
        let exposition = exposition(&service, connection_counts, tls, &callers);
        serve_metrics(listener, exposition)
    });
    let stop = CancellationToken::new();
    let mut follow = AbortOnDropHandle::new(tokio::spawn(follow(
        service.clone(),
        identity.clone(),
        stop.clone(),
    )));
    let report = AbortOnDropHandle::new(tokio::spawn(report_serving(
        service.lease.clone(),
        state.clone(),
    )));
    tokio::select! {
        ended = &mut follow => {
            let ended = ended.expect("the follower's task does not panic");
            return ended.map_err(ServeError::from);
        }
        ended = &mut server => return Ok(ended.expect("the server's task does not panic")?),
        () = asked_to_end.cancelled() => {}
    }
    tracing::info!("draining: calls in flight may finish");
    drop(report);
    // The lease is renewed meanwhile, so that no writer waits for this replica.
    drain_server(&mut server, &state, &drain, settings.drain_limit).await?;
    stop.cancel();
    // To its end, so that none of its renewals comes after the leave; a load has none.
    if timeout(LEAVE_LIMIT, follow).await.is_err() {
        tracing::warn!("the store did not answer the last renewal in time");
    }
    leave(&service, identity.id).await;
    tracing::info!("stopped");
    Ok(())
}

/// Reports NOT_SERVING, lets those who are told of it turn away, and the calls in flight finish.
async fn drain_server(
    server: &mut AbortOnDropHandle<Result<(), tonic::transport::Error>>,
    state: &ServingState,
    drain: &CancellationToken,
    limit: Duration,
) -> Result<(), ServeError> {
    let drained = async {
        state.end().await;
        if state.is_watched() {
            sleep(TURN_AWAY.min(limit / 2)).await;
        }
        state.end_watches();
        drain.cancel();
        server.await
    };
    if let Ok(ended) = timeout(limit, drained).await {
        ended.expect("the server's task does not panic")?;
    } else {
        tracing::warn!("calls were still in flight at the drain limit, and are cut off");
    }
    Ok(())
}

/// Stops answering, and only then tells the other replicas not to wait for this one. Meanwhile the
/// last audit records are stored.
async fn leave(service: &KeyServiceImpl, id: ReplicaId) {
    service.lease.give_up();
    let (left, settled) = tokio::join!(
        timeout(LEAVE_LIMIT, service.store.leave(id)),
        timeout(LEAVE_LIMIT, service.recorder.settle())
    );
    if settled.is_err() {
        tracing::warn!("the store did not take the last audit records in time");
    }
    match left {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("writers wait for this replica's lease once: {error}"),
        Err(_) => tracing::warn!("writers wait for this replica's lease once: no answer"),
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
) -> Result<Arc<dyn KeyStore>, OpenError> {
    tracing::info!(store = ?settings.store.address, "opening the store");
    Ok(match &settings.store.address {
        StoreAddress::Sqlite(path) => {
            let (path, digester) = (path.clone(), digester.clone());
            let store = tokio::task::spawn_blocking(move || SqliteStore::open(&path, &digester));
            Arc::new(store.await.expect("opening a store does not panic")?)
        }
        StoreAddress::Postgres(address) => {
            let limits = postgres::Limits {
                pool_size: settings.pool_size.into(),
                connect_timeout: settings.connect_timeout,
                acquire_timeout: settings.acquire_timeout,
                statement_timeout: settings.statement_timeout,
                lease_statement_timeout: identity.call_limit().min(settings.statement_timeout),
            };
            Arc::new(PostgresStore::open(address, limits, digester).await?)
        }
    })
}

/// Loads the keyring and follows the store until it is told to stop.
async fn follow(
    service: KeyServiceImpl,
    identity: Identity,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let KeyServiceImpl {
        store,
        keyring,
        lease,
        replicas,
        ..
    } = service;
    let follower = Follower::load(store, keyring, lease, replicas, identity, stop).await?;
    follower.run().await;
    Ok(())
}

/// Reports for ever whether this replica serves, which is while it has a lease.
async fn report_serving(lease: Arc<Lease>, state: ServingState) {
    loop {
        lease.holding().await;
        state.serve().await;
        tracing::info!("serving");
        lease.lapsed().await;
        state.pause().await;
        tracing::error!("the lease has lapsed: Authorize answers UNAVAILABLE until it is renewed");
    }
}

/// Those in the credentials file; anyone where there is none.
fn callers(settings: &Settings) -> Result<Callers, FileError> {
    let Some(file) = settings.callers.credentials_file() else {
        return Ok(Callers::Anyone(Arc::new(Caller::anyone())));
    };
    let read = |contents: &[Vec<u8>]| {
        Credentials::parse(&contents[0]).map_err(|error| Wrong::new(0, error))
    };
    Ok(Callers::Known(Arc::new(Reloaded::start(vec![file], read)?)))
}

fn listen_if(
    setting: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, ServeError> {
    match address {
        None => Ok(None),
        Some(address) => Ok(Some(listen(setting, address)?)),
    }
}

fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    listener::listen(address).map_err(|error| ServeError::Listen(setting, address, error))
}

/// Serves health in plain text to the end of the process, the drain included.
fn serve_health(
    listener: TcpListener,
    settings: &Settings,
    state: &ServingState,
    counts: &'static Counts,
) -> AbortOnDropHandle<()> {
    if let Ok(health_address) = listener.local_addr() {
        tracing::info!(%health_address, "listening for probes");
    }
    let (state, limits) = (state.clone(), listener::for_probes(&settings.limits));
    AbortOnDropHandle::new(tokio::spawn(async move {
        let connections = listener::connections(listener, None, &limits, Arc::default());
        if let Err(error) = grpc::serve_health(connections, state, counts, &limits).await {
            tracing::error!("the server for probes broke: {error}");
        }
    }))
}

/// What there is to be told of this process.
fn exposition(
    service: &KeyServiceImpl,
    connections: Arc<ConnectionCounts>,
    tls: Option<Arc<Reloaded<Tls>>>,
    callers: &Callers,
) -> Exposition {
    Exposition {
        counts: service.counts,
        connections,
        keyring: service.keyring.clone(),
        lease: service.lease.clone(),
        replicas: service.replicas.clone(),
        store: service.store.clone(),
        tls,
        credentials: callers.known(),
    }
}

/// Serves metrics in plain text to the end of the process, the drain included.
fn serve_metrics(listener: TcpListener, exposition: Exposition) -> AbortOnDropHandle<()> {
    if let Ok(metrics_address) = listener.local_addr() {
        tracing::info!(%metrics_address, "listening for scrapes");
    }
    AbortOnDropHandle::new(tokio::spawn(metrics::serve(
        listener,
        exposition.registry(),
    )))
}

/// Is cancelled by the first signal that asks the process to end. A second one ends it at once,
/// whatever it is busy with.
fn asked_to_end() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let first = CancellationToken::new();
    let asked = first.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        first.cancel();
        next().await;
        tracing::warn!("a second signal: what is in flight is cut off");
        std::process::exit(1);
    });
    Ok(asked)
}
