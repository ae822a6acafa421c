//! Counts a socket's open connections, and those that the server closed early, by reason.
//! Owns these counts and the log lines about them.
//! Promises that each connection is counted once, and that the first is logged at once.
//! Must never log more for a flood than for a few: each kind of line comes once in ten seconds.

use super::tls_errors::sentence;
use rustls::Error as TlsError;
use std::{
    collections::BTreeMap,
    io, mem,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};

/// The time between two log lines of one kind.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Why the server closed a connection before its client, or its age, ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// TLS failed, or what came was not HTTP/2.
    HandshakeFailed,
    HandshakeTimeout,
    /// A new connection got its slot.
    Evicted,
    /// It was new, and no other could be evicted for it, or its caller had its share of the slots.
    NoSlot,
    /// It was evicted because too many calls were in flight.
    TooManyCalls,
    /// Its client did not take an answer in time, or took nothing at all.
    AnswerNotTaken,
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::HandshakeFailed,
        Self::HandshakeTimeout,
        Self::Evicted,
        Self::NoSlot,
        Self::TooManyCalls,
        Self::AnswerNotTaken,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Evicted => "evicted",
            Self::NoSlot => "no_slot",
            Self::TooManyCalls => "too_many_calls",
            Self::AnswerNotTaken => "answer_not_taken",
        }
    }
}

/// The connections of one socket.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts {
    open: AtomicU64,
    closed: [AtomicU64; Reason::ALL.len()],
    tls_failures: Mutex<TlsFailures>,
    has_news: Notify,
}

/// The TLS handshakes that have failed since they were last logged, by what has failed: so junk hides no
/// certificate that is refused.
#[derive(Debug, Default)]
struct TlsFailures(BTreeMap<String, TlsFailure>);

#[derive(Debug)]
struct TlsFailure {
    first: SocketAddr,
    why: String,
    others: u64,
}

impl TlsFailures {
    /// There are as many kinds as sentences, which differ in nothing but numbers otherwise.
    fn add(&mut self, peer: SocketAddr, error: &TlsError) {
        let why = sentence(error);
        let kind = why.replace(|it: char| it.is_ascii_digit(), "");
        let known = self.0.entry(kind);
        known.and_modify(|it| it.others += 1).or_insert(TlsFailure {
            first: peer,
            why,
            others: 0,
        });
    }
}

impl ConnectionCounts {
    /// How many are open now.
    #[must_use]
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// How many the server closed early, by reason.
    pub(crate) fn closed_early(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Reason::ALL.into_iter();
        all.map(|reason| (reason.name(), self.read(reason)))
    }

    pub(super) fn count_opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn count_ended(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn count_closed(&self, reason: Reason) {
        self.closed[reason as usize].fetch_add(1, Relaxed);
        match reason {
            Reason::HandshakeFailed | Reason::HandshakeTimeout => {}
            Reason::Evicted | Reason::NoSlot | Reason::TooManyCalls | Reason::AnswerNotTaken => {
                self.has_news.notify_one();
            }
        }
    }

    /// Counts a TLS handshake that failed, unless only because the client left.
    pub(super) fn count_failed_handshake(&self, peer: SocketAddr, error: &io::Error) {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            self.count_closed(Reason::HandshakeFailed);
            self.tls_failures().add(peer, error);
            self.has_news.notify_one();
        }
    }

    /// Logs forever which connections of the socket at this address were closed early.
    pub(super) async fn report(&self, address: Option<SocketAddr>) {
        let address = address.map(tracing::field::display);
        let mut logged = Reason::ALL.map(|_| 0);
        loop {
            self.has_news.notified().await;
            let counts = Reason::ALL.map(|reason| self.read(reason));
            let new = |reason: Reason| counts[reason as usize] - logged[reason as usize];
            let (evicted, refused) = (new(Reason::Evicted), new(Reason::NoSlot));
            if evicted + refused > 0 {
                tracing::warn!(
                    address,
                    evicted,
                    refused,
                    "connections were evicted or refused: --max-connections are open"
                );
            }
            let evicted = new(Reason::TooManyCalls);
            if evicted > 0 {
                tracing::warn!(
                    address,
                    evicted,
                    "connections were evicted: more than --max-calls were in flight"
                );
            }
            let closed = new(Reason::AnswerNotTaken);
            if closed > 0 {
                tracing::warn!(
                    address,
                    closed,
                    "connections were closed: their clients did not take an answer within \
                     --answer-timeout, or took nothing at all for --keepalive-timeout"
                );
            }
            let TlsFailures(failures) = mem::take(&mut *self.tls_failures());
            for TlsFailure { first, why, others } in failures.into_values() {
                tracing::info!(address, peer = %first, left_out = others, "a TLS handshake failed: {why}");
            }
            logged = counts;
            sleep(BETWEEN_LINES).await;
        }
    }

    fn tls_failures(&self) -> MutexGuard<'_, TlsFailures> {
        let failures = self.tls_failures.lock();
        failures.expect("nothing panics while it holds the failures")
    }

    fn read(&self, reason: Reason) -> u64 {
        self.closed[reason as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, CertificateError};

    #[test]
    fn of_each_kind_of_failed_handshake_the_first_is_kept_and_the_others_are_counted() {
        let counts = ConnectionCounts::default();
        let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..=4 {
            let error = io::Error::other(TlsError::NoApplicationProtocol);
            counts.count_failed_handshake(peer(port), &error);
        }
        let revoked = TlsError::InvalidCertificate(CertificateError::Revoked);
        counts.count_failed_handshake(peer(6), &io::Error::other(revoked));
        // The number of an alert makes no kind of its own: a client chooses it.
        for (port, alert) in [(7, 21), (8, 22)] {
            let alert = TlsError::AlertReceived(AlertDescription::from(alert));
            counts.count_failed_handshake(peer(port), &io::Error::other(alert));
        }
        // The client has left, which is no failure.
        counts.count_failed_handshake(peer(5), &io::ErrorKind::UnexpectedEof.into());
        let TlsFailures(failures) = mem::take(&mut *counts.tls_failures());
        let told = |begin: &str| {
            let mut all = failures.values().filter(|it| it.why.starts_with(begin));
            let failure = all.next().expect("it is told");
            assert!(all.next().is_none(), "{begin}");
            (failure.first, failure.others)
        };
        assert_eq!(told("the client does not offer HTTP/2"), (peer(1), 3));
        assert_eq!(told("the client's certificate is revoked"), (peer(6), 0));
        assert_eq!(told("the client ended TLS with the alert"), (peer(7), 1));
        assert_eq!(failures.len(), 3);
    }
}
