//! The turns of admin calls at the store: how many of them it works for at once.
//!
//! Owns the division of the store's connections. Promises that calls which must always get through,
//! those that take rights away and those of admins of all accounts, find some that no other call may use.
//! Slots alone do not see to that: there are many more slots than connections.
//! Must never be held by a call that waits for anything but the store.

use super::Caller;
use crate::model::{account::Accounts, audit_record::AdminMethod};
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// The turns of one process.
#[derive(Debug)]
pub(crate) struct StoreTurns {
    /// For calls with neither reason to use what is kept: half of the connections.
    without_reason: Semaphore,
    /// For all calls but those with both reasons: three quarters.
    without_both: Semaphore,
    waiting: AtomicUsize,
    wait_limit: Duration,
}

/// A call's turn, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct StoreTurn<'a> {
    _permits: [Option<SemaphorePermit<'a>>; 2],
}

/// A call got no turn in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "no connection came free within {}; those that the call may use are all in use",
    humantime::format_duration(*.0)
)]
pub(crate) struct NoTurn(Duration);

impl StoreTurns {
    /// Divides so many connections, of which a quarter is kept for each reason.
    #[must_use]
    pub(crate) fn new(connections: usize, wait_limit: Duration) -> Self {
        let quarter = (connections / 4).max(1);
        let all_but = |kept| Semaphore::new(connections.saturating_sub(kept).max(1));
        Self {
            without_reason: all_but(2 * quarter),
            without_both: all_but(quarter),
            waiting: AtomicUsize::new(0),
            wait_limit,
        }
    }

    /// Waits for a call's turn.
    pub(crate) async fn take(
        &self,
        caller: &Caller,
        method: AdminMethod,
    ) -> Result<StoreTurn<'_>, NoTurn> {
        let takes_rights_away = method.takes_rights_away();
        let has_all_accounts = caller.accounts == Accounts::All;
        let without_reason =
            (!takes_rights_away && !has_all_accounts).then_some(&self.without_reason);
        let without_both = (!takes_rights_away || !has_all_accounts).then_some(&self.without_both);

        let _waiting = Waiting::count(&self.waiting);
        let permits = async {
            // In this order, so that calls with one reason wait behind few without any.
            [enter(without_reason).await, enter(without_both).await]
        };
        let permits = timeout(self.wait_limit, permits).await;
        let permits = permits.map_err(|_| NoTurn(self.wait_limit))?;
        Ok(StoreTurn { _permits: permits })
    }

    /// How many calls wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }
}

async fn enter(gate: Option<&Semaphore>) -> Option<SemaphorePermit<'_>> {
    Some(gate?.acquire().await.expect("nothing closes it"))
}

/// Counts one more for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{callers::Role, model::caller_name::CallerName};
    use AdminMethod::{Create, List, Revoke};
    use futures::FutureExt;
    use std::sync::Arc;

    fn admin(accounts: Accounts) -> Caller {
        Caller {
            name: CallerName::parse("admin").expect("valid"),
            role: Role::Admin,
            accounts,
        }
    }

    const MANY: usize = 20;

    /// Takes turns until one more would have to wait, or there are many, and gives their number.
    fn take_all<'a>(
        turns: &'a StoreTurns,
        held: &mut Vec<StoreTurn<'a>>,
        caller: &Caller,
        method: AdminMethod,
    ) -> usize {
        let taken = std::iter::from_fn(|| turns.take(caller, method).now_or_never());
        let before = held.len();
        held.extend(taken.take(MANY).map(|turn| turn.expect("in time")));
        held.len() - before
    }

    #[tokio::test]
    async fn each_reason_finds_turns_that_calls_without_it_cannot_take() {
        let (limited, operator) = (admin(Accounts::Only(Arc::new([]))), admin(Accounts::All));
        for (connections, ordinary, kept) in [(1, 1, 0), (2, 1, 0), (3, 1, 1), (4, 2, 1), (8, 4, 2)]
        {
            let turns = StoreTurns::new(connections, Duration::from_secs(3));
            let mut held = Vec::new();
            let mut take = |caller, method| take_all(&turns, &mut held, caller, method);
            assert_eq!(take(&limited, Create), ordinary);
            assert_eq!(take(&limited, List), 0);
            assert_eq!(take(&limited, Revoke), kept);
            assert_eq!(take(&operator, List), 0);
            assert_eq!(take(&operator, Revoke), MANY);
            assert_eq!(turns.waiting(), 0);
            held.clear();

            assert_eq!(take_all(&turns, &mut held, &limited, List), ordinary);
            assert_eq!(take_all(&turns, &mut held, &operator, List), kept);
        }
    }

    #[tokio::test]
    async fn a_call_waits_for_its_turn_for_a_limited_time() {
        let (limited, limit) = (
            admin(Accounts::Only(Arc::new([]))),
            Duration::from_millis(20),
        );
        let turns = StoreTurns::new(1, limit);
        let held = turns.take(&limited, List).await.expect("the first");
        let refused = turns.take(&limited, List).await.expect_err("the second");
        assert_eq!(
            refused.to_string(),
            "no connection came free within 20ms; those that the call may use are all in use"
        );
        drop(held);
        turns.take(&limited, List).await.expect("the next");
    }
}
