//! Owns what the system gives for connections: the listening socket, and files to open.
//! Promises that connections leave enough files for the store, whatever the system allows.
//! Must never end the process for want of files: fewer connections are better than none.

use super::admission::MAX_ARRIVING;
use crate::config::ClientLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

/// Connections that the system holds until they are accepted: as many as Linux allows by default.
/// A client that finds no room among them tries again a second later.
const BACKLOG: u32 = 4096;

/// Connections for probes; Kubernetes opens one a probe.
const PROBE_CONNECTIONS: usize = 32;

/// Calls in flight on one of them. A probe makes one.
const PROBE_STREAMS: u32 = 8;

/// Bytes of a probe's message, which holds the name of a service: ours has 25.
const PROBE_MESSAGE_SIZE: u32 = 256;

/// Files beside the clients' connections and the pool's: those for probes, those of newcomers to
/// either socket, and room for what the store, the runtime and files that are read again have open.
const OTHER_FILES: usize = PROBE_CONNECTIONS + 2 * MAX_ARRIVING + 64;

/// After an error of accepting, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often such errors are logged: they come many a second, and each says the same.
const ACCEPT_WARNINGS: Duration = Duration::from_secs(60);

/// Accepts the connections of a socket, whatever errors there are between two of them.
pub struct Acceptor {
    socket: TcpListener,
    warned: Option<Instant>,
}

impl Acceptor {
    /// Of this socket.
    #[must_use]
    pub fn new(socket: TcpListener) -> Self {
        let warned = None;
        Self { socket, warned }
    }

    /// The next one. Whoever stops waiting for it loses none.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => self.warn(&error),
            }
            sleep(ACCEPT_PAUSE).await;
        }
    }

    fn warn(&mut self, error: &io::Error) {
        let warned = self.warned;
        if warned.is_none_or(|at| at.elapsed() >= ACCEPT_WARNINGS) {
            tracing::warn!("cannot accept connections: {error}; trying again");
            self.warned = Some(Instant::now());
        }
    }
}

/// Listens on an address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // So that a restart need not wait until the last connections' ends are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The limits of a socket for probes.
#[must_use]
pub fn for_probes(limits: &ClientLimits) -> ClientLimits {
    ClientLimits {
        max_connections: limits.max_connections.min(PROBE_CONNECTIONS),
        max_streams: limits.max_streams.min(PROBE_STREAMS),
        max_message_size: limits.max_message_size.min(PROBE_MESSAGE_SIZE),
        ..limits.clone()
    }
}

/// The limits, with no more connections than there are files for: a flood that took the last one
/// would cut this replica off from its store.
#[must_use]
pub fn within_open_files(
    open_files: usize,
    limits: &ClientLimits,
    pool_size: u16,
    scrapers: usize,
) -> ClientLimits {
    let others = OTHER_FILES + usize::from(pool_size) + scrapers;
    let left = open_files.saturating_sub(others).max(1);
    let wanted = limits.max_connections;
    if left < wanted {
        tracing::warn!(
            "the system allows {open_files} open files, which are enough for {left} connections; \
             for --max-connections, which is {wanted}, raise its hard limit (`ulimit -Hn`, \
             LimitNOFILE=) to {}",
            wanted.saturating_add(others)
        );
    }
    ClientLimits {
        max_connections: wanted.min(left),
        ..limits.clone()
    }
}

/// Has the system allow as many open files as it may, and says how many. Systems set a lower limit,
/// for programs of old that would break with more.
pub fn raise_limit_of_open_files() -> usize {
    let allowed = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: allowed,
        maximum: allowed,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
