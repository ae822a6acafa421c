//! Accepts the connections that clients open, and sets each up to HTTP/2's first bytes.
//! Owns a connection from the accepted socket until it is handed on to be served.
//! Promises that no connection waits for another's handshake, and that none outlives its age.
//! Must never hold more connections than the limit, nor one that sends nothing.

use super::{
    admission::{Admission, SlotGuard},
    connection::{Connection, Peer, Transport},
    connection_counts::{ConnectionCounts, Reason},
    gathered::Gathered,
    open_files::{Acceptor, PROBE_TIME},
};
use super::{reload::Reloaded, stall::Writes, tls::Tls};
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

/// Whom a socket serves.
pub(crate) enum Clients {
    /// These callers, or everybody if there is no list.
    Callers(Option<Arc<Reloaded<Credentials>>>),
    /// Probes, which authenticate nobody.
    Probes,
}

/// The connections of a socket, each once its preface is read. Before that, a server could not tell
/// the client that it drains, and would wait for it. Once told to drain, it closes those on which nothing is
/// waited for.
pub(crate) fn accept_connections(
    socket: TcpListener,
    tls: Option<Arc<Reloaded<Tls>>>,
    limits: &ClientLimits,
    counts: Arc<ConnectionCounts>,
    clients: Clients,
    drain: CancellationToken,
) -> impl Stream<Item = io::Result<Gathered<Connection>>> + use<> {
    let (ready, connections) = mpsc::channel(1);
    let (least_time, credentials) = match clients {
        Clients::Callers(credentials) => (Duration::ZERO, credentials),
        Clients::Probes => (PROBE_TIME, None),
    };
    let setup = ConnectionSetup {
        tls,
        admission: Admission::new(
            limits.max_connections,
            limits.max_calls,
            least_time,
            counts.clone(),
            credentials,
        ),
        counts,
        handshake_timeout: limits.handshake_timeout,
        max_age: limits.max_connection_age + limits.max_connection_age_grace,
        // A client that takes nothing would not answer a PING either.
        stall_limit: limits.keepalive_timeout,
    };
    // It outlasts the accepting, which ends when the drain begins.
    tokio::spawn(setup.admission.clone().close_unawaited_connections(drain));
    tokio::spawn(accept_all(socket, Arc::new(setup), ready));
    ReceiverStream::new(connections)
}

