//! Owns the places of connections and their calls, and who gives one up when all are taken.
//! Promises that strangers keep no known caller out nor cut one off, whatever they say or do.
//! Must never hold more connections than its limit, nor close a known one at work for a newcomer.

use super::connection_counts::{ConnectionCounts, Reason};
use futures::task::AtomicWaker;
use hashbrown::HashMap;
use std::{
    cmp::Reverse,
    collections::BTreeMap,
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

/// Who is known and has spoken within this time is at work, and no newcomer takes its place.
const AT_WORK: Duration = Duration::from_secs(1);

/// For one that was sent away to be gone. It takes the turn of a task.
const LEAVING: Duration = Duration::from_secs(1);

/// How many are found in one look at all of them, so that a flood does not make each newcomer
/// cost a look of its own.
const FOUND_AT_ONCE: usize = 64;

/// After a look that found none there is no other for so long, for the same reason.
const BETWEEN_VAIN_LOOKS: Duration = Duration::from_millis(20);

/// Strangers have at least one in so many places, if there are known connections that are quiet to
/// leave theirs. With fewer, newcomers would send one another away before they can become known.
const STRANGERS_SHARE: usize = 16;

/// Where calls have to end, one in so many of the limit is made free besides, so that a flood does
/// not make each call cost a look at all connections.
const SPARE_CALLS_SHARE: usize = 64;

/// Newcomers that wait at once for those that leave for them: files that are open beyond the limit.
/// Enough for a newcomer's wait to hold up no other's.
pub(super) const MAX_ARRIVING: usize = 32;

/// The places of one listening socket.
///
/// A connection is known once a known caller has called on it, and a stranger until then. Health is
/// open to all and makes nobody known; where anyone may call, every other call does.
pub(super) struct Places {
    free: Arc<Semaphore>,
    arriving: Arc<Semaphore>,
    min_strangers: usize,
    strangers: AtomicUsize,
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
    /// In the order in which they came.
    taken: BTreeMap<u64, Arc<Seat>>,
    /// None with a lower number is a stranger that stays.
    first_stranger: u64,
    /// Who gets the place of one that was sent away.
    heirs: HashMap<u64, oneshot::Sender<OwnedSemaphorePermit>>,
    /// Those that were quiet at the last look, and the time they had spoken; the quietest last.
    quiet: Vec<(u64, Arc<Seat>)>,
    /// When there was a look that found none.
    vain_look: Option<Instant>,
    /// Sent away for their calls, some of which may still be counted.
    leaving: Vec<Arc<Seat>>,
}

/// What a connection's tasks share of its place.
pub struct Seat {
    places: Arc<Places>,
    number: u64,
    /// When it spoke last, in milliseconds from the start.
    heard_millis: AtomicU64,
    is_known: AtomicBool,
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
            min_strangers: max_connections.div_ceil(STRANGERS_SHARE),
            strangers: AtomicUsize::new(0),
            max_calls,
            calls: AtomicUsize::new(0),
            counts,
            start: Instant::now(),
            seats: Mutex::default(),
        })
    }

    /// A claim to a place for a new connection: a free one, or that of one which is sent away. None
    /// when all are known and at work.
    pub(super) async fn claim(self: &Arc<Self>) -> Option<Claim> {
        let claim = |source| Claim {
            places: self.clone(),
            source,
        };
        if let Ok(free) = self.free.clone().try_acquire_owned() {
            return Some(claim(Source::Free(free)));
        }
        let arriving = self.arriving.clone().acquire_owned().await.ok()?;
        let left = self.send_one_away()?;
        Some(claim(Source::Leaving(left, arriving)))
    }

    /// Gives its place to whoever waits for it, and to no other newcomer in between.
    fn send_one_away(&self) -> Option<oneshot::Receiver<OwnedSemaphorePermit>> {
        let mut seats = self.seats();
        let leaving = if self.strangers.load(Relaxed) < self.min_strangers {
            let quietest = self.send_the_quietest_away(&mut seats);
            quietest.or_else(|| seats.send_a_stranger_away())
        } else {
            let stranger = seats.send_a_stranger_away();
            stranger.or_else(|| self.send_the_quietest_away(&mut seats))
        }?;
        self.counts.closed(Reason::PlaceNeeded);
        let (heir, left) = oneshot::channel();
        seats.heirs.insert(leaving, heir);
        Some(left)
    }

    /// Of those that are known and not at work.
    fn send_the_quietest_away(&self, seats: &mut Seats) -> Option<u64> {
        loop {
            if seats.quiet.is_empty() {
                seats.quiet = self.quiet(seats);
            }
            let (heard_millis, seat) = seats.quiet.pop()?;
            let is_as_it_was = seat.heard_millis.load(Relaxed) == heard_millis;
            if is_as_it_was && seats.taken.contains_key(&seat.number) && seat.send_away() {
                return Some(seat.number);
            }
        }
    }

    fn quiet(&self, seats: &mut Seats) -> Vec<(u64, Arc<Seat>)> {
        let vain_look = seats.vain_look;
        if vain_look.is_some_and(|look| look.elapsed() < BETWEEN_VAIN_LOOKS) {
            return Vec::new();
        }
        let last_at_rest = self.now_millis().checked_sub(millis(AT_WORK));
        let is_at_rest = |heard_millis| last_at_rest.is_some_and(|last| heard_millis <= last);
        let mut quiet: Vec<_> = seats
            .staying()
            .filter(|seat| seat.is_known())
            .map(|seat| (seat.heard_millis.load(Relaxed), seat))
            .filter(|(heard_millis, _)| is_at_rest(*heard_millis))
            .collect();
        quiet.sort_unstable_by_key(|(heard_millis, seat)| (*heard_millis, seat.number));
        quiet.truncate(FOUND_AT_ONCE);
        let owned = quiet.into_iter().rev();
        let quiet: Vec<_> = owned.map(|(millis, seat)| (millis, seat.clone())).collect();
        seats.vain_look = quiet.is_empty().then(Instant::now);
        quiet
    }

    /// Brings the calls below their limit, unless they are without those of connections that were
    /// sent away before.
    fn send_the_busiest_away(&self) {
        let mut seats = self.seats();
        seats.leaving.retain(|seat| seat.calls() > 0);
        let leaving: usize = seats.leaving.iter().map(|seat| seat.calls()).sum();
        let staying = self.calls.load(Relaxed).saturating_sub(leaving);
        if staying <= self.max_calls {
            return;
        }
        let excess = staying - self.max_calls + self.max_calls / SPARE_CALLS_SHARE;
        for seat in seats.busiest(excess) {
            if seat.send_away() {
                self.counts.closed(Reason::CallsPiledUp);
                seats.leaving.push(seat);
            }
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

impl Seats {
    /// Those that were not sent away.
    fn staying(&self) -> impl Iterator<Item = &Arc<Seat>> {
        let taken = self.taken.values();
        taken.filter(|seat| !seat.sent_away.load(Relaxed))
    }

    /// The one that has had its place for longest. Whoever was found to be none, or was sent away,
    /// is not looked at again.
    fn send_a_stranger_away(&mut self) -> Option<u64> {
        let mut others = self.taken.range(self.first_stranger..);
        let stranger = others.find(|(_, seat)| !seat.is_known() && seat.send_away());
        let stranger = stranger.map(|(number, _)| *number);
        self.first_stranger = stranger.map_or(self.next_number, |number| number + 1);
        stranger
    }

    /// Who has to go for so many calls to end: the strangers with the most calls, and of equals the
    /// one that came first; a known one only when no stranger has any.
    fn busiest(&self, calls_to_end: usize) -> Vec<Arc<Seat>> {
        let with_calls = self.staying().map(|seat| (seat.calls(), seat));
        let with_calls = with_calls.filter(|(calls, _)| *calls > 0);
        let (known, mut strangers): (Vec<_>, Vec<_>) =
            with_calls.partition(|(_, seat)| seat.is_known());
        if strangers.is_empty() {
            strangers.extend(known.into_iter().max_by_key(|(calls, _)| *calls));
        }
        strangers.sort_unstable_by_key(|(calls, seat)| (Reverse(*calls), seat.number));
        let mut ended = 0;
        let going = strangers.into_iter().take_while(|(calls, _)| {
            let goes = ended < calls_to_end;
            ended += calls;
            goes
        });
        going.map(|(_, seat)| seat.clone()).collect()
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
            is_known: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            sent_away: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        seats.taken.insert(number, seat.clone());
        places.strangers.fetch_add(1, Relaxed);
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
        self.seat.count_as_no_stranger();
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

    /// Notes that a known caller has called. What each call reads is written once.
    pub fn make_known(&self) {
        if !self.is_known() {
            self.count_as_no_stranger();
        }
    }

    fn count_as_no_stranger(&self) {
        if !self.is_known.swap(true, Relaxed) {
            self.places.strangers.fetch_sub(1, Relaxed);
        }
    }

    fn is_known(&self) -> bool {
        self.is_known.load(Relaxed)
    }

    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    /// A place for one of its calls, for which others may lose theirs.
    #[must_use]
    pub fn begin_call(self: Arc<Self>) -> CallPlace {
        self.calls.fetch_add(1, Relaxed);
        let before = self.places.calls.fetch_add(1, Relaxed);
        if before >= self.places.max_calls {
            self.places.send_the_busiest_away();
        }
        CallPlace(self)
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
