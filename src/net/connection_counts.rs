//! Owns how many connections a socket has, and how many the server itself closed early, and why.
//! Promises that each is counted once, and that the log tells of the first within moments.
//! Must never log more for a flood than for a few: each kind of line comes once in ten seconds.

use rustls::Error as TlsError;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};

/// From a line in the log to the next of its kind.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Why the server closed a connection before its client, or its age, ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// TLS failed, or what came was not HTTP/2.
    HandshakeFailed,
    HandshakeTimeout,
    /// A newcomer got its place.
    PlaceNeeded,
    /// There was none for it.
    NoPlace,
    CallsPiledUp,
}

impl Reason {
    const ALL: [Self; 5] = [
        Self::HandshakeFailed,
        Self::HandshakeTimeout,
        Self::PlaceNeeded,
        Self::NoPlace,
        Self::CallsPiledUp,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::PlaceNeeded => "place_needed",
            Self::NoPlace => "no_place",
            Self::CallsPiledUp => "calls_piled_up",
        }
    }
}

/// The connections of one socket.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    open: AtomicU64,
    closed: [AtomicU64; Reason::ALL.len()],
    /// The first since the log told of one.
    tls_failure: Mutex<Option<(SocketAddr, String)>>,
    /// There is something to log.
    news: Notify,
}

impl ConnectionCounts {
    /// How many have a place now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Why the server closed connections early, and how many for each reason.
    pub fn closed_early(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Reason::ALL.into_iter();
        all.map(|reason| (reason.name(), self.read(reason)))
    }

    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn closed(&self, reason: Reason) {
        self.closed[reason as usize].fetch_add(1, Relaxed);
        match reason {
            Reason::HandshakeFailed | Reason::HandshakeTimeout => {}
            Reason::PlaceNeeded | Reason::NoPlace | Reason::CallsPiledUp => self.news.notify_one(),
        }
    }

    /// Counts a handshake that failed by what TLS makes of it, and not by the client's leaving.
    pub(super) fn tls_failed(&self, peer: SocketAddr, error: &io::Error) {
        let by_tls = match error.get_ref() {
            Some(inner) => inner.is::<TlsError>(),
            None => false,
        };
        if by_tls {
            self.closed(Reason::HandshakeFailed);
            let mut failure = self.tls_failure();
            failure.get_or_insert_with(|| (peer, error.to_string()));
            self.news.notify_one();
        }
    }

    /// Logs for ever what becomes of the connections of the socket at this address.
    pub(super) async fn report(&self, address: Option<SocketAddr>) {
        let address = address.map(tracing::field::display);
        let mut told = Reason::ALL.map(|_| 0);
        loop {
            self.news.notified().await;
            let counts = Reason::ALL.map(|reason| self.read(reason));
            let new = |reason: Reason| counts[reason as usize] - told[reason as usize];
            let (sent_away, refused) = (new(Reason::PlaceNeeded), new(Reason::NoPlace));
            if sent_away + refused > 0 {
                tracing::warn!(
                    address,
                    sent_away,
                    refused,
                    "connections were closed for want of a place: --max-connections are open"
                );
            }
            let sent_away = new(Reason::CallsPiledUp);
            if sent_away > 0 {
                tracing::warn!(
                    address,
                    sent_away,
                    "connections were closed for their calls: more than --max-calls were in flight"
                );
            }
            let failure = self.tls_failure().take();
            if let Some((peer, error)) = failure {
                tracing::info!(address, %peer, "a TLS handshake failed: {error}");
            }
            told = counts;
            sleep(BETWEEN_LINES).await;
        }
    }

    fn tls_failure(&self) -> MutexGuard<'_, Option<(SocketAddr, String)>> {
        let failure = self.tls_failure.lock();
        failure.expect("nothing panics while it holds the failure")
    }

    fn read(&self, reason: Reason) -> u64 {
        self.closed[reason as usize].load(Relaxed)
    }
}
