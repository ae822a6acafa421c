//! Owns the life of `keyservice serve`: opening, serving, draining.
//! Promises NOT_SERVING until the keyring is loaded and from the first moment of shutdown.
//! Must never let one slow caller keep the process from ending: the drain has a limit.

use crate::{
    follower::Follower,
    grpc::{
        self, CallSpanLayer, KeyServiceImpl, ServingState,
        proto::key_service_server::KeyServiceServer,
    },
    keyring::Keyring,
    settings::{SecretFileError, Settings, StoreAddress, read_digest_secret},
    store::{
        KeyStore, OpenError,
        postgres::{self, PostgresStore},
        sqlite::SqliteStore,
    },
    token::Digester,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::transport::{Server, server::TcpIncoming};

/// The service did not start, or broke. Each variant says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
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
    #[error("cannot load the keys: {0}")]
    Load(#[from] crate::store::StoreError),
    /// The system.
    #[error("cannot take signals: {0}")]
    Signals(#[source] std::io::Error),
    /// The server.
    #[error("the server broke: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Runs the service until a signal ends it.
pub async fn serve(settings: &Settings) -> Result<(), ServeError> {
    let mut signals = Signals::take().map_err(ServeError::Signals)?;
    let secret = settings
        .digest_secret_file
        .as_deref()
        .map(read_digest_secret)
        .transpose()?;
    let digester = Digester::new(secret.as_deref());
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| ServeError::Listen(settings.listen, error))?;
    let store = tokio::select! {
        store = open_store(settings, &digester) => store?,
        () = signals.next() => return Ok(()),
    };
    let keyring = Arc::new(Keyring::new());
    let state = ServingState::not_serving().await;

    let drain = CancellationToken::new();
    let service = KeyServiceImpl::new(store.clone(), keyring.clone(), digester);
    let mut server = AbortOnDropHandle::new(tokio::spawn(run_server(
        listener,
        service,
        state.clone(),
        drain.clone(),
    )));
    let follow = follow(store, keyring, state.clone(), settings.poll_interval);
    tokio::select! {
        error = follow => return Err(error.into()),
        ended = &mut server => return ended.expect("the server's task does not panic"),
        () = signals.next() => {}
    }
    tracing::info!("draining: calls in flight may finish");
    state.drain().await;
    drain.cancel();
    tokio::select! {
        ended = &mut server => ended.expect("the server's task does not panic")?,
        () = tokio::time::sleep(settings.drain_limit) => {
            tracing::warn!("calls were still in flight at the drain limit, and are cut off");
        }
        () = signals.next() => {
            tracing::warn!("a second signal: calls in flight are cut off");
            std::process::exit(1);
        }
    }
    tracing::info!("stopped");
    Ok(())
}

async fn open_store(
    settings: &Settings,
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
            };
            Arc::new(PostgresStore::open(address, limits, digester).await?)
        }
    })
}

/// Loads the keyring, reports that this replica serves, and follows the store for ever.
async fn follow(
    store: Arc<dyn KeyStore>,
    keyring: Arc<Keyring>,
    state: ServingState,
    poll_interval: Duration,
) -> crate::store::StoreError {
    match Follower::load(store, keyring).await {
        Err(error) => error,
        Ok(follower) => {
            state.serve().await;
            follower.run(poll_interval).await
        }
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
    Server::builder()
        .layer(CallSpanLayer)
        .add_service(KeyServiceServer::new(service))
        .add_service(state.service())
        .add_service(grpc::reflection())
        .add_service(grpc::reflection_v1alpha())
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            drain.cancelled_owned(),
        )
        .await?;
    Ok(())
}

/// The signals that ask the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
