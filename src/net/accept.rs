//! Accepts the connections that clients open, and sets each up to HTTP/2's first bytes.
//! Owns a connection from the accepted socket until it is handed on to be served.
//! Promises that no connection waits for another's handshake, and that none outlives its age.
//! Must never hold more connections than the limit, nor one that sends nothing.

use super::{
    admission::{Admission, SlotGuard},
    connection::{Connection, Peer, Transport},
    connection_counts::{ConnectionCounts, Reason},
    open_files::Acceptor,
};
use super::{reload::Reloaded, tls::Tls};
use crate::{callers::credentials::Credentials, config::ClientLimits};
use futures::Stream;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The bytes with which every HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The connections of a socket, each once its preface is read. Before that, a server could not tell
/// the client that it drains, and would wait for it. `credentials` list the callers, unless everybody
/// may call. Once told to drain, it closes those without calls.
pub(crate) fn accept_connections(
    socket: TcpListener,
    tls: Option<Arc<Reloaded<Tls>>>,
    limits: &ClientLimits,
    counts: Arc<ConnectionCounts>,
    credentials: Option<Arc<Reloaded<Credentials>>>,
    drain: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (ready, connections) = mpsc::channel(1);
    let setup = ConnectionSetup {
        tls,
        admission: Admission::new(
            limits.max_connections,
            limits.max_calls,
            counts.clone(),
            credentials,
        ),
        counts,
        handshake_timeout: limits.handshake_timeout,
        max_age: limits.max_connection_age + limits.max_connection_age_grace,
    };
    // It outlasts the accepting, which ends when the drain begins.
    tokio::spawn(setup.admission.clone().close_idle_connections(drain));
    tokio::spawn(accept_all(socket, Arc::new(setup), ready));
    ReceiverStream::new(connections)
}

/// Accepts until nobody takes the connections any more, and then drops those being set up.
async fn accept_all(
    socket: TcpListener,
    setup: Arc<ConnectionSetup>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let address = socket.local_addr().ok();
    let counts = setup.counts.clone();
    let report = async move { counts.report(address).await };
    let _report = AbortOnDropHandle::new(tokio::spawn(report));
    let judging = setup.admission.clone().judge_connections();
    let _judging = AbortOnDropHandle::new(tokio::spawn(judging));
    let mut socket = Acceptor::new(socket);
    let mut setups = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = setups.join_next() => continue,
            () = ready.closed() => return,
        };
        // A refused connection is closed at once, so that the client turns to another replica.
        let Some(admitted) = setup.admission.admit().await else {
            setup.counts.count_closed(Reason::NoSlot);
            tracing::debug!(%peer, "refused: --max-connections are open, and none may be evicted");
            continue;
        };
        let (setup, ready) = (setup.clone(), ready.clone());
        setups.spawn(async move {
            let Some(slot) = admitted.into_slot().await else {
                setup.counts.count_closed(Reason::NoSlot);
                tracing::debug!(%peer, "refused: the evicted connection did not end in time");
                return;
            };
            match setup.set_up_in_time(stream, peer, slot).await {
                Ok(connection) => {
                    let _ = ready.send(Ok(connection)).await;
                }
                Err(error) => tracing::debug!(%peer, "closed: {error}"),
            }
        });
    }
}

/// What it takes to set up a connection.
struct ConnectionSetup {
    tls: Option<Arc<Reloaded<Tls>>>,
    admission: Arc<Admission>,
    counts: Arc<ConnectionCounts>,
    handshake_timeout: Duration,
    /// At which a connection is cut off.
    max_age: Duration,
}

impl ConnectionSetup {
    /// Sets a connection up, unless it takes too long or is evicted meanwhile.
    async fn set_up_in_time(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        slot_guard: SlotGuard,
    ) -> io::Result<Connection> {
        let slot = slot_guard.slot.clone();
        let set_up = async {
            tokio::select! {
                connection = self.set_up(stream, address, slot_guard) => connection,
                () = slot.wait_until_evicted() => Err(io::Error::other("evicted")),
            }
        };
        timeout(self.handshake_timeout, set_up)
            .await
            .unwrap_or_else(|_| {
                self.counts.count_closed(Reason::HandshakeTimeout);
                Err(io::Error::other("no handshake in time"))
            })
    }

    async fn set_up(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        slot_guard: SlotGuard,
    ) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let end = Box::pin(sleep(self.max_age));
        let mut transport = match &self.tls {
            None => Transport::Plain(stream),
            Some(tls) => {
                let acceptor = TlsAcceptor::from(tls.get().config.clone());
                let stream = acceptor.accept(stream).await;
                let stream = stream
                    .inspect_err(|error| self.counts.count_failed_handshake(address, error))?;
                Transport::Tls(Box::new(stream))
            }
        };
        let mut first = [0; PREFACE.len()];
        transport.read_exact(&mut first).await?;
        if first != PREFACE {
            self.counts.count_closed(Reason::HandshakeFailed);
            return Err(io::Error::other("the client does not speak HTTP/2"));
        }
        Ok(Connection {
            peer: Peer {
                names: transport.client_names().into(),
                slot: slot_guard.slot.clone(),
            },
            transport,
            unread_preface: PREFACE,
            end,
            slot_guard,
        })
    }
}
