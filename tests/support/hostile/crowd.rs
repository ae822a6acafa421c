//! A thousand clients that take up the connections of an HTTP/1.1 port, and come again.

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

const MEMBERS: usize = 1000;

/// How each of them keeps its connection.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Says nothing.
    Silent,
    /// Sends its request byte by byte, and slowly.
    Trickling,
    /// Asks, and does not read the answer.
    Deaf,
    /// Asks, reads, and asks again.
    Greedy,
}

pub const MANNERS: [Manner; 4] = [
    Manner::Silent,
    Manner::Trickling,
    Manner::Deaf,
    Manner::Greedy,
];

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// It goes away when it is dropped.
pub struct Crowd {
    _members: JoinSet<()>,
    came: Arc<AtomicUsize>,
}

impl Crowd {
    pub fn gather(port: u16, manner: Manner) -> Self {
        let came = Arc::new(AtomicUsize::new(0));
        let mut members = JoinSet::new();
        for _ in 0..MEMBERS {
            let came = came.clone();
            members.spawn(async move {
                loop {
                    if let Some(stream) = connect(port).await {
                        came.fetch_add(1, Relaxed);
                        manner.keep(stream).await;
                    }
                }
            });
        }
        Self {
            _members: members,
            came,
        }
    }

    /// Connections so far.
    pub fn came(&self) -> usize {
        self.came.load(Relaxed)
    }

    pub fn is_all_there(&self) -> bool {
        self.came() >= MEMBERS
    }
}

/// With room for as little of an answer as the system allows.
async fn connect(port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1).expect("a socket");
    socket.connect(([127, 0, 0, 1], port).into()).await.ok()
}

impl Manner {
    /// Until the server closes it.
    async fn keep(self, mut stream: TcpStream) {
        let (mut from, mut to) = stream.split();
        let speak = async {
            match self {
                Self::Silent => {}
                Self::Trickling => {
                    let mut time = interval(Duration::from_millis(200));
                    for byte in REQUEST {
                        time.tick().await;
                        let _ = to.write_all(&[*byte]).await;
                    }
                }
                Self::Deaf | Self::Greedy => {
                    let _ = to.write_all(REQUEST).await;
                }
            }
            pending::<()>().await;
        };
        let hear = async {
            if let Self::Deaf = self {
                return sleep(Duration::from_secs(3)).await;
            }
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes).await;
        };
        tokio::select! {
            () = speak => {}
            () = hear => {}
        }
    }
}
