//! Owns the revocation protocol as an explicit-state model, apart from any code that runs it.
//! Promises that every run of real replicas, within a [`Scope`], is a run of the model.
//! Must never assume more of clocks, networks or processes than the service itself does.
//!
//! # What a run is
//!
//! Replicas join, renew, answer Authorize, write, pause, crash and leave in every order there is.
//! A pause needs no step: nothing obliges a process to take its next one.
//!
//! A renewal is one step at the database, since the shared form of the writers' lock sets it wholly
//! before or wholly after any write. It travels there and back as long as it likes; it may be lost
//! on either way, and one that its replica gave up may still arrive. Between renewals a replica may
//! read and apply changes at any time, which brings memory forward and grants nothing.
//!
//! A write is one step too. Its answer may be late for ever, which is a writer that never begins
//! to wait: so whoever waits, waits for a write that is committed, be it its own or one that a call
//! repeats because its first writer died. Of its own replica a writer needs no row: it looks into
//! the keyring.
//!
//! Authorize looks at the lease, and then reads the keyring. The other order is a trap: a renewal
//! between the two covers a look at the keyring as it was before.
//!
//! # Time
//!
//! Nothing is counted, so a run may last as long and hold as many renewals as it likes. The
//! protocol trusts one fact about clocks: a lease, 0.9 of its length on its replica's own clock, is
//! over before a wait of the whole length on another clock that began no earlier. With rates that
//! are off by less than 5 % the lease takes less than 0.9 ÷ 0.95 = 0.947… of its length, and the
//! wait more than 1 ÷ 1.05 = 0.952….
//!
//! The model keeps which of a replica's renewals were begun (`t0`) before which sighting of it was
//! received (`a`), and knows nothing else of time. A lease does not end by itself. A wait ends
//! whenever that suits, and then each lease whose `t0` came before its `a` has ended.
//!
//! No run is lost by that: a lease that lasts longer than it could only adds answers, a wait that
//! ends sooner only adds returns, and neither takes a step away. So clocks of every rate within the
//! bound are covered, also rates that change.
//!
//! # What makes it finite
//!
//! A [`Scope`] bounds replicas, writes and late renewals, and nothing else. Moments and renewals
//! have no values, only names; states that differ in names alone are one (see `canonical`). The
//! checker tells states apart by hashes of 64 bits: among two million, the chance that two share
//! one is about one in ten million.
//!
//! # What is left out
//!
//! A database that loses commits, and a clock that stands still or is off by 5 % or more.

mod canonical;
mod replica;
mod state;
mod step;
mod writer;

pub use state::{Revision, State};
pub use step::Step;

use state::{Authorize, Number, Presence, Replica};
use stateright::{Model, Property};

/// In percent of a lease's length.
const USED_BY_REPLICA: u32 = 90;
const WAITED_BY_WRITER: u32 = 100;
/// In percent of a clock's rate.
const RATE_ERROR: u32 = 5;

/// The longest lease, used ÷ (1 − error), is over before the shortest wait, waited ÷ (1 + error).
const _: () = assert!(
    USED_BY_REPLICA * (100 + RATE_ERROR) < WAITED_BY_WRITER * (100 - RATE_ERROR),
    "a wait may end before the lease that it waits for"
);

/// The protocol, or one way to get it wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The protocol.
    Correct,
    /// A renewal's answer is acknowledged by the next renewal, and applied when there is time.
    AcknowledgeBeforeApplying,
    /// The deadline is counted from when the answer was received.
    DeadlineFromReply,
    /// A renewal takes no lock: it reads, a write commits, its writer looks, the renewal commits.
    GrantOutsideLock,
    /// A renewal takes the lock in the statement that reads: its snapshot is older than its wait
    /// for the lock.
    LockAndReadInOneStatement,
    /// A lapse is judged by the database's clock, which may step. A writer's own clock that is off
    /// by more than the bound does the same harm.
    LapseByDatabaseClock,
    /// A wait counts from when the read was sent, not from when it was received.
    LapseFromAsking,
    /// A row counts its renewals, and begins anew when it is inserted again: to a writer that saw
    /// the row before its deletion, the new lease looks like the old one.
    RenewalsCountedByRow,
    /// Authorize reads the keyring, and only then looks at the lease.
    LeaseReadAfterKeyring,
}

/// What a check covers.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// How many writes are committed.
    pub writes: Revision,
    /// How many replicas, the first ones, are writers too. The others serve and renew alone.
    pub writers: usize,
    /// Whether a writer's reads of the rows may take long to arrive; then it makes them with its
    /// renewals and while it waits. Where not, it reads whenever it likes and sees what it reads at
    /// once: the worst case, for a later `a` only ends more leases before the return.
    pub slow_reads: bool,
    /// Whether a renewal may arrive after its replica gave it up; one at a time.
    pub late_renewals: bool,
}

/// The protocol among `N` replicas.
#[derive(Debug, Clone, Copy)]
pub struct Protocol<const N: usize> {
    /// Which form of it.
    pub variant: Variant,
    /// How far to look.
    pub scope: Scope,
}

impl<const N: usize> Model for Protocol<N> {
    type State = State<N>;
    type Action = Step;

    fn init_states(&self) -> Vec<State<N>> {
        vec![State::new()]
    }

    fn actions(&self, state: &State<N>, steps: &mut Vec<Step>) {
        if self.nothing_left_to_contradict(state) {
            return;
        }
        self.database_steps(state, steps);
        for id in 0..N {
            self.steps_of(state, id, steps);
        }
    }

    fn next_state(&self, last: &State<N>, step: Step) -> Option<State<N>> {
        let mut state = *last;
        self.take(step, &mut state);
        state.make_canonical(self.variant != Variant::RenewalsCountedByRow);
        Some(state)
    }

    fn within_boundary(&self, state: &State<N>) -> bool {
        // Numbers are names, but in the trap that counts: there they grow for ever.
        const ENOUGH: Number = 3;
        let rows = || state.database.rows.iter().flatten();
        self.variant != Variant::RenewalsCountedByRow || rows().all(|row| row.renewals <= ENOUGH)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Self::SAFE, |_, state: &State<N>| {
                state.authorize != Authorize::Contradicted
            }),
            Property::sometimes(
                "all writes return while every replica serves",
                |model: &Self, state: &State<N>| {
                    state.returned == model.scope.writes
                        && state.replicas.iter().all(Replica::has_lease)
                },
            ),
            Property::sometimes(
                "a write returns by the lapse of a crashed replica",
                |_, state: &State<N>| state.returned_by_lapse_of(Presence::Gone),
            ),
            Property::sometimes(
                "a write returns by the lapse of a paused replica",
                |_, state: &State<N>| state.returned_by_lapse_of(Presence::Running),
            ),
        ]
    }
}

impl<const N: usize> Protocol<N> {
    /// The promise, as a property's name.
    pub const SAFE: &'static str = "no Authorize contradicts a write that returned before it began";

    /// Every write has returned and every keyring holds it, also that of any who joins from here.
    fn nothing_left_to_contradict(&self, state: &State<N>) -> bool {
        let all = self.scope.writes;
        let holds_all =
            |replica: &Replica<N>| replica.presence != Presence::Running || replica.keyring == all;
        state.authorize == Authorize::Contradicted
            || state.authorize == Authorize::Idle
                && state.returned == all
                && state.replicas.iter().all(holds_all)
    }
}
