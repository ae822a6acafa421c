//! The slot of one connection, and its calls in flight.
//! Owns whose it is, when its caller last called, and whether it is evicted.
//! Promises that a call counts from its beginning to its end, or to its connection's end or eviction.
//! Must never lock when a call begins, except for a connection's first call and over the limit.

use super::{
    Admission,
    policy::{Awaited, CallerNumber, ConnectionView},
};
use crate::model::caller_name::CallerName;
use futures::task::AtomicWaker;
use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// What the tasks of a connection share of its slot.
pub(crate) struct ConnectionSlot {
    pub(super) admission: Arc<Admission>,
    pub(super) number: u64,
    /// Counted from the admission's start. Only calls by callers count, whatever else comes.
    last_called_millis: AtomicU64,
    /// The number of its caller, or [`Self::UNAUTHENTICATED`]. It changes while the lock on the
    /// connections is held, so that whoever holds it sees both the same.
    caller: AtomicU64,
    calls: Calls,
    /// How many answers to admin calls its client has yet to take.
    held_answers: AtomicUsize,
    /// How many parts of such answers it has taken.
    taken_parts: AtomicUsize,
    /// How many calls to `AuthorizeStream` it has.
    streams: AtomicUsize,
    /// When the server began to read from it.
    read: OnceLock<Instant>,
    /// When the connection was set up. Its age is counted from then.
    set_up: OnceLock<Instant>,
    /// Wakes the task that sets the connection up, or later the one that serves it.
    reader: AtomicWaker,
}

impl ConnectionSlot {
    const UNAUTHENTICATED: u64 = u64::MAX;

    pub(super) fn new(admission: Arc<Admission>, number: u64) -> Self {
        let now = admission.now();
        let slot = Self {
            admission,
            number,
            last_called_millis: AtomicU64::new(0),
            caller: AtomicU64::new(Self::UNAUTHENTICATED),
            calls: Calls::default(),
            held_answers: AtomicUsize::new(0),
            taken_parts: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            read: OnceLock::new(),
            set_up: OnceLock::new(),
            reader: AtomicWaker::new(),
        };
        slot.set_called(now);
        slot
    }

    /// Notes that this caller has called, when `now` was. The connection becomes the caller's if it
    /// is unauthenticated. Every call reads whose it is, so only the first writes it.
    pub(crate) fn record_call(&self, caller: &CallerName, now: Instant) {
        self.set_called(self.admission.since_start(now));
        if self.caller.load(Relaxed) == Self::UNAUTHENTICATED {
            self.admission.authenticate(self, caller);
        }
    }

    pub(super) fn set_called(&self, now: Duration) {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.last_called_millis.store(now, Relaxed);
    }

    /// Call it only while the lock on the connections is held.
    pub(super) fn set_caller(&self, caller: Option<CallerNumber>) {
        let number = caller.map_or(Self::UNAUTHENTICATED, |CallerNumber(number)| number);
        self.caller.store(number, Relaxed);
    }

    fn caller(&self) -> Option<CallerNumber> {
        let number = self.caller.load(Relaxed);
        (number != Self::UNAUTHENTICATED).then_some(CallerNumber(number))
    }

    /// Counts one more call as in flight. If these are too many, connections are evicted. `may_be_awaited`
    /// says whether a server that drains may wait for its end. It waits for no stranger, and for no call
    /// that is newer than the time in which its client had to end the connection.
    #[must_use]
    pub(crate) fn begin_call(self: Arc<Self>, may_be_awaited: bool) -> InFlightCall {
        let is_over = self.admission.goaway_is_over.load(Relaxed);
        let is_awaited = may_be_awaited && !is_over && self.caller().is_some();
        let stage = if is_awaited {
            Stage::Work
        } else {
            Stage::Unawaited
        };
        let total = &self.admission.calls_in_flight;
        let before = total.fetch_add(1, Relaxed);
        if self.calls.begin(stage) {
            if before >= self.admission.max_calls {
                self.admission.evict_for_calls();
            }
        } else {
            total.fetch_sub(1, Relaxed);
        }
        InFlightCall { slot: self, stage }
    }

    /// Makes the connection close as soon as its task runs.
    pub(super) fn evict(&self) {
        self.end_calls();
        self.reader.wake();
    }

    /// From now on the connection's calls do not count, however long they take to end.
    pub(super) fn end_calls(&self) {
        let calls = self.calls.end_all();
        self.admission.calls_in_flight.fetch_sub(calls, Relaxed);
    }

