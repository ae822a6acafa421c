//! Owns the places of connections and their calls, and who gives one up when all are taken.
//! Promises that whoever says nothing, or piles up calls, keeps nobody out who has work.
//! Must never hold more connections than its limit, nor close one for another that is at work.

use super::counts::{ConnectionCounts, Reason};
use futures::task::AtomicWaker;
use hashbrown::HashMap;
use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// Who calls and has spoken within this time is at work, and no newcomer takes its place. One that
/// has never called is not: whoever opens connections and no more could fill every place with them.
const AT_WORK: Duration = Duration::from_secs(1);

/// For one that was sent away to be gone. It takes the turn of a task.
const LEAVING: Duration = Duration::from_secs(1);

/// How many are found in one look at all of them, so that a flood does not make each newcomer
/// cost a look of its own.
const FOUND_AT_ONCE: usize = 64;

/// Newcomers that wait at once for those that leave for them: files that are open beyond the limit.
/// Enough for a newcomer's wait to hold up no other's.
pub(super) const MAX_ARRIVING: usize = 32;

/// The places of one listening socket.
pub(super) struct Places {
    free: Arc<Semaphore>,
    arriving: Arc<Semaphore>,
    max_calls: usize,
    calls: AtomicUsize,
    counts: Arc<ConnectionCounts>,
    /// What times are counted from.
    start: Instant,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next_number: u64,
    taken: HashMap<u64, Arc<Seat>>,
    /// Who gets the place of one that was sent away.
    heirs: HashMap<u64, oneshot::Sender<OwnedSemaphorePermit>>,
    /// Those that were quiet at the last look, and the time they had spoken; the quietest last.
    quiet: Vec<(u64, Arc<Seat>)>,
    /// Sent away for their calls, some of which may still be counted.
    leaving: Vec<Arc<Seat>>,
}

/// What a connection's tasks share of its place.
pub struct Seat {
    places: Arc<Places>,
    number: u64,
    /// When it spoke last, in milliseconds from the start.
    heard_millis: AtomicU64,
    has_called: AtomicBool,
    calls: AtomicUsize,
    sent_away: AtomicBool,
    reader: AtomicWaker,
}

/// A connection's place, which is free again when this is dropped.
pub(super) struct Place {
    pub(super) seat: Arc<Seat>,
    /// None once it is given back.
    permit: Option<OwnedSemaphorePermit>,
}

/// A new connection's claim to a place.
pub(super) struct Claim {
    places: Arc<Places>,
    source: Source,
}

enum Source {
    Free(OwnedSemaphorePermit),
    /// Of one that was sent away; and a place among the arriving until then.
    Leaving(
        oneshot::Receiver<OwnedSemaphorePermit>,
        OwnedSemaphorePermit,
    ),
}

/// A call's place, which is free again when this is dropped.
#[derive(Debug)]
pub struct CallPlace(Arc<Seat>);

