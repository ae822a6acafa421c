//! Admits connections to the slots of a listening socket, and evicts some when all are taken.
//! Owns the slots and the calls in flight; `policy` decides whom to evict.
//! Promises that no client, with or without credentials, keeps out another caller or cuts it off.
//! Must never hold more connections than there are slots.

mod callers;
mod connections;
mod policy;
mod slot;

use self::connections::{Connections, Evicted, Waits};
pub(crate) use self::slot::{ConnectionSlot, HeldByConnection, InFlightCall, StreamOfConnection};
use super::{
    connection_counts::{ConnectionCounts, Reason},
    reload::Reloaded,
};
use crate::{callers::credentials::Credentials, model::caller_name::CallerName};
use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long an evicted connection may take to end, for which its task has to run once.
const EVICTION_LIMIT: Duration = Duration::from_secs(1);

/// How long a client has to end its connection when the server drains. It needs one round trip.
const GOAWAY_TIME: Duration = Duration::from_millis(300);

/// How often a new connection looks for one to evict, if each has yet to get its least time.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// How many new connections may wait at once for evicted ones to end. They are open files beyond the
/// limit. With this many, one that waits does not hold up the others.
pub(super) const MAX_WAITING: usize = 32;

/// The slots of one listening socket and the connections in them.
///
/// A connection is authenticated once an authenticated caller has called on it, and is then that
/// caller's until the credentials list that caller no more. Health is open to all and authenticates
/// nobody. Without credentials, every other call does, and all calls are by the same caller.
pub(super) struct Admission {
    free_slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    max_calls: usize,
    /// How long an unauthenticated connection is read before it may be evicted for a new one.
    least_time: Duration,
    /// Once the clients have had the time to end their connections, of which GOAWAY tells them.
    goaway_is_over: AtomicBool,
    /// Calls of closed and of evicted connections do not count.
    calls_in_flight: AtomicUsize,
    counts: Arc<ConnectionCounts>,
    /// `None` if everybody may call.
    credentials: Option<Arc<Reloaded<Credentials>>>,
    /// Times are counted from here.
    start: Instant,
    connections: Mutex<Connections>,
}

impl Admission {
    pub(super) fn new(
        max_connections: usize,
        max_calls: usize,
        least_time: Duration,
        counts: Arc<ConnectionCounts>,
        credentials: Option<Arc<Reloaded<Credentials>>>,
    ) -> Arc<Self> {
        // Small compared to all slots, so that not all connections are evicted at once.
        let max_waiting = MAX_WAITING.min(max_connections.div_ceil(4));
        Arc::new(Self {
            free_slots: Arc::new(Semaphore::new(max_connections)),
            waiting: Arc::new(Semaphore::new(max_waiting)),
            max_calls,
            least_time,
            goaway_is_over: AtomicBool::new(false),
            calls_in_flight: AtomicUsize::new(0),
            counts,
            credentials,
            start: Instant::now(),
            connections: Mutex::new(Connections::new(max_connections)),
        })
    }

    /// A slot for a new connection: a free one, or that of a connection that is evicted. `None` if
    /// the new one is refused, because no other may be evicted for it.
    pub(super) async fn admit(self: &Arc<Self>) -> Option<Admitted> {
        if let Some(slot) = self.free_slot() {
            return Some(Admitted::Now(slot));
        }
        let waiting = self.waiting.clone().acquire_owned().await.ok()?;
        self.evict_in_time(waiting).await
    }

    /// A free slot. The connection in it is listed at once: another one that comes before it is set up may be
    /// admitted in its place.
    fn free_slot(self: &Arc<Self>) -> Option<SlotGuard> {
        let permit = self.free_slots.clone().try_acquire_owned().ok()?;
        Some(SlotGuard::new(self, &mut self.connections(), permit))
    }

    /// The slot of an evicted connection, or one that is free meanwhile. Where each connection has a least time,
    /// the new one waits for that.
    async fn evict_in_time(self: &Arc<Self>, waiting: OwnedSemaphorePermit) -> Option<Admitted> {
        loop {
            if let Some(slot) = self.evict_for_new_connection() {
                return Some(Admitted::InPlaceOfEvicted { slot, waiting });
            }
            if self.least_time.is_zero() {
                return None;
            }
            sleep(RETRY_INTERVAL).await;
            if let Some(slot) = self.free_slot() {
                return Some(Admitted::Now(slot));
            }
        }
    }

    /// The evicted connection's slot goes to the receiver and to no other new connection.
    fn evict_for_new_connection(&self) -> Option<oneshot::Receiver<SlotGuard>> {
        let (successor, slot) = oneshot::channel();
        let mut connections = self.connections();
        let evicted = connections.evict_for_new_connection(self.now(), self.least_time, successor);
        evicted.then(|| {
            self.counts.count_closed(Reason::Evicted);
            slot
        })
    }

