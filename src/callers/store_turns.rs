//! The turns of admin calls at the store: how many of them it works for at once, and whose is next.
//!
//! Owns the division of the store's connections. Promises that calls which must always get through,
//! those that take rights away and those of admins of all accounts, each find some that no other call may
//! use, and that no caller keeps another waiting by the number of its calls. Slots alone do not see to
//! that: there are many more slots than connections.
//! Must never be held by a call that waits for anything but the store.

use super::Caller;
use crate::model::{account::Accounts, caller_name::CallerName};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// What the store does for a call. SQLite has a thread for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreWork {
    /// It makes a write that shares a transaction, and so a connection, with others that wait.
    SharedWrite,
    /// It makes a write that may take a second, in which all other writes wait. This is to be taken before the
    /// turn of a write.
    LongWrite,
    /// It makes another write, or looks at one key in order to make one.
    Write,
    /// It looks at one key.
    LookUp,
    /// It searches or counts, which takes up to some ten milliseconds.
    Search,
}

/// How many writes may wait to share a transaction, or share one: as many as two transactions take. So the next
/// one is full when the one before it ends, and a write waits for few others.
const SHARED_WRITES: usize = 128;

/// How many long writes are made at once. Others that wait for the database have their turn between two of them.
const LONG_WRITES: usize = 1;

/// How many connections writes use for the transactions that they share.
const SHARED_CONNECTIONS: usize = 2;

/// The turns of one process.
#[derive(Debug)]
pub(crate) struct StoreTurns {
    /// In the order of [`StoreWork`]. The last three may be one and the same.
    gates: [Arc<Gate>; 5],
    wait_limit: Duration,
}

/// So many turns, and the calls that wait for one.
#[derive(Debug)]
struct Gate {
    sizes: Parts,
    state: Mutex<State>,
}

/// A number of turns for each part: the one that is open to every call, and those that are kept for calls
/// that take rights away and for admins of all accounts.
type Parts = [usize; PARTS];

const PARTS: usize = 3;

#[derive(Debug, Default)]
struct State {
    taken: Parts,
    /// The callers that have a turn or wait for one.
    callers: HashMap<CallerName, Standing>,
    /// In the order in which they came. The slots of admin calls bound their number.
    waiting: Vec<Waiting>,
    /// The number of the last turn that was given. These numbers are even, so that there is one between two turns
    /// for a caller that has just come.
    last_grant: u64,
}

/// How a caller stands among the others. The lowest is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    turns: usize,
    /// The number of the last turn that it was given. Who has just come stands before the caller that was given
    /// the last turn of all, and behind all that have waited longer. So nobody gains by leaving and coming back.
    last_grant: u64,
}

#[derive(Debug)]
struct Waiting {
    caller: CallerName,
    may_take: [bool; PARTS],
    turn: oneshot::Sender<StoreTurn>,
}

/// A call's turn, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct StoreTurn {
    gate: Arc<Gate>,
    caller: CallerName,
    /// The index of the part that the turn is of.
    part: usize,
}

/// A call got no turn in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "no connection came free within {}; those that the call may use are all in use",
    humantime::format_duration(*.0)
)]
pub(crate) struct NoTurn(Duration);

impl StoreTurns {
    /// Divides so many connections, each of which does any work. If there are several, one of them is left to
    /// the audit records, and if there are many, some to the writes that share transactions.
    #[must_use]
    pub(crate) fn of_connections(connections: usize, wait_limit: Duration) -> Self {
        let connections = connections.saturating_sub(1);
        let others = connections.saturating_sub(SHARED_CONNECTIONS);
        let others = if others < PARTS { connections } else { others };
        let gate = Gate::new(others.max(1));
        Self {
            gates: [
                Gate::new(SHARED_WRITES),
                Gate::new(LONG_WRITES),
                gate.clone(),
                gate.clone(),
                gate,
            ],
            wait_limit,
        }
    }

    /// Gives each kind of work so many turns of its own, but for writes that share transactions.
    #[must_use]
    pub(crate) fn of_threads(turns: usize, wait_limit: Duration) -> Self {
        Self {
            gates: [SHARED_WRITES, LONG_WRITES, turns, turns, turns].map(Gate::new),
            wait_limit,
        }
    }

    /// Waits for a call's turn.
    pub(crate) async fn take(
        &self,
        caller: &Caller,
        takes_rights_away: bool,
        work: StoreWork,
    ) -> Result<StoreTurn, NoTurn> {
        let gate = &self.gates[work as usize];
        let may_take = [true, takes_rights_away, caller.accounts == Accounts::All];
        let turn = gate.enter(caller.name.clone(), may_take);
        let turn = timeout(self.wait_limit, turn).await;
        let turn = turn.map_err(|_| NoTurn(self.wait_limit))?;
        Ok(turn.expect("it is given before the gate forgets the call"))
    }

    /// How many calls wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        let [shared, long, write, look_up, search] = &self.gates;
        let others = if Arc::ptr_eq(write, look_up) {
            0
        } else {
            look_up.waiting() + search.waiting()
        };
        shared.waiting() + long.waiting() + write.waiting() + others
    }
}

