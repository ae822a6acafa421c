//! What runs while the process serves, and how it comes to its end.
//!
//! Promises SERVING only while there is a lease, and NOT_SERVING from the first moment of a shutdown.
//! Must never let one slow caller keep the process from ending: the drain has a limit.

use super::{ServeError, Sockets};
use crate::{
    app::{App, Counts},
    authorize::{Authorizer, decision::DomainRule, lease::Lease},
    config::Settings,
    grpc::{self, ServingState},
    metrics,
    net::{
        accept::{self, Clients},
        open_files,
    },
    replication::{
        follower::{Follower, Identity},
        retention::Retention,
        uses::UseRecorder,
    },
    store::{ReplicaId, StoreError},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Handle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// How long clients that watch health have, from NOT_SERVING on, to turn to other replicas before their
/// connections are asked to end. A call that meets the end of its connection may fail, unless the
/// client's library retries it. The news takes a client milliseconds, or some tenths of a second where
/// it is far away or busy.
const WATCHERS_GRACE: Duration = Duration::from_millis(500);

/// How long the end may take to store when keys were last used: some ten thousand keys a second.
const LAST_USES_LIMIT: Duration = Duration::from_secs(3);

/// How long leaving may take. Writers then wait for this replica's lease to lapse.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// The tasks of a process that serves. All of them end when this is dropped.
pub(super) struct Tasks {
    pub(super) server: AbortOnDropHandle<Result<(), ServeError>>,
    pub(super) follow: AbortOnDropHandle<Result<(), StoreError>>,
    report: AbortOnDropHandle<()>,
    uses: AbortOnDropHandle<()>,
    _retention: AbortOnDropHandle<()>,
    _metrics_server: Option<AbortOnDropHandle<()>>,
    state: ServingState,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Tasks {
    pub(super) fn start(
        settings: &Settings,
        app: &Arc<App>,
        state: ServingState,
        identity: Identity,
        sockets: Sockets,
        for_clients: &Handle,
    ) -> Self {
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let lease = app.authorizer.lease().clone();
        // Until it is dropped, tasks are spawned for clients.
        let entered = for_clients.enter();
        let server = serve_api(sockets.api, settings, app, &state, drain.clone());
        let metrics_server = sockets.metrics.map(|socket| serve_metrics(socket, app));
        drop(entered);
        Self {
            server,
            _metrics_server: metrics_server,
            follow: spawn(follow(app.clone(), identity, stop.clone())),
            report: spawn(report_serving(lease, state.clone())),
            uses: spawn(store_uses(app.clone())),
            _retention: spawn(let_old_keys_go(app.clone(), settings.retention)),
            state,
            drain,
            stop,
        }
    }

    /// Lets the calls in flight and then the last renewal finish, and leaves the other replicas. Health
    /// and metrics are answered up to then.
    pub(super) async fn end(
        self,
        delay: Duration,
        drain_limit: Duration,
        app: &App,
        id: ReplicaId,
    ) -> Result<(), ServeError> {
        let Self {
            mut server,
            follow,
            report,
            uses,
            state,
            drain,
            stop,
            ..
        } = self;
        drop(report);
        // The lease is renewed meanwhile, so that this replica answers as before, and no writer waits for it.
        turn_clients_away(&state, app.authorizer.lease(), delay).await;
        tracing::info!("draining: calls in flight may finish; a second signal cuts them off");
        drain_server(&mut server, &state, &drain, drain_limit).await?;
        drop(uses);
        store_last_uses(app).await;
        stop.cancel();
        // A renewal that came after the leave would register this replica again. So the last one
        // finishes first. A load renews nothing.
        if timeout(LEAVE_LIMIT, follow).await.is_err() {
            tracing::warn!("the store did not answer the last renewal in time");
        }
        leave(app, id).await;
        Ok(())
    }
}

fn spawn<F>(task: F) -> AbortOnDropHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn store_uses(app: Arc<App>) {
    use_recorder(&app).run().await;
}

async fn let_old_keys_go(app: Arc<App>, limit: Option<Duration>) {
    let retention = Retention {
        keyring: app.authorizer.keyring(),
        store: &*app.store.retention,
        acknowledgements: &app.acknowledgements,
        limit,
    };
    retention.run().await;
}

fn use_recorder(app: &App) -> UseRecorder<'_> {
    UseRecorder {
        keyring: app.authorizer.keyring(),
        store: &*app.store.uses,
        counts: &app.counts.uses,
    }
}

/// No call is answered any more, so these are the last uses. The lease is renewed meanwhile.
async fn store_last_uses(app: &App) {
    match timeout(LAST_USES_LIMIT, use_recorder(app).store_all()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("cannot store when keys were last used: {error}"),
        Err(_) => tracing::warn!("not all last uses of keys were stored in time"),
    }
}

/// Loads the keyring and follows the store until it is told to stop.
async fn follow(
    app: Arc<App>,
    identity: Identity,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let (keyring, lease) = (app.authorizer.keyring(), app.authorizer.lease());
    let follower = Follower::load(
        app.store.clone(),
        keyring.clone(),
        lease.clone(),
        app.acknowledgements.clone(),
        identity,
        stop,
    );
    let follower = follower.await?;
    warn_if_nothing_is_verified(&app.authorizer);
    follower.run().await;
    Ok(())
}

/// After an upgrade from a release without verified domains, every Authorize would be a denial.
fn warn_if_nothing_is_verified(authorizer: &Authorizer) {
    let keyring = authorizer.keyring();
    let keys = keyring.key_count();
    let is_required = authorizer.domain_rule() == DomainRule::Verified;
    if is_required && keys > 0 && keyring.read().verified_domain_count() == 0 {
        tracing::warn!(
            keys,
            "no domain of any account is verified, so every key is denied for every domain: call \
             AddDomain for each verified domain, and start with --verified-domains off until then"
        );
    }
}

/// Reports forever whether this replica serves, which is while it has a lease.
async fn report_serving(lease: Arc<Lease>, state: ServingState) {
    loop {
        lease.wait_until_held().await;
        state.serve().await;
        tracing::info!("serving");
        lease.wait_until_lapsed().await;
        state.pause().await;
        tracing::error!("the lease has lapsed: Authorize answers UNAVAILABLE until it is renewed");
    }
}

/// Serves the API from the first lease on, until it is told to drain.
fn serve_api(
    socket: TcpSocket,
    settings: &Settings,
    app: &Arc<App>,
    state: &ServingState,
    drain: CancellationToken,
) -> AbortOnDropHandle<Result<(), ServeError>> {
    let scrapers = settings.metrics_listen.map(|_| metrics::MAX_CONNECTIONS);
    let limits = open_files::limits_within_open_files(
        open_files::raise_open_files_limit(),
        &settings.limits,
        settings.postgres.pool_size,
        scrapers.unwrap_or_default(),
    );
    let (app, state) = (app.clone(), state.clone());
    let (asked_for, reflection) = (settings.listen, settings.reflection);
    spawn(async move {
        tokio::select! {
            () = app.authorizer.lease().wait_until_held() => {}
            () = drain.cancelled() => return Ok(()),
        }
        let socket = socket.listen(open_files::BACKLOG);
        let socket = socket.map_err(|error| ServeError::Listen("--listen", asked_for, error))?;
        if let Ok(address) = socket.local_addr() {
            tracing::info!(%address, tls = app.tls.is_some(), "listening");
        }
        let (tls, counts) = (app.tls.clone(), app.connections.clone());
        let clients = Clients::Callers(app.callers.credentials());
        let connections =
            accept::accept_connections(socket, tls, &limits, counts, clients, drain.clone());
        let drained = drain.cancelled_owned();
        grpc::serve(connections, &app, &state, reflection, &limits, drained).await?;
        Ok(())
    })
}

/// Serves health in plain text from before the store is opened to the end of the process, the drain included.
pub(super) fn serve_health(
    socket: TcpListener,
    settings: &Settings,
    counts: &'static Counts,
    state: &ServingState,
    for_clients: &Handle,
) -> AbortOnDropHandle<()> {
    if let Ok(health_address) = socket.local_addr() {
        tracing::info!(%health_address, "listening for probes");
    }
    let state = state.clone();
    let limits = open_files::limits_for_probes(&settings.limits);
    let _entered = for_clients.enter();
    spawn(async move {
        let (counts_of_probes, no_drain) = (Arc::default(), CancellationToken::new());
        let clients = Clients::Probes;
        let connections =
            accept::accept_connections(socket, None, &limits, counts_of_probes, clients, no_drain);
        if let Err(error) = grpc::serve_health(connections, &state, counts, &limits).await {
            tracing::error!("the server for probes broke: {error}");
        }
    })
}

/// Serves metrics in plain text to the end of the process, the drain included.
fn serve_metrics(socket: TcpListener, app: &Arc<App>) -> AbortOnDropHandle<()> {
    if let Ok(metrics_address) = socket.local_addr() {
        tracing::info!(%metrics_address, "listening for scrapes");
    }
    spawn(metrics::serve(socket, metrics::registry(app.clone())))
}

/// Reports NOT_SERVING, and goes on serving until those who ask for that have turned away. Without a lease,
/// they have done so already.
async fn turn_clients_away(state: &ServingState, lease: &Lease, delay: Duration) {
    state.end().await;
    let serves = lease.covering(|| ()).is_ok();
    if !serves {
        return;
    }
    if !delay.is_zero() {
        tracing::info!(
            seconds = delay.as_secs_f64(),
            "asked to end: serving on while clients turn away; a second signal ends this process at once"
        );
    }
    let of_watchers = if state.is_watched() {
        WATCHERS_GRACE
    } else {
        Duration::ZERO
    };
    sleep(delay.max(of_watchers)).await;
}

/// Lets the calls in flight finish.
async fn drain_server(
    server: &mut AbortOnDropHandle<Result<(), ServeError>>,
    state: &ServingState,
    drain: &CancellationToken,
    limit: Duration,
) -> Result<(), ServeError> {
    let drained = async {
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

/// Stops answering, and only then tells the other replicas not to wait for this one. The last audit
/// records are stored meanwhile.
async fn leave(app: &App, id: ReplicaId) {
    app.authorizer.lease().give_up();
    let left = async {
        match &app.store.replicas {
            Some(replicas) => replicas.leave(id).await,
            None => Ok(()),
        }
    };
    let (left, flushed) = tokio::join!(
        timeout(LEAVE_LIMIT, left),
        timeout(LEAVE_LIMIT, app.recorder.flush())
    );
    if flushed.is_err() {
        tracing::warn!("the store did not take the last audit records in time");
    }
    match left {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("writers wait for this replica's lease once: {error}"),
        Err(_) => tracing::warn!("writers wait for this replica's lease once: no answer"),
    }
}