    /// Evicts connections until no more calls are in flight than may be. Calls of connections that
    /// are already evicted do not count.
    fn evict_for_calls(&self) {
        let mut connections = self.connections();
        let calls = self.calls_in_flight.load(Relaxed);
        for _ in 0..connections.evict_for_calls(calls, self.max_calls) {
            self.counts.count_closed(Reason::TooManyCalls);
        }
    }

    fn evict_for_untaken_answer(&self, slot: &ConnectionSlot) {
        // Otherwise it is evicted already, or has ended.
        if self.connections().evict(&slot.view()) {
            self.counts.count_closed(Reason::AnswerNotTaken);
        }
    }

    /// Makes a connection this caller's, on which it has just called.
    fn authenticate(&self, slot: &ConnectionSlot, caller: &CallerName) {
        let mut connections = self.connections();
        // The credentials are read while the lock is held, so that a connection does not become a
        // caller's after `judge_anew` has looked for those of callers that are not listed any more.
        if !self.is_listed(caller) {
            return;
        }
        let has_free_slots = self.free_slots.available_permits() > 0;
        let evicted = connections.authenticate(slot.number, caller, self.now(), has_free_slots);
        match evicted {
            None => {}
            Some(Evicted::Other) => self.counts.count_closed(Reason::Evicted),
            Some(Evicted::New) => self.counts.count_closed(Reason::NoSlot),
        }
    }

    fn is_listed(&self, caller: &CallerName) -> bool {
        let credentials = self.credentials.as_ref();
        credentials.is_none_or(|credentials| credentials.get().is_listed(caller))
    }

    /// Makes the connections of each caller unauthenticated that the credentials list no more,
    /// whenever they change.
    pub(super) async fn judge_connections(self: Arc<Self>) {
        let Some(credentials) = &self.credentials else {
            return;
        };
        let mut changes = credentials.changes();
        loop {
            self.judge_anew();
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Closes connections on which nothing is waited for any more, once told to drain. Their clients were asked
    /// to end them, but a client that is silent never answers, one that ignores it goes on calling, and one that
    /// takes no answer would keep its call in flight.
    pub(super) async fn close_unawaited_connections(self: Arc<Self>, drain: CancellationToken) {
        drain.cancelled().await;
        sleep(GOAWAY_TIME).await;
        self.goaway_is_over.store(true, Relaxed);
        let mut waits = Waits::new();
        loop {
            let untaken = self.connections().evict_unawaited(&mut waits, self.now());
            (0..untaken).for_each(|_| self.counts.count_closed(Reason::AnswerNotTaken));
            sleep(policy::STEP).await;
        }
    }

    fn judge_anew(&self) {
        let mut connections = self.connections();
        connections.retain_callers(|caller| self.is_listed(caller));
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .expect("nothing panics while it holds the connections")
    }
}

/// A new connection that has a slot, or is to have one.
pub(super) enum Admitted {
    Now(SlotGuard),
    InPlaceOfEvicted {
        slot: oneshot::Receiver<SlotGuard>,
        /// Held until the slot is free.
        waiting: OwnedSemaphorePermit,
    },
}

impl Admitted {
    /// Takes the slot as soon as it is free. `None` if the evicted connection does not end in time.
    pub(super) async fn into_slot(self) -> Option<SlotGuard> {
        match self {
            Self::Now(slot) => Some(slot),
            Self::InPlaceOfEvicted { slot, waiting } => {
                let _waiting = waiting;
                timeout(EVICTION_LIMIT, slot).await.ok()?.ok()
            }
        }
    }
}

/// Keeps a connection's slot until it is dropped.
pub(super) struct SlotGuard {
    pub(super) slot: Arc<ConnectionSlot>,
    /// `None` once it is given away.
    permit: Option<OwnedSemaphorePermit>,
}

impl SlotGuard {
    /// Lists a new connection.
    fn new(
        admission: &Arc<Admission>,
        connections: &mut Connections,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let new = |number| Arc::new(ConnectionSlot::new(admission.clone(), number));
        admission.counts.count_opened();
        Self {
            slot: connections.add(new),
            permit: Some(permit),
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let admission = &self.slot.admission;
        let mut connections = admission.connections();
        admission.counts.count_ended();
        let successor = connections.remove(&self.slot).zip(self.permit.take());
        let successor = successor.map(|(successor, permit)| {
            (
                successor,
                SlotGuard::new(admission, &mut connections, permit),
            )
        });
        drop(connections);
        if let Some((successor, slot)) = successor {
            // If the successor no longer waits, the slot is free.
            let _ = successor.send(slot);
        }
    }
}

#[cfg(test)]
mod tests;