/// Some quarter of the turns for each part but the first.
fn sizes(turns: usize) -> Parts {
    // Fewer than three cannot be divided.
    let quarter = if turns < 3 {
        0
    } else {
        turns.div_ceil(4).min(turns / 3)
    };
    [turns.max(1) - 2 * quarter, quarter, quarter]
}

impl Gate {
    fn new(turns: usize) -> Arc<Self> {
        Arc::new(Self {
            sizes: sizes(turns),
            state: Mutex::default(),
        })
    }

    fn enter(
        self: &Arc<Self>,
        caller: CallerName,
        may_take: [bool; PARTS],
    ) -> oneshot::Receiver<StoreTurn> {
        let (turn, given) = oneshot::channel();
        let mut state = self.lock();
        let newcomer = Standing {
            turns: 0,
            last_grant: state.last_grant.saturating_sub(1),
        };
        state.callers.entry(caller.clone()).or_insert(newcomer);
        state.waiting.push(Waiting {
            caller,
            may_take,
            turn,
        });
        self.give_turns(state);
        given
    }

    /// Gives what is free to those who wait: each time to the caller with the fewest turns, among those to
    /// the one that got its last turn first, and there to the call that came first.
    fn give_turns(self: &Arc<Self>, mut locked: MutexGuard<'_, State>) {
        let mut given = Vec::new();
        let state = &mut *locked;
        state.waiting.retain(|waiting| !waiting.turn.is_closed());
        while let Some((index, part)) = self.next(state) {
            let waiting = state.waiting.remove(index);
            let standing = state.callers.get_mut(&waiting.caller);
            let standing = standing.expect("each caller that waits has a standing");
            state.last_grant += 2;
            state.taken[part] += 1;
            standing.turns += 1;
            standing.last_grant = state.last_grant;
            let turn = StoreTurn {
                gate: self.clone(),
                caller: waiting.caller,
                part,
            };
            given.push((waiting.turn, turn));
        }
        let State {
            callers, waiting, ..
        } = state;
        callers.retain(|name, standing| {
            standing.turns > 0 || waiting.iter().any(|waiting| waiting.caller == *name)
        });
        drop(locked);
        for (waiting, turn) in given {
            // If nobody waits any more, the turn is dropped here, and given to the next.
            let _ = waiting.send(turn);
        }
    }

    /// The call whose turn it is, if there is a free one that it may take, and the part of that.
    fn next(&self, state: &State) -> Option<(usize, usize)> {
        let free_part = |waiting: &Waiting| {
            (0..self.sizes.len())
                .find(|part| waiting.may_take[*part] && state.taken[*part] < self.sizes[*part])
        };
        let waiting = state.waiting.iter().enumerate();
        let able = waiting.filter_map(|(index, waiting)| Some((index, free_part(waiting)?)));
        able.min_by_key(|(index, _)| {
            let caller = &state.waiting[*index].caller;
            (state.callers.get(caller).copied(), *index)
        })
    }

