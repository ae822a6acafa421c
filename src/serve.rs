//! Owns the life of `keyservice serve`: opening, serving, draining, leaving.
//! Promises SERVING only while there is a lease, and never from the first moment of shutdown.
//! Must never let one slow caller keep the process from ending: the drain has a limit.

use crate::{
    follower::{Follower, Identity},
    grpc::{
        self, CallSpanLayer, DeadlineLayer, KeyServiceImpl, ServingState,
        proto::key_service_server::KeyServiceServer,
    },
    keyring::Keyring,
    lease::Lease,
    replicas::Replicas,
    settings::{LeaseSettingsError, SecretFileError, Settings, StoreAddress, read_digest_secret},
    store::{
        KeyStore, OpenError, ReplicaId, StoreError,
        postgres::{self, PostgresStore},
        sqlite::SqliteStore,
    },
    token::Digester,
};
use futures::{Stream, StreamExt};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::transport::{Server, server::TcpIncoming};
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
    /// The store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The address.
    #[error(
        "cannot listen on {0}: {1}; stop what listens there, or choose another address with --listen"
    )]
    Listen(SocketAddr, #[source] std::io::Error),
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

/// How long leaving may take. Whoever waits for this replica then waits for its lease to lapse.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// Runs the service until a signal ends it.
pub async fn serve(settings: &Settings) -> Result<(), ServeError> {
    let asked_to_end = asked_to_end().map_err(ServeError::Signals)?;
    let lease_settings = settings.lease_settings()?;
    let secret = settings
        .digest_secret_file
        .as_deref()
        .map(read_digest_secret)
        .transpose()?;
    let digester = Digester::new(secret.as_deref());
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| ServeError::Listen(settings.listen, error))?;
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
    let service = KeyServiceImpl {
        replicas: Arc::new(Replicas::new(store.clone(), identity.id, identity.term)),
        store,
        keyring: Arc::new(Keyring::new()),
        lease: Arc::new(Lease::none()),
        digester,
    };
    let state = ServingState::not_serving().await;

    let drain = CancellationToken::new();
    let mut server = AbortOnDropHandle::new(tokio::spawn(run_server(
        listener,
        service.clone(),
        state.clone(),
        drain.clone(),
    )));
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
        ended = &mut server => return ended.expect("the server's task does not panic"),
        () = asked_to_end.cancelled() => {}
    }
    tracing::info!("draining: calls in flight may finish");
    drop(report);
    state.drain().await;
    drain.cancel();
    // The lease is renewed meanwhile, so that no writer waits for this replica.
    tokio::select! {
        ended = &mut server => ended.expect("the server's task does not panic")?,
        () = tokio::time::sleep(settings.drain_limit) => {
            tracing::warn!("calls were still in flight at the drain limit, and are cut off");
        }
    }
    stop.cancel();
    // To its end, so that none of its renewals comes after the leave; a load has none.
    if timeout(LEAVE_LIMIT, follow).await.is_err() {
        tracing::warn!("the store did not answer the last renewal in time");
    }
    leave(&service, identity.id).await;
    tracing::info!("stopped");
    Ok(())
}

/// Stops answering, and only then tells the other replicas not to wait for this one.
async fn leave(service: &KeyServiceImpl, id: ReplicaId) {
    service.lease.give_up();
    match timeout(LEAVE_LIMIT, service.store.leave(id)).await {
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
    tracing::info!(store = ?settings.store, "opening the store");
    Ok(match &settings.store {
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

async fn run_server(
    listener: TcpListener,
    service: KeyServiceImpl,
    state: ServingState,
    drain: CancellationToken,
) -> Result<(), ServeError> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening");
    }
    let keys = KeyServiceServer::new(service).max_decoding_message_size(grpc::MAX_REQUEST_SIZE);
    Server::builder()
        .layer(CallSpanLayer)
        .layer(DeadlineLayer)
        .add_service(keys)
        .add_service(state.service())
        .add_service(grpc::reflection())
        .add_service(grpc::reflection_v1alpha())
        .serve_with_incoming_shutdown(connections(listener), drain.cancelled_owned())
        .await?;
    Ok(())
}

/// How long a connection may be silent before its first byte. A client speaks at once.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// The connections that clients open, each from its first byte on: until then a server cannot
/// tell it that it drains, and would wait for it.
fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    let accepted = TcpIncoming::from(listener).with_nodelay(Some(true));
    accepted
        .map(|connection| async {
            let connection = connection?;
            timeout(SILENCE_LIMIT, connection.peek(&mut [0])).await??;
            Ok(connection)
        })
        // As many as the system lets be open.
        .buffer_unordered(usize::MAX)
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
