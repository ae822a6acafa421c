//! One replica: its one connection, and whether it is ready.
//!
//! A task watches the health of the key service there. An attempt that was not answered in time makes the
//! replica not ready, and has the task watch anew, because what the old watch said is no longer worth anything.
//! If the new watch says nothing either, the connection may be dead, and is replaced.

use crate::{
    call::Kind,
    credentials::Credentials,
    metrics::Metrics,
    options::Target,
    proto::{AuthorizeRequest, AuthorizeResponse},
    stream::{self, StreamPlace},
};
use hyper_util::rt::TokioIo;
use prost::Message;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_prost::ProstCodec;

/// How long a new connection, and the first message of a watch, may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Between watches that fail: the first pause, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many attempts may be in flight to one replica. More would wait for one another on their way, where that time
/// would look like the replica's.
const MAX_IN_FLIGHT: usize = 100;

/// Servers may refuse pings that come more often.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIME: Duration = Duration::from_secs(5);

const USER_AGENT: &str = concat!("tosend-keyservice-rust/", env!("CARGO_PKG_VERSION"));

/// The states of a replica. A removed one never becomes ready.
const WAITING: u8 = 0;
const READY: u8 = 1;
const REMOVED: u8 = 2;

pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    target: Target,
    credentials: Arc<Credentials>,
    channel: RwLock<Channel>,
    state: AtomicU8,
    /// Why the last watch ended.
    fault: Mutex<Option<Status>>,
    /// Has the task watch anew.
    watch_anew: watch::Sender<()>,
    readiness: watch::Sender<Readiness>,
    /// One for each attempt that may be in flight. Admin calls, which may be slow, have their own.
    slots: Arc<Semaphore>,
    admin_slots: Arc<Semaphore>,
    /// Of attempts that had no answer in time, until it is known whether the replica lives. It may still have them
    /// to read, and a server closes a connection on which too many such were cancelled.
    unanswered: Mutex<Vec<Slot>>,
    stream: Arc<StreamPlace>,
    metrics: Metrics,
}

/// What is known of all replicas.
#[derive(Default)]
pub(crate) struct Readiness {
    /// How many are ready.
    pub(crate) count: usize,
    /// Whether one was ready at any time.
    pub(crate) ever: bool,
}

/// An attempt is in flight until this is dropped.
pub(crate) type Slot = OwnedSemaphorePermit;

/// A replica, and the task that watches it.
pub(crate) struct Member {
    pub(crate) replica: Arc<Replica>,
    watching: JoinHandle<()>,
}

impl Member {
    pub(crate) fn new(
        address: SocketAddr,
        target: &Target,
        credentials: &Arc<Credentials>,
        readiness: &watch::Sender<Readiness>,
        metrics: &Metrics,
    ) -> Self {
        metrics.add_replicas(1, false);
        let replica = Arc::new(Replica {
            address,
            target: target.clone(),
            credentials: credentials.clone(),
            channel: RwLock::new(connection(address, target, credentials)),
            state: AtomicU8::new(WAITING),
            fault: Mutex::new(None),
            watch_anew: watch::Sender::new(()),
            readiness: readiness.clone(),
            slots: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            admin_slots: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            unanswered: Mutex::default(),
            stream: Arc::default(),
            metrics: metrics.clone(),
        });
        let watching = tokio::spawn(replica.clone().watch());
        Self { replica, watching }
    }
}

/// Its connection ends when its last call does.
impl Drop for Member {
    fn drop(&mut self) {
        self.watching.abort();
        self.replica.set_state(REMOVED);
        self.replica.stream.retire();
        self.replica.metrics.add_replicas(-1, false);
    }
}

impl Replica {
    pub(crate) fn is_ready(&self) -> bool {
        self.state.load(Relaxed) == READY
    }

    /// Why it is not ready.
    pub(crate) fn fault(&self) -> Option<Status> {
        let fault = self.fault.lock();
        fault.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether further attempts of an Authorize have to wait for one in flight.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.available_permits() == 0
    }

    /// Waits until an attempt may be made.
    pub(crate) async fn slot(&self, kind: Kind) -> Slot {
        let slots = match kind {
            Kind::Authorize(_) => &self.slots,
            Kind::Admin => &self.admin_slots,
        };
        let slot = slots.clone().acquire_owned().await;
        slot.expect("nobody closes it")
    }

    /// Makes one attempt of an Authorize: on the stream of this replica, if many are in flight.
    pub(crate) async fn authorize(
        &self,
        question: AuthorizeRequest,
    ) -> Result<AuthorizeResponse, Status> {
        let bearer = self.credentials.bearer();
        if MAX_IN_FLIGHT - self.slots.available_permits() >= stream::WORTHWHILE {
            self.stream.open(self.channel(), bearer.clone());
        }
        match self.stream.ask(&question, bearer.as_ref()).await {
            Some(answer) => answer,
            None => {
                self.call("/tosend.keys.v1.KeyService/Authorize", question)
                    .await
            }
        }
    }