    fn waiting(&self) -> usize {
        let state = self.lock();
        let waiting = state.waiting.iter();
        waiting.filter(|waiting| !waiting.turn.is_closed()).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The counts are right at any time: nothing that is done under the lock can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StoreTurn {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.taken[self.part] -= 1;
        if let Some(standing) = state.callers.get_mut(&self.caller) {
            standing.turns -= 1;
        }
        self.gate.give_turns(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{callers::Role, model::audit_record::AdminMethod};
    use AdminMethod::{Create, List, Revoke};
    use StoreWork::{LookUp, Search, SharedWrite, Write};
    use futures::FutureExt;

    fn admin(name: &str, accounts: Accounts) -> Caller {
        Caller {
            name: CallerName::parse(name).expect("valid"),
            role: Role::Admin,
            accounts,
        }
    }

    fn limited(name: &str) -> Caller {
        admin(name, Accounts::Only(Arc::new([])))
    }

    const MANY: usize = 20;
    const LIMIT: Duration = Duration::from_secs(3);

    /// Takes turns until one more would have to wait, or there are many, and gives their number.
    fn take_all(
        turns: &StoreTurns,
        held: &mut Vec<StoreTurn>,
        caller: &Caller,
        method: AdminMethod,
    ) -> usize {
        let taken = std::iter::from_fn(|| {
            turns
                .take(caller, method.takes_rights_away(), Write)
                .now_or_never()
        });
        let before = held.len();
        held.extend(taken.take(MANY).map(|turn| turn.expect("in time")));
        held.len() - before
    }

    #[tokio::test]
    async fn each_reason_finds_turns_that_no_other_call_can_take() {
        let (limited, operator) = (limited("limited"), admin("operator", Accounts::All));
        for (connections, shared, kept) in [
            (1, 1, 0),
            (2, 1, 0),
            (3, 2, 0),
            (4, 1, 1),
            (5, 2, 1),
            (6, 1, 1),
            (8, 3, 1),
            (11, 4, 2),
        ] {
            let turns = StoreTurns::of_connections(connections, LIMIT);
            for first in [Create, Revoke] {
                let mut held = Vec::new();
                let mut take = |caller, method| take_all(&turns, &mut held, caller, method);
                let expected = if first == Revoke {
                    shared + kept
                } else {
                    shared
                };
                assert_eq!(take(&limited, first), expected);
                assert_eq!(take(&limited, Create), 0);
                assert_eq!(take(&operator, List), kept);
                assert_eq!(take(&limited, Revoke), shared + kept - expected);
                assert_eq!(take(&operator, Revoke), 0);
                assert_eq!(turns.waiting(), 0);
            }
            let mut held = Vec::new();
            assert_eq!(take_all(&turns, &mut held, &operator, List), shared + kept);
            assert_eq!(take_all(&turns, &mut held, &limited, Revoke), kept);
        }
    }

    #[tokio::test]
    async fn callers_take_turns_however_many_calls_each_has() {
        let turns = StoreTurns::of_connections(1, LIMIT);
        let (many, few) = (limited("many"), limited("few"));
        let mut now = turns
            .take(&many, List.takes_rights_away(), Search)
            .await
            .expect("the first");
        let order = Mutex::new(Vec::new());
        let call = |caller: &'static str| {
            let (turns, order, caller) = (&turns, &order, limited(caller));
            async move {
                let turn = turns
                    .take(&caller, List.takes_rights_away(), Search)
                    .await
                    .expect("in time");
                order.lock().expect("whole").push(caller.name.clone());
                turn
            }
        };
        let calls = ["many", "many", "many", "few", "few"].map(|caller| Box::pin(call(caller)));
        let mut calls: Vec<_> = calls.into_iter().collect();
        assert!(calls.iter_mut().all(|call| call.now_or_never().is_none()));
        assert_eq!(turns.waiting(), 5);
        while !calls.is_empty() {
            drop(now);
            let (turn, _, rest) = futures::future::select_all(calls).await;
            (now, calls) = (turn, rest);
        }
        let order = order.lock().expect("whole");
        let (many, few) = (&many.name, &few.name);
        assert_eq!(
            order.iter().collect::<Vec<_>>(),
            [few, many, few, many, many]
        );
    }

    #[tokio::test]
    async fn callers_that_leave_and_come_back_do_not_overtake_one_that_waits() {
        let turns = StoreTurns::of_connections(1, LIMIT);
        let take = |caller: &'static str| {
            let turns = &turns;
            Box::pin(async move { turns.take(&limited(caller), false, Search).await })
        };
        let mut now = take("waits").await.expect("the first");
        // It has had a turn, and waits for the next one.
        let mut waits = take("waits");
        assert!((&mut waits).now_or_never().is_none());
        let mut given = 0;
        for _ in 0..3 {
            for caller in ["one", "another"] {
                let mut comes = take(caller);
                assert!((&mut comes).now_or_never().is_none());
                drop(now);
                if let Some(turn) = (&mut waits).now_or_never() {
                    assert!(given <= 1, "{given} came before it");
                    return drop(turn);
                }
                now = comes.await.expect("in time");
                given += 1;
            }
        }
        panic!("it is never its turn");
    }

    #[tokio::test]
    async fn work_of_one_kind_waits_for_none_of_another_kind_if_each_has_a_thread() {
        let turns = StoreTurns::of_threads(1, LIMIT);
        let limited = limited("limited");
        let mut held = Vec::new();
        for work in [Write, LookUp, Search] {
            held.push(
                turns
                    .take(&limited, List.takes_rights_away(), work)
                    .now_or_never(),
            );
        }
        assert!(held.iter().all(Option::is_some));
        let next = turns.take(&limited, List.takes_rights_away(), Search);
        assert!(next.now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_write_that_shares_a_transaction_waits_for_no_other_work() {
        let turns = StoreTurns::of_connections(1, LIMIT);
        let limited = limited("limited");
        let _held = turns
            .take(&limited, false, Search)
            .await
            .expect("the only one");
        let shared = turns.take(&limited, false, SharedWrite).now_or_never();
        shared.expect("at once").expect("in time");
    }

    #[tokio::test]
    async fn a_call_waits_for_its_turn_for_a_limited_time() {
        let (limited, limit) = (limited("limited"), Duration::from_millis(20));
        let turns = StoreTurns::of_connections(1, limit);
        let held = turns
            .take(&limited, List.takes_rights_away(), Search)
            .await
            .expect("the first");
        let refused = turns.take(&limited, List.takes_rights_away(), Search).await;
        assert_eq!(
            refused.expect_err("the second").to_string(),
            "no connection came free within 20ms; those that the call may use are all in use"
        );
        assert_eq!(turns.waiting(), 0);
        drop(held);
        let next = turns
            .take(&limited, List.takes_rights_away(), Search)
            .await
            .expect("the next");
        drop(next);
        assert!(turns.gates[Search as usize].lock().callers.is_empty());
    }
}
