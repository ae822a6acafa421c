//! Owns what runs while the process serves, and how it comes to its end.
//! Promises SERVING only while there is a lease, and never from the first moment of shutdown.
//! Must never let one slow caller keep the process from ending: the drain has a limit.

use super::{Protection, ServeError, Sockets};
use crate::{
    authorize::lease::Lease,
    config::Settings,
    grpc::{self, ServingState, keys::service::KeyServiceImpl},
    metrics::{self, Counts, Exposition},
    net::{accept, connection_counts::ConnectionCounts, open_files},
    replication::follower::{Follower, Identity},
    store::{ReplicaId, StoreError},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// How long clients that watch health have from NOT_SERVING on to turn to other replicas, before
/// their connections are told to end. A call that meets the end of its connection may fail, unless
/// the client's library begins it again by itself. The word takes a client milliseconds, or some
/// tenths of a second where it is far away or busy.
const TURN_AWAY: Duration = Duration::from_millis(500);

/// How long leaving may take. Whoever waits for this replica then waits for its lease to lapse.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// What runs while the process serves. Dropped, all of it ends at once.
pub(super) struct Tasks {
    pub(super) server: AbortOnDropHandle<Result<(), tonic::transport::Error>>,
    pub(super) follow: AbortOnDropHandle<Result<(), StoreError>>,
    report: AbortOnDropHandle<()>,
    _health_server: Option<AbortOnDropHandle<()>>,
    _metrics_server: Option<AbortOnDropHandle<()>>,
    state: ServingState,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Tasks {
    pub(super) async fn start(
        settings: &Settings,
        service: &KeyServiceImpl,
        identity: Identity,
        protection: Protection,
        sockets: Sockets,
    ) -> Self {
        let state = ServingState::not_serving().await;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let connections = Arc::new(ConnectionCounts::default());
        let exposition = exposition(service, connections.clone(), &protection);
        let counts = service.counts;
        Self {
            server: serve_api(
                sockets.api,
                settings,
                protection,
                connections,
                service.clone(),
                state.clone(),
                drain.clone(),
            ),
            _health_server: sockets
                .health
                .map(|socket| serve_health(socket, settings, &state, counts)),
            _metrics_server: sockets
                .metrics
                .map(|socket| serve_metrics(socket, exposition)),
            follow: spawn(follow(service.clone(), identity, stop.clone())),
            report: spawn(report_serving(service.lease.clone(), state.clone())),
            state,
            drain,
            stop,
        }
    }

    /// Lets the calls in flight finish, and then the last renewal, and leaves the other replicas.
    /// Health and metrics are answered up to then.
    pub(super) async fn end(
        self,
        drain_limit: Duration,
        service: &KeyServiceImpl,
        id: ReplicaId,
    ) -> Result<(), ServeError> {
        let Self {
            mut server,
            follow,
            report,
            state,
            drain,
            stop,
            ..
        } = self;
        tracing::info!("draining: calls in flight may finish");
        drop(report);
        // The lease is renewed meanwhile, so that no writer waits for this replica.
        drain_server(&mut server, &state, &drain, drain_limit).await?;
        stop.cancel();
        // To its end, so that none of its renewals comes after the leave; a load has none.
        if timeout(LEAVE_LIMIT, follow).await.is_err() {
            tracing::warn!("the store did not answer the last renewal in time");
        }
        leave(service, id).await;
        Ok(())
    }
}

fn spawn<F>(task: F) -> AbortOnDropHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(task))
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
        acknowledgements,
        ..
    } = service;
    let follower = Follower::load(store, keyring, lease, acknowledgements, identity, stop).await?;
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

/// Serves the API until it is told to drain.
fn serve_api(
    socket: TcpListener,
    settings: &Settings,
    Protection { callers, tls }: Protection,
    connection_counts: Arc<ConnectionCounts>,
    service: KeyServiceImpl,
    state: ServingState,
    drain: CancellationToken,
) -> AbortOnDropHandle<Result<(), tonic::transport::Error>> {
    if let Ok(address) = socket.local_addr() {
        tracing::info!(%address, tls = tls.is_some(), "listening");
    }
    let scrapers = settings.metrics_listen.map(|_| metrics::MAX_CONNECTIONS);
    let limits = open_files::within_open_files(
        open_files::raise_limit_of_open_files(),
        &settings.limits,
        settings.pool_size,
        scrapers.unwrap_or_default(),
    );
    let connections = accept::accept_connections(socket, tls, &limits, connection_counts);
    let (reflection, drain) = (settings.reflection, drain.cancelled_owned());
    spawn(async move {
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
    })
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
    let (state, limits) = (state.clone(), open_files::for_probes(&settings.limits));
    spawn(async move {
        let connections = accept::accept_connections(listener, None, &limits, Arc::default());
        if let Err(error) = grpc::serve_health(connections, state, counts, &limits).await {
            tracing::error!("the server for probes broke: {error}");
        }
    })
}

/// What there is to be told of this process.
fn exposition(
    service: &KeyServiceImpl,
    connections: Arc<ConnectionCounts>,
    protection: &Protection,
) -> Exposition {
    Exposition {
        counts: service.counts,
        connections,
        keyring: service.keyring.clone(),
        lease: service.lease.clone(),
        acknowledgements: service.acknowledgements.clone(),
        pool: service.store.pool.clone(),
        tls: protection.tls.clone(),
        credentials: protection.callers.known(),
    }
}

/// Serves metrics in plain text to the end of the process, the drain included.
fn serve_metrics(listener: TcpListener, exposition: Exposition) -> AbortOnDropHandle<()> {
    if let Ok(metrics_address) = listener.local_addr() {
        tracing::info!(%metrics_address, "listening for scrapes");
    }
    spawn(metrics::serve(listener, exposition.registry()))
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
    let left = async {
        match &service.store.replicas {
            Some(replicas) => replicas.leave(id).await,
            None => Ok(()),
        }
    };
    let (left, settled) = tokio::join!(
        timeout(LEAVE_LIMIT, left),
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
