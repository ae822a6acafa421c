//! A thousand clients that hold connections to the metrics port and connect again when closed.

use futures::future::pending;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{interval, sleep},
};

const CONNECTIONS: usize = 1000;

/// What each client does with its connection.
#[derive(Debug, Clone, Copy)]
pub enum Behaviour {
    /// Sends nothing.
    Silent,
    /// Sends its request slowly, byte by byte.
    Slow,
    /// Sends a request and does not read the response.
    NeverReads,
    /// Sends a request, reads the response, and starts again on a new connection.
    Repeating,
}

pub const BEHAVIOURS: [Behaviour; 4] = [
    Behaviour::Silent,
    Behaviour::Slow,
    Behaviour::NeverReads,
    Behaviour::Repeating,
];

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// The connections are closed when this is dropped.
pub struct HostileConnections {
    _clients: JoinSet<()>,
    opened: Arc<AtomicUsize>,
}

impl HostileConnections {
    pub fn open(port: u16, behaviour: Behaviour) -> Self {
        let opened = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let opened = opened.clone();
            clients.spawn(async move {
                loop {
                    if let Some(stream) = connect(port).await {
                        opened.fetch_add(1, Relaxed);
                        behaviour.hold(stream).await;
                    }
                }
            });
        }
        Self {
            _clients: clients,
            opened,
        }
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Relaxed)
    }

    pub fn are_all_open(&self) -> bool {
        self.opened() >= CONNECTIONS
    }
}

/// The receive buffer is as small as the system allows, so that an unread response blocks the server.
async fn connect(port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1).expect("a socket");
    socket.connect(([127, 0, 0, 1], port).into()).await.ok()
}

impl Behaviour {
    /// Holds the connection until the server closes it.
    async fn hold(self, mut stream: TcpStream) {
        let (mut from, mut to) = stream.split();
        let write = async {
            match self {
                Self::Silent => {}
                Self::Slow => {
                    let mut time = interval(Duration::from_millis(200));
                    for byte in REQUEST {
                        time.tick().await;
                        let _ = to.write_all(&[*byte]).await;
                    }
                }
                Self::NeverReads | Self::Repeating => {
                    let _ = to.write_all(REQUEST).await;
                }
            }
            pending::<()>().await;
        };
        let read = async {
            if let Self::NeverReads = self {
                return sleep(Duration::from_secs(3)).await;
            }
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes).await;
        };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    }
}
