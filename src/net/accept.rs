//! Owns the connections that clients open, from the accepted socket to HTTP/2's first bytes.
//! Promises that none is kept waiting by another's handshake, and that none outlives its age.
//! Must never hold more connections than its limit, nor one that says nothing.

use super::{
    admission::{Place, Places},
    connection::{Connection, Peer, Transport},
    connection_counts::{ConnectionCounts, Reason},
    open_files::Acceptor,
};
use super::{reload::Reloaded, tls::Tls};
use crate::config::ClientLimits;
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
use tokio_util::task::AbortOnDropHandle;

/// With which every HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The connections of a socket, each from the end of its preface on. Until then a server could not
/// tell it that it drains, and would wait for it.
pub fn accept_connections(
    socket: TcpListener,
    tls: Option<Arc<Reloaded<Tls>>>,
    limits: &ClientLimits,
    counts: Arc<ConnectionCounts>,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (ready, connections) = mpsc::channel(1);
    let door = Door {
        tls,
        places: Places::new(limits.max_connections, limits.max_calls, counts.clone()),
        counts,
        handshake_timeout: limits.handshake_timeout,
        end: limits.max_connection_age + limits.max_connection_age_grace,
    };
    tokio::spawn(accept_all(socket, Arc::new(door), ready));
    ReceiverStream::new(connections)
}

/// What a connection passes before it is served.
struct Door {
    tls: Option<Arc<Reloaded<Tls>>>,
    places: Arc<Places>,
    counts: Arc<ConnectionCounts>,
    handshake_timeout: Duration,
    end: Duration,
}

/// Accepts until nobody takes the connections any more, and then drops those in a handshake.
async fn accept_all(
    socket: TcpListener,
    door: Arc<Door>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let address = socket.local_addr().ok();
    let counts = door.counts.clone();
    let report = async move { counts.report(address).await };
    let _report = AbortOnDropHandle::new(tokio::spawn(report));
    let mut socket = Acceptor::new(socket);
    let mut handshakes = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = handshakes.join_next() => continue,
            () = ready.closed() => return,
        };
        // Closed at once, so that the client turns to another replica.
        let Some(claim) = door.places.claim().await else {
            door.counts.closed(Reason::NoPlace);
            tracing::debug!(%peer, "closed: --max-connections are open, known and at work");
            continue;
        };
        let (door, ready) = (door.clone(), ready.clone());
        handshakes.spawn(async move {
            let Some(place) = claim.place().await else {
                door.counts.closed(Reason::NoPlace);
                tracing::debug!(%peer, "closed: no place came free in time");
                return;
            };
            let seat = place.seat.clone();
            let admitted = async {
                tokio::select! {
                    admitted = door.admit(stream, peer, place) => admitted,
                    () = seat.sent_away() => Err(io::Error::other("its place was needed")),
                }
            };
            match timeout(door.handshake_timeout, admitted).await {
                Ok(Ok(connection)) => {
                    let _ = ready.send(Ok(connection)).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, "closed: {error}"),
                Err(_) => {
                    door.counts.closed(Reason::HandshakeTimeout);
                    tracing::debug!(%peer, "closed: no handshake in time");
                }
            }
        });
    }
}

impl Door {
    async fn admit(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
    ) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let end = Box::pin(sleep(self.end));
        let mut transport = match &self.tls {
            None => Transport::Plain(stream),
            Some(tls) => {
                let acceptor = TlsAcceptor::from(tls.get().config.clone());
                let accepted = acceptor.accept(stream).await;
                let stream = accepted.inspect_err(|error| self.counts.tls_failed(address, error));
                Transport::Tls(Box::new(stream?))
            }
        };
        let mut first = [0; PREFACE.len()];
        transport.read_exact(&mut first).await?;
        if first != PREFACE {
            self.counts.closed(Reason::HandshakeFailed);
            return Err(io::Error::other("does not speak HTTP/2"));
        }
        Ok(Connection {
            peer: Peer {
                address,
                names: transport.names().into(),
                seat: place.seat.clone(),
            },
            transport,
            preface_left: PREFACE,
            end,
            place,
        })
    }
}
