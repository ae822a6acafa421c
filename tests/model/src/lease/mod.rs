//! Owns the model of leases, renewals and waits. It knows of a write only its revision.
//! Promises that a replica that may answer has applied every write that has returned.
//! Must never assume more about clocks, networks or processes than the service does.
//!
//! # What a run is
//!
//! Replicas join, renew, answer Authorize, write, pause, crash and leave in every possible order.
//! A pause needs no step, since no process has to take its next step.
//!
//! A renewal is one step at the database, since the shared form of the writers' lock orders it
//! completely before or completely after any write. Its request and its answer may take any time or
//! be lost, and a request may arrive after its replica gave the renewal up. Between renewals a replica
//! may read and apply changes at any time, which updates its memory and grants no lease.
//!
//! A write is one step too: its commit, with renewals kept out. What it does before that, nobody can see,
//! and no other write comes between. Many writes in one commit are as many steps, with none between. If a
//! write's answer never arrives, the writer never starts to wait. So every wait is for a committed write:
//! the writer's own, or one that a repeated call finds because its first writer crashed. A writer needs no
//! row of its own replica, since it looks into the keyring.
//!
//! Authorize checks the lease and then reads the keyring. The other order is a trap: after a renewal
//! between the two, the lease no longer proves the keyring that was read.
//!
//! # Time
//!
//! The model counts no time, so a run may have any length and any number of renewals. The protocol
//! relies on one fact about clocks: a lease lasts 0.9 of its length on its replica's own clock, and it
//! ends before a wait of the whole length on another clock that started no earlier. If the rates of
//! clocks are wrong by less than 5 %, the lease takes less than 0.9 ÷ 0.95 = 0.947… of its length, and
//! the wait takes more than 1 ÷ 1.05 = 0.952….
//!
//! The model knows only which of a replica's renewals were started (`t0`) before which sighting of the
//! replica was received (`a`). A lease does not end by itself. A wait may end at any step, and then
//! each lease whose `t0` was before the wait's `a` has ended.
//!
//! This covers every real run: a lease that lasts longer only adds answers, a wait that ends sooner only
//! adds returns, and neither removes a step. So all clock rates within the bound are covered, also
//! rates that change.
//!
//! # What makes it finite
//!
//! A [`Scope`] limits the replicas, the writes and the late renewals, and nothing else. Moments and
//! renewals have names instead of values, and states that differ only in names are equal (see
//! `canonical`). The checker compares 64-bit hashes of states: among two million states, the chance
//! that two have the same hash is about one in ten million.
//!
//! # What is left out
//!
//! What the writes have changed, and a database that loses commits: see [`contents`](crate::contents).
//! A clock that stops or whose rate is wrong by 5 % or more.

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

/// The longest lease, used ÷ (1 − error), ends before the shortest wait, waited ÷ (1 + error).
const _: () = assert!(
    USED_BY_REPLICA * (100 + RATE_ERROR) < WAITED_BY_WRITER * (100 - RATE_ERROR),
    "a wait may end before the lease that it waits for"
);

/// The protocol, or the protocol with one mistake (a trap).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The protocol.
    Correct,
    /// A renewal's answer is acknowledged by the next renewal, and applied when there is time.
    AcknowledgeBeforeApplying,
    /// The deadline is counted from the arrival of the answer.
    DeadlineFromReply,
    /// A renewal takes no lock: it reads, a write commits, its writer looks, the renewal commits.
    GrantOutsideLock,
    /// A renewal takes the lock in the statement that reads, so its snapshot is older than its wait for
    /// the lock.
    LockAndReadInOneStatement,
    /// The database's clock decides that a lease has lapsed, and that clock may jump. A writer's own
    /// clock that exceeds the bound has the same effect.
    LapseByDatabaseClock,
    /// A wait is counted from the sending of the read instead of its arrival.
    LapseFromAsking,
    /// A row counts its renewals and starts again at one when it is inserted again. To a writer that saw
    /// the row before its deletion, the new lease looks like the old one.
    RenewalsCountedByRow,
    /// Authorize reads the keyring and then checks the lease.
    LeaseReadAfterKeyring,
    /// A write of a group begins to wait when its statement has ended, before the commit of the group.
    /// Until then, renewals that lack the write are granted.
    WaitBeforeCommit,
}

/// What a check covers.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// How many writes are committed.
    pub writes: Revision,
    /// How many of the replicas are also writers. The others only serve and renew.
    pub writers: usize,
    /// Whether a writer's reads of the rows may arrive late. Then it reads only with its renewals and
    /// while it waits. Otherwise it may read at any time, and the read arrives at once. That is the worst
    /// case, since a later `a` only ends more leases before the return.
    pub slow_reads: bool,
    /// Whether a renewal may arrive after its replica gave it up. There is at most one at a time.
    pub late_renewals: bool,
}

/// The protocol among `N` replicas.
#[derive(Debug, Clone, Copy)]
pub struct Protocol<const N: usize> {
    /// The protocol or one of its mistakes.
    pub variant: Variant,
    /// The limits of the check.
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
        // Numbers are names, except in the trap that counts them. There they grow without a bound.
        const ENOUGH: Number = 3;
        let rows = || state.database.rows.iter().flatten();
        self.variant != Variant::RenewalsCountedByRow || rows().all(|row| row.renewals <= ENOUGH)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Self::SAFE, |_, state: &State<N>| {
                state.authorize != Authorize::Contradicted
            }),
            Property::always(Self::LEASES, |_, state: &State<N>| {
                let lacks_write = |replica: &Replica<N>| replica.keyring < state.returned;
                let mut serving = state.replicas.iter().filter(|replica| replica.has_lease());
                !serving.any(lacks_write)
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

    /// What the model of [`contents`](crate::contents) relies on, as a property's name.
    pub const LEASES: &'static str = "a replica with a lease has applied every returned write";

    /// Every write has returned, and every keyring has it. A replica that joins now has it too.
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
