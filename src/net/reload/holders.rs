//! Who does something by a value, while it may change.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};
use tokio::runtime::Handle;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// The holders of the present value, and of each earlier one.
#[derive(Default)]
pub(super) struct Holders(Mutex<State>);

#[derive(Default)]
struct State {
    of_now: TaskTracker,
    of_before: Vec<TaskTracker>,
}

impl Holders {
    /// Counts one more holder of the present value, until the token is dropped.
    pub(super) fn hold(&self) -> TaskTrackerToken {
        self.with_state(|state| state.of_now.token())
    }

    /// Begins a new value: later calls of `hold` count for it. Returns the holders of all earlier values.
    pub(super) fn begin_anew(&self) -> Earlier {
        self.with_state(|state| {
            let last = mem::take(&mut state.of_now);
            last.close();
            state.of_before.push(last);
            state.of_before.retain(|holders| !holders.is_empty());
            Earlier(state.of_before.clone())
        })
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // It is whole at any time: nothing that is done under the lock can panic half way.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Holders of earlier values. There are no new ones.
pub(super) struct Earlier(Vec<TaskTracker>);

impl Earlier {
    /// Does this when they are gone: at once, or on the runtime of this thread.
    pub(super) fn when_gone(self, act: impl FnOnce() + Send + 'static) {
        if self.0.is_empty() {
            return act();
        }
        Handle::current().spawn(async move {
            for holders in self.0 {
                holders.wait().await;
            }
            act();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_must_wait_for_holders_of_earlier_values_waits_for_all_of_them() {
        let holders = Holders::default();
        let first = holders.hold();
        let tell = |earlier: Earlier| {
            let (gone, told) = oneshot::channel();
            earlier.when_gone(move || gone.send(()).expect("it waits"));
            told
        };
        let mut once_changed = tell(holders.begin_anew());
        let second = holders.hold();
        let mut twice_changed = tell(holders.begin_anew());
        let _last = holders.hold();
        drop(second);
        tokio::task::yield_now().await;
        assert!(once_changed.try_recv().is_err() && twice_changed.try_recv().is_err());
        drop(first);
        once_changed.await.expect("told");
        twice_changed.await.expect("told");
        tell(Holders::default().begin_anew())
            .try_recv()
            .expect("at once");
    }
}