impl Places {
    pub(super) fn new(
        max_connections: usize,
        max_calls: usize,
        counts: Arc<ConnectionCounts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(max_connections)),
            // Few among all, so that of those who stay somebody is quiet.
            arriving: Arc::new(Semaphore::new(
                MAX_ARRIVING.min(max_connections.div_ceil(4)),
            )),
            max_calls,
            calls: AtomicUsize::new(0),
            counts,
            start: Instant::now(),
            seats: Mutex::default(),
        })
    }

    /// A claim to a place for a new connection: a free one, or that of the one which has been quiet
    /// longest. None when all are at work.
    pub(super) async fn claim(self: &Arc<Self>) -> Option<Claim> {
        let claim = |source| Claim {
            places: self.clone(),
            source,
        };
        if let Ok(free) = self.free.clone().try_acquire_owned() {
            return Some(claim(Source::Free(free)));
        }
        let arriving = self.arriving.clone().acquire_owned().await.ok()?;
        let left = self.send_the_quietest_away()?;
        Some(claim(Source::Leaving(left, arriving)))
    }

    /// Gives its place to whoever waits for it, and to no other newcomer in between.
    fn send_the_quietest_away(&self) -> Option<oneshot::Receiver<OwnedSemaphorePermit>> {
        let mut seats = self.seats();
        loop {
            if seats.quiet.is_empty() {
                seats.quiet = self.quiet(&seats);
            }
            let (heard_millis, seat) = seats.quiet.pop()?;
            let is_as_it_was = seat.heard_millis.load(Relaxed) == heard_millis;
            if is_as_it_was && seats.taken.contains_key(&seat.number) && seat.send_away() {
                self.counts.closed(Reason::PlaceNeeded);
                let (heir, left) = oneshot::channel();
                seats.heirs.insert(seat.number, heir);
                return Some(left);
            }
        }
    }

    fn quiet(&self, seats: &Seats) -> Vec<(u64, Arc<Seat>)> {
        let last_at_rest = self.now_millis().checked_sub(millis(AT_WORK));
        let is_at_work = |seat: &Seat, heard_millis| {
            seat.has_called.load(Relaxed) && last_at_rest.is_none_or(|last| heard_millis > last)
        };
        let mut quiet: Vec<_> = seats
            .taken
            .values()
            .filter(|seat| !seat.sent_away.load(Relaxed))
            .map(|seat| (seat.heard_millis.load(Relaxed), seat))
            .filter(|(heard_millis, seat)| !is_at_work(seat, *heard_millis))
            .collect();
        quiet.sort_unstable_by_key(|(heard_millis, seat)| (*heard_millis, seat.number));
        quiet.truncate(FOUND_AT_ONCE);
        let owned = quiet.into_iter().rev();
        owned.map(|(millis, seat)| (millis, seat.clone())).collect()
    }

    /// Sends the connection with the most calls away, unless there are few enough without those that
    /// were sent away before.
    fn send_the_busiest_away(&self) {
        let calls = |seat: &Arc<Seat>| seat.calls.load(Relaxed);
        let mut seats = self.seats();
        seats.leaving.retain(|seat| calls(seat) > 0);
        let leaving: usize = seats.leaving.iter().map(calls).sum();
        if self.calls.load(Relaxed).saturating_sub(leaving) <= self.max_calls {
            return;
        }
        let staying = seats.taken.values();
        let staying = staying.filter(|seat| !seat.sent_away.load(Relaxed));
        let busiest = staying.max_by_key(|seat| calls(seat)).cloned();
        if let Some(busiest) = busiest.filter(|seat| seat.send_away()) {
            self.counts.closed(Reason::CallsPiledUp);
            seats.leaving.push(busiest);
        }
    }

    fn now_millis(&self) -> u64 {
        millis(self.start.elapsed())
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats
            .lock()
            .expect("nothing panics while it holds the seats")
    }
}

impl Claim {
    /// The place, as soon as whoever had it has left.
    pub(super) async fn place(self) -> Option<Place> {
        let Self { places, source } = self;
        let (permit, _arriving) = match source {
            Source::Free(permit) => (permit, None),
            Source::Leaving(left, arriving) => {
                let permit = timeout(LEAVING, left).await.ok()?.ok()?;
                (permit, Some(arriving))
            }
        };
        let mut seats = places.seats();
        let number = seats.next_number;
        seats.next_number += 1;
        let seat = Arc::new(Seat {
            places: places.clone(),
            number,
            heard_millis: AtomicU64::new(places.now_millis()),
            has_called: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            sent_away: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        seats.taken.insert(number, seat.clone());
        places.counts.opened();
        Some(Place {
            seat,
            permit: Some(permit),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &self.seat.places;
        let mut seats = places.seats();
        seats.taken.remove(&self.seat.number);
        places.counts.ended();
        if let Some((heir, permit)) = seats
            .heirs
            .remove(&self.seat.number)
            .zip(self.permit.take())
        {
            // An heir that waits no more leaves it free.
            let _ = heir.send(permit);
        }
    }
}

impl Seat {
    /// Notes that the client has spoken.
    pub(super) fn hear(&self) {
        let now = self.places.now_millis();
        self.heard_millis.store(now, Relaxed);
    }

    /// Ready when the connection has to give up its place. Wakes one task, whichever asked last.
    pub(super) fn poll_sent_away(&self, context: &Context<'_>) -> Poll<()> {
        self.reader.register(context.waker());
        if self.sent_away.load(Relaxed) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    pub(super) async fn sent_away(&self) {
        poll_fn(|context| self.poll_sent_away(context)).await;
    }

    /// A place for one of its calls, for which the connection with the most may lose all of its.
    #[must_use]
    pub fn begin_call(self: &Arc<Self>) -> CallPlace {
        self.calls.fetch_add(1, Relaxed);
        self.has_called.store(true, Relaxed);
        let before = self.places.calls.fetch_add(1, Relaxed);
        if before >= self.places.max_calls {
            self.places.send_the_busiest_away();
        }
        CallPlace(self.clone())
    }

    /// Whether it was still to be sent away.
    fn send_away(&self) -> bool {
        let first = !self.sent_away.swap(true, Relaxed);
        self.reader.wake();
        first
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Relaxed);
        self.0.places.calls.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(&self.number).finish()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