    /// Makes one attempt of a call. To drop the future cancels it.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = Request::new(question);
        if let Some(bearer) = self.credentials.bearer() {
            request.metadata_mut().insert("authorization", bearer);
        }
        let mut grpc = Grpc::new(self.channel());
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(path);
        let answer = grpc.server_streaming(request, path, ProstCodec::default());
        only_message(answer.await?).await
    }

    /// After an attempt that was not answered in time.
    pub(crate) fn doubt(&self, attempt: Slot) {
        self.unanswered().push(attempt);
        self.set_state(WAITING);
        self.stream.retire();
        self.watch_anew.send_replace(());
    }

    /// Has new calls use a new connection. The old one ends when its last call does.
    pub(crate) fn connect_anew(&self) {
        let channel = connection(self.address, &self.target, &self.credentials);
        *self.channel.write().unwrap_or_else(PoisonError::into_inner) = channel;
        self.stream.retire();
        self.unanswered().clear();
        self.watch_anew.send_replace(());
    }

    fn unanswered(&self) -> MutexGuard<'_, Vec<Slot>> {
        let unanswered = self.unanswered.lock();
        unanswered.unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self) -> Channel {
        let channel = self.channel.read();
        channel.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_state(&self, state: u8) {
        let changed = |old| (old != state && old != REMOVED).then_some(state);
        let Ok(old) = self.state.fetch_update(Relaxed, Relaxed, changed) else {
            return;
        };
        let is_ready = state == READY;
        if is_ready == (old == READY) {
            return;
        }
        tracing::debug!(address = %self.address, "the replica is {}ready", if is_ready { "" } else { "not " });
        self.metrics.add_replicas(1, is_ready);
        self.metrics.add_replicas(-1, !is_ready);
        self.readiness.send_modify(|readiness| {
            readiness.ever |= is_ready;
            if is_ready {
                readiness.count += 1;
            } else {
                readiness.count -= 1;
            }
        });
    }

    fn set_fault(&self, fault: Option<Status>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Watches the replica's health until the task is aborted.
    async fn watch(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut anew = self.watch_anew.subscribe();
        loop {
            anew.mark_unchanged();
            let Some(end) = self.watch_once(&mut anew, &mut pause).await else {
                continue;
            };
            self.set_state(WAITING);
            self.set_fault(Some(end));
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns why this watch says no more, or None to watch anew.
    async fn watch_once(
        &self,
        anew: &mut watch::Receiver<()>,
        pause: &mut Duration,
    ) -> Option<Status> {
        let service = "tosend.keys.v1.KeyService".to_owned();
        let mut client = HealthClient::new(self.channel());
        let opening = async {
            let watch = client.watch(HealthCheckRequest { service }).await?;
            let mut messages = watch.into_inner();
            Ok((messages.message().await, messages))
        };
        // Further doubts wait meanwhile, so that calls to a replica that hangs do not put off the end of this.
        let (mut message, mut messages) = match timeout(ANSWER_TIME, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(status)) => return Some(status),
            Err(_) => {
                self.connect_anew();
                let fault = "it did not say in time whether it is healthy";
                return Some(Status::deadline_exceeded(fault));
            }
        };
        loop {
            match message {
                Ok(Some(health)) => {
                    *pause = FIRST_PAUSE;
                    self.set_fault(None);
                    self.unanswered().clear();
                    let is_serving = health.status() == ServingStatus::Serving;
                    self.set_state(if is_serving { READY } else { WAITING });
                }
                Ok(None) => return Some(Status::unavailable("it ended the watch of its health")),
                Err(status) => return Some(status),
            }
            message = tokio::select! {
                message = messages.message() => message,
                _ = anew.changed() => return None,
            };
        }
    }
}

/// The answer to a call: one message, and the status OK behind it. A message alone says nothing yet, since another may
/// follow, or an error.
async fn only_message<A>(answer: Response<Streaming<A>>) -> Result<A, Status> {
    // A status before the messages belongs to an answer without any, and is the last that would be looked at.
    let is_over = answer.metadata().contains_key("grpc-status");
    let mut messages = answer.into_inner();
    let message = if is_over {
        None
    } else {
        messages.message().await?
    };
    let message = message.ok_or_else(|| Status::internal("the answer has no message"))?;
    match messages.message().await? {
        None => Ok(message),
        Some(_) => Err(Status::internal("the answer has more than one message")),
    }
}

/// Connects when it is first used, and again when the connection has ended.
fn connection(address: SocketAddr, target: &Target, credentials: &Credentials) -> Channel {
    let (tls, server_name) = (credentials.tls(), target.server_name.clone());
    let connector = move |_| {
        let connect = connect(address, tls.clone(), server_name.clone());
        async {
            let in_time = timeout(ANSWER_TIME, connect).await;
            in_time.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
    };
    // The scheme is that of plain text in any case, because the connector itself encrypts.
    Endpoint::from_static("http://replica")
        .origin(target.origin.clone())
        .user_agent(USER_AGENT)
        .expect("it is visible ASCII")
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(tower::service_fn(connector))
}

async fn connect(
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    server_name: ServerName<'static>,
) -> io::Result<TokioIo<Box<dyn Io>>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let io: Box<dyn Io> = match tls {
        None => Box::new(tcp),
        Some(tls) => Box::new(TlsConnector::from(tls).connect(server_name, tcp).await?),
    };
    Ok(TokioIo::new(io))
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
