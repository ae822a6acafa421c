//! Listens on sockets, and keeps connections within the open files that the system allows.
//! Owns the listening sockets and the limits on connections that depend on open files.
//! Promises that connections leave enough files for the store, whatever the system allows.
//! Must never end the process for want of files: fewer connections are better than none.

use super::admission::MAX_WAITING;
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

/// Connections that the system queues until they are accepted: as many as Linux allows by default.
/// When the queue is full, a client's system tries again a second later.
pub(crate) const BACKLOG: u32 = 4096;

/// Connections for probes. Kubernetes opens one for each probe. The others are for clients that send nothing:
/// with so many, and [`PROBE_TIME`] for each, a probe behind 1,000 of them waits for 0.3 s.
const PROBE_CONNECTIONS: usize = 64;

/// How long the server has read from a connection for probes before it may close it for a new one. That is enough
/// for a probe, which takes two round trips on a local network.
pub(crate) const PROBE_TIME: Duration = Duration::from_millis(20);

/// Calls in flight on one connection for probes. A probe makes one.
const PROBE_STREAMS: u32 = 8;

/// Files other than those of the clients' connections and the pool's: the connections for probes, new
/// connections that wait for a slot of either socket, and room for what the store, the runtime and
/// watched files have open.
const OTHER_FILES: usize = PROBE_CONNECTIONS + 2 * MAX_WAITING + 64;

/// The pause after an error of `accept`, most often that there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often such errors are logged. Many come in a second, and all say the same.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// Accepts the connections of a socket, and goes on after errors.
pub(crate) struct Acceptor {
    socket: TcpListener,
    last_warning: Option<Instant>,
}

impl Acceptor {
    /// Accepts on a listening socket.
    #[must_use]
    pub(crate) fn new(socket: TcpListener) -> Self {
        Self {
            socket,
            last_warning: None,
        }
    }

    /// Waits for the next connection. Dropping the future loses no connection.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => self.warn(&error),
            }
            sleep(ACCEPT_PAUSE).await;
        }
    }

    fn warn(&mut self, error: &io::Error) {
        let last_warning = self.last_warning;
        if last_warning.is_none_or(|at| at.elapsed() >= BETWEEN_WARNINGS) {
            tracing::warn!("cannot accept connections: {error}; trying again");
            self.last_warning = Some(Instant::now());
        }
    }
}

/// Listens on an address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

/// Listens on an address for probes.
pub(crate) fn listen_for_probes(address: SocketAddr) -> io::Result<TcpListener> {
    bind_with(PROBE_BUFFER, address)?.listen(BACKLOG)
}

/// Binds a socket to an address, without listening yet. Fails if another socket listens on this address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    bind_with(KERNEL_BUFFER, address)
}

fn bind_with(kernel_buffer: u32, address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Otherwise, the address would stay in use for a minute after the last process on it.
    socket.set_reuseaddr(true)?;
    limit_kernel_memory(&socket, kernel_buffer)?;
    socket.bind(address)?;
    Ok(socket)
}

/// How many bytes the kernel keeps of what a client sends, and of what it does not take. Linux doubles it for its
/// own needs. By itself it keeps up to 10 MiB a connection, which no limit of this process counts.
const KERNEL_BUFFER: u32 = 128 * 1024;

/// The same of a client that probes, which sends and takes less than 1 KiB.
const PROBE_BUFFER: u32 = 8 * 1024;

/// How long the kernel keeps what a client does not take, also once the connection is closed here and no longer
/// counts. A client that still answers the kernel's probes could otherwise keep it for ever.
#[cfg(target_os = "linux")]
const UNDELIVERED_MILLIS: u32 = 20_000;

/// Each connection that the socket accepts inherits these limits.
fn limit_kernel_memory(socket: &TcpSocket, buffer: u32) -> io::Result<()> {
    socket.set_send_buffer_size(buffer)?;
    socket.set_recv_buffer_size(buffer)?;
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(socket, UNDELIVERED_MILLIS)?;
    Ok(())
}

/// The limits of the socket for probes, which needs less than the API's.
#[must_use]
pub(crate) fn limits_for_probes(limits: &ClientLimits) -> ClientLimits {
    ClientLimits {
        max_connections: limits.max_connections.min(PROBE_CONNECTIONS),
        max_streams: limits.max_streams.min(PROBE_STREAMS),
        ..limits.clone()
    }
}

/// The limits, with no more connections than there are files for. A flood that took the last file
/// would cut this replica off from its store.
#[must_use]
pub(crate) fn limits_within_open_files(
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

/// Raises the limit of open files as far as the system allows, and returns it. Systems start programs
/// with a lower limit, because some old ones break with more.
pub(crate) fn raise_open_files_limit() -> usize {
    let allowed = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: allowed,
        maximum: allowed,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt::{
        socket_recv_buffer_size, socket_send_buffer_size, tcp_user_timeout,
    };

    /// Otherwise a client that takes nothing would have megabytes of the kernel's memory, for as long as it likes.
    #[tokio::test]
    async fn what_the_kernel_keeps_for_a_connection_is_bounded() {
        type Listen = fn(SocketAddr) -> io::Result<TcpListener>;
        for (listen, most) in [
            (listen as Listen, 256 * 1024),
            (listen_for_probes, 16 * 1024),
        ] {
            let listener = listen(([127, 0, 0, 1], 0).into()).expect("it listens");
            let address = listener.local_addr().expect("an address");
            let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (_client, (accepted, _)) =
                (client.expect("connected"), accepted.expect("accepted"));
            let sizes = [
                socket_send_buffer_size(&accepted),
                socket_recv_buffer_size(&accepted),
            ];
            for size in sizes {
                assert!(size.expect("a size") <= most);
            }
            #[cfg(target_os = "linux")]
            assert_eq!(tcp_user_timeout(&accepted).expect("a limit"), 20_000);
        }
    }
}