    /// Ready when the connection is evicted. Wakes one task, the one that asked last.
    pub(in crate::net) fn poll_evicted(&self, context: &Context<'_>) -> Poll<()> {
        self.reader.register(context.waker());
        if self.calls.are_ended() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    pub(in crate::net) async fn wait_until_evicted(&self) {
        poll_fn(|context| self.poll_evicted(context)).await;
    }

    /// Notes that the server reads from the connection from now on.
    pub(in crate::net) fn note_read(&self) {
        // It begins once.
        let _ = self.read.set(Instant::now());
    }

    /// Whether the server has read from it for this long. Until it begins, it keeps the client waiting.
    pub(super) fn had(&self, time: Duration) -> bool {
        time.is_zero() || self.read.get().is_some_and(|read| read.elapsed() >= time)
    }

    /// Notes that the connection is set up, so that it can be served.
    pub(in crate::net) fn note_set_up(&self) {
        // It is set up once.
        let _ = self.set_up.set(Instant::now());
    }

    /// When the connection was set up.
    pub(crate) fn set_up(&self) -> Option<Instant> {
        self.set_up.get().copied()
    }

    /// Closes the connection, whose client has not taken an answer in time.
    pub(crate) fn close_for_untaken_answer(&self) {
        self.admission.evict_for_untaken_answer(self);
    }

    /// What a server that drains waits for. Other threads may change one part of it while another is read. So
    /// a caller can rely on it only if it reads the same values twice.
    pub(super) fn awaited(&self) -> Awaited {
        let (work, answers) = self.calls.awaited();
        Awaited {
            work,
            answers,
            held_answers: self.held_answers.load(Relaxed),
            taken_parts: self.taken_parts.load(Relaxed),
        }
    }

    pub(super) fn view(&self) -> ConnectionView {
        ConnectionView {
            number: self.number,
            caller: self.caller(),
            last_called: Duration::from_millis(self.last_called_millis.load(Relaxed)),
            calls_in_flight: self.calls.count(),
        }
    }
}

impl fmt::Debug for ConnectionSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionSlot").field(&self.number).finish()
    }
}

/// A call that counts as in flight until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlightCall {
    slot: Arc<ConnectionSlot>,
    stage: Stage,
}

impl InFlightCall {
    /// Notes that the answer is ready, and that its client has yet to take it.
    pub(crate) fn note_answered(&mut self) {
        if self.stage == Stage::Work {
            self.slot.calls.answer();
            self.stage = Stage::Answer;
        }
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        if self.slot.calls.end(self.stage) {
            self.slot.admission.calls_in_flight.fetch_sub(1, Relaxed);
        }
    }
}

/// An answer that the connection's client has yet to take, until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldByConnection(Arc<ConnectionSlot>);

impl HeldByConnection {
    pub(crate) fn new(slot: Arc<ConnectionSlot>) -> Self {
        slot.held_answers.fetch_add(1, Relaxed);
        Self(slot)
    }

    /// Notes that the client has taken a part of the answer.
    pub(crate) fn note_taken_part(&self) {
        self.0.taken_parts.fetch_add(1, Relaxed);
    }
}

impl Drop for HeldByConnection {
    fn drop(&mut self) {
        self.0.held_answers.fetch_sub(1, Relaxed);
    }
}

/// A call to `AuthorizeStream`, which counts until this is dropped.
#[derive(Debug)]
pub(crate) struct StreamOfConnection(Arc<ConnectionSlot>);

impl StreamOfConnection {
    /// One more on this connection, or `None` if it has this many.
    pub(crate) fn begin(slot: Arc<ConnectionSlot>, most: usize) -> Option<Self> {
        let begun = slot.streams.fetch_add(1, Relaxed);
        let stream = Self(slot);
        (begun < most).then_some(stream)
    }

    pub(crate) fn slot(&self) -> &Arc<ConnectionSlot> {
        &self.0
    }
}

impl Drop for StreamOfConnection {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

/// How far a call is, for a server that drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server does not wait for it.
    Unawaited,
    /// The server works on it, or waits for its message.
    Work,
    /// Its answer is ready.
    Answer,
}

/// How many calls of a connection are in flight, how many of them a server that drains waits for, and whether
/// the connection is evicted, in one word: so each call is taken off the total once, by its own end or by the
/// eviction.
///
/// A call is added to the total before it is added here, and is taken off here first. Acquire and
/// release keep that order for other threads, so that the total never falls below zero.
#[derive(Debug, Default)]
struct Calls(AtomicU64);

impl Calls {
    const EVICTED: u64 = 1 << 63;

    /// The bits of each of the three counts. They hold ten times the most that `--max-streams` may be.
    const BITS: u32 = 20;

    /// One call at this stage. Each counts as in flight.
    fn one(stage: Stage) -> u64 {
        match stage {
            Stage::Unawaited => 1,
            Stage::Work => 1 | 1 << Self::BITS,
            Stage::Answer => 1 | 1 << (2 * Self::BITS),
        }
    }

    /// Returns whether the call counts.
    fn begin(&self, stage: Stage) -> bool {
        self.0.fetch_add(Self::one(stage), AcqRel) & Self::EVICTED == 0
    }

    /// A call that was worked on has its answer.
    fn answer(&self) {
        let step = Self::one(Stage::Answer) - Self::one(Stage::Work);
        self.0.fetch_add(step, AcqRel);
    }

    /// Returns whether the call counted up to now.
    fn end(&self, stage: Stage) -> bool {
        self.0.fetch_sub(Self::one(stage), AcqRel) & Self::EVICTED == 0
    }

    /// Returns how many calls counted up to now.
    fn end_all(&self) -> usize {
        let before = self.0.fetch_or(Self::EVICTED, AcqRel);
        if before & Self::EVICTED == 0 {
            Self::lowest(before)
        } else {
            0
        }
    }

    fn are_ended(&self) -> bool {
        self.0.load(Acquire) & Self::EVICTED != 0
    }

    fn count(&self) -> usize {
        Self::lowest(self.0.load(Relaxed))
    }

    /// How many calls are worked on, and of how many the answer is ready.
    fn awaited(&self) -> (usize, usize) {
        let word = self.0.load(Acquire);
        let count = |place| Self::lowest(word >> (place * Self::BITS));
        (count(1), count(2))
    }

    fn lowest(word: u64) -> usize {
        let count = word & ((1 << Self::BITS) - 1);
        usize::try_from(count).expect("20 bits")
    }
}