/// Accepts until nobody takes the connections any more, and then drops those being set up.
async fn accept_all(
    socket: TcpListener,
    setup: Arc<ConnectionSetup>,
    ready: mpsc::Sender<io::Result<Gathered<Connection>>>,
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
                    let _ = ready.send(Ok(Gathered::new(connection))).await;
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
    /// How long a connection may take nothing of what is written to it.
    stall_limit: Duration,
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
        slot.note_read();
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
        // Asked for before the files are looked at.
        let version = self.tls.as_ref().map(|tls| tls.version());
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
        // A list of revoked certificates that has come meanwhile may name this one.
        if transport.has_client_certificate() && version.is_some_and(|it| it.is_outdated()) {
            self.counts.count_closed(Reason::HandshakeFailed);
            return Err(io::Error::other(
                "the files for TLS changed while its certificate was judged",
            ));
        }
        slot_guard.slot.note_set_up();
        Ok(Connection {
            peer: Peer {
                names: transport.client_names().into(),
                slot: slot_guard.slot.clone(),
            },
            transport,
            unread_preface: PREFACE,
            writes: Writes::new(self.stall_limit),
            end,
            slot_guard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tls::TlsFiles, *};
    use clap::{Args, Command, FromArgMatches};
    use rcgen::KeyPair;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::{io::AsyncWriteExt, net::TcpSocket, time::Instant};
    use tokio_rustls::{TlsConnector, client::TlsStream};
    use tonic::transport::Server;

    const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7];
    /// A PING belongs to no stream. After this one, HTTP/2 only flushes and closes.
    const INVALID_PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 1, 7, 7, 7, 7, 7, 7, 7, 7];
    const SOON: Duration = Duration::from_secs(10);

    fn limits(args: &[&str]) -> ClientLimits {
        let limits = ClientLimits::augment_args(Command::new("keyservice"));
        let limits = limits.get_matches_from([&["keyservice"], args].concat());
        ClientLimits::from_arg_matches(&limits).expect("valid")
    }

    /// A server over TLS with a send buffer that a few answers fill.
    struct Encrypted {
        address: SocketAddr,
        client: TlsConnector,
        counts: Arc<ConnectionCounts>,
        _server: AbortOnDropHandle<()>,
    }

    impl Encrypted {
        fn start(args: &[&str]) -> Self {
            let key = KeyPair::generate().expect("a key");
            let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("valid");
            let certificate = params.self_signed(&key).expect("a certificate");
            let directory = tempfile::tempdir().expect("a directory");
            let write = |name, contents: String| {
                let path = directory.path().join(name);
                std::fs::write(&path, contents).expect("written");
                path
            };
            let files = TlsFiles {
                certificate: write("certificate", certificate.pem()),
                key: write("key", key.serialize_pem()),
                client_ca: None,
                client_crl: None,
            };
            let tls = Arc::new(files.watch().expect("valid"));
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_send_buffer_size(4096).expect("a size");
            socket
                .bind(([127, 0, 0, 1], 0).into())
                .expect("a free port");
            let socket = socket.listen(64).expect("it listens");
            let address = socket.local_addr().expect("an address");
            let counts = Arc::<ConnectionCounts>::default();
            let connections = accept_connections(
                socket,
                Some(tls),
                &limits(args),
                counts.clone(),
                Clients::Callers(None),
                CancellationToken::new(),
            );
            let server = tokio::spawn(async move {
                let (_, health) = tonic_health::server::health_reporter();
                let server = Server::builder().add_service(health);
                let ended = server.serve_with_incoming(connections).await;
                ended.expect("it is served");
            });
            let mut roots = RootCertStore::empty();
            roots.add(certificate.der().clone()).expect("a root");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let client = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            Self {
                address,
                client: TlsConnector::from(Arc::new(client)),
                counts,
                _server: AbortOnDropHandle::new(server),
            }
        }

        async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4096)?;
            let stream = socket.connect(self.address).await?;
            let name = "localhost".try_into().expect("a name");
            let mut stream = self.client.connect(name, stream).await?;
            stream.write_all(PREFACE).await?;
            stream.write_all(EMPTY_SETTINGS).await?;
            Ok(stream)
        }

        /// Connections that read nothing. Their server has from few to many answers left to send, and
        /// some answers are more than the socket takes, and fewer than TLS holds.
        async fn connect_without_reading(&self, count: usize) -> Vec<TlsStream<TcpStream>> {
            let mut silent = Vec::new();
            for connection in 1..=count {
                let mut stream = self.connect().await.expect("it is admitted");
                let pings = PING.repeat(connection * 500);
                stream.write_all(&pings).await.expect("it is sent");
                stream.write_all(INVALID_PING).await.expect("it is sent");
                stream.flush().await.expect("it is sent");
                silent.push(stream);
            }
            silent
        }
    }

    /// More come at once than there are slots, before one of them is set up.
    #[tokio::test]
    async fn a_burst_of_new_connections_costs_the_oldest_its_slot_and_none_is_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let connect = |_| std::net::TcpStream::connect(address).expect("it listens");
        let _clients: Vec<_> = (0..9).map(connect).collect();
        let counts = Arc::<ConnectionCounts>::default();
        let _connections = accept_connections(
            socket,
            None,
            &limits(&["--max-connections=8"]),
            counts.clone(),
            Clients::Callers(None),
            CancellationToken::new(),
        );
        let end = Instant::now() + SOON;
        let closed = || {
            let closed = counts.closed_early().filter(|(_, count)| *count > 0);
            closed.collect::<Vec<_>>()
        };
        while closed().is_empty() {
            assert!(Instant::now() < end, "none is closed");
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(closed(), [("evicted", 1)]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_whose_client_reads_nothing_ends_at_its_age_whatever_http_2_waits_for() {
        let age = [
            "--max-connection-age=1s",
            "--max-connection-age-grace=100ms",
        ];
        let encrypted = Encrypted::start(&age);
        let _silent = encrypted.connect_without_reading(16).await;
        let end = Instant::now() + SOON;
        while encrypted.counts.open() > 0 {
            let open = encrypted.counts.open();
            assert!(Instant::now() < end, "{open} connections are open");
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_whose_client_reads_nothing_ends_when_it_is_evicted() {
        let encrypted = Encrypted::start(&["--max-connections=16"]);
        let _silent = encrypted.connect_without_reading(16).await;
        let mut new = Vec::new();
        for _ in 0..16 {
            let mut stream = encrypted.connect().await.expect("it is admitted");
            stream.read_u8().await.expect("it is served");
            new.push(stream);
        }
    }
}
