//! The load of everything that the store has into a new keyring.
//!
//! Promises a keyring as of one moment, and while a load takes long, a line in the log every two seconds
//! that says how far it is. Must never touch the keyring that is in use.

use super::{believed_domain::believed, vouching::refuse_restored};
use crate::{
    authorize::keyring::{Filling, Keyring},
    store::{Batch, ChangeFeed, Position, Store, StoreError, batches},
};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    task::{spawn_blocking, yield_now},
    time::{MissedTickBehavior, interval_at},
};
use tokio_util::task::AbortOnDropHandle;

/// How often the log says how far a load is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// The same, at the start. The store may have been restored since it was opened, and then this memory vouches for nothing.
pub(super) async fn load_first(store: &Store) -> Result<(Keyring, Position), StoreError> {
    let loaded = load(&*store.changes).await?;
    refuse_restored(store).await?;
    Ok(loaded)
}

/// Loads everything, and gives the moment to which it belongs.
pub async fn load(changes: &dyn ChangeFeed) -> Result<(Keyring, Position), StoreError> {
    let started = Instant::now();
    let progress = Arc::new(Progress::default());
    let (keyring, position) = tokio::select! {
        loaded = read_and_fill(changes, progress.clone()) => loaded?,
        never = progress.log_now_and_then() => match never {},
    };
    tracing::info!(
        keys = keyring.key_count(),
        domains = keyring.read().verified_domain_count(),
        revision = position.revision.number(),
        elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "keyring loaded"
    );
    Ok((keyring, position))
}

/// The store reads in this task, while another one fills the keyring.
async fn read_and_fill(
    changes: &dyn ChangeFeed,
    progress: Arc<Progress>,
) -> Result<(Keyring, Position), StoreError> {
    let (sender, batches) = batches();
    let filling = AbortOnDropHandle::new(tokio::spawn(fill(batches, progress)));
    // When the load ends, it drops the sender, and with it the other task ends too.
    let (position, filling) = tokio::join!(changes.load(sender), filling);
    let filling = filling.expect(NO_PANIC);
    let position = position?;
    let keyring = aside(|| filling.into_keyring()).await;
    Ok((keyring, position))
}

async fn fill(mut batches: mpsc::Receiver<Batch>, progress: Arc<Progress>) -> Filling {
    let mut filling = Filling::default();
    while let Some(batch) = batches.recv().await {
        match batch {
            Batch::KeyEstimate(keys) => progress.estimate.store(keys, Relaxed),
            Batch::Keys(keys) => keys.iter().for_each(|key| filling.add_key(&key)),
            Batch::Uses(uses) => {
                if !filling.finds_keys_by_id() {
                    filling = aside(move || filling.with_keys_by_id()).await;
                }
                for (key_id, time) in uses {
                    filling.set_stored(key_id, time);
                }
            }
            Batch::Domains(domains) => {
                for domain in &domains {
                    filling.add_domain(&believed(domain));
                }
            }
            Batch::Accounts(accounts) => {
                for account in &accounts {
                    filling.add_account(account);
                }
            }
        }
        progress.keys.store(filling.key_count() as u64, Relaxed);
        // So that health checks are answered on a single core too.
        yield_now().await;
    }
    filling
}

/// Does what takes long where it holds up no task.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect(NO_PANIC)
}

const NO_PANIC: &str = "a keyring panics only when it is full";

/// How far a load is.
#[derive(Default)]
struct Progress {
    keys: AtomicU64,
    /// About how many keys there are. 0 if nobody knows.
    estimate: AtomicU64,
}

impl Progress {
    async fn log_now_and_then(&self) -> Infallible {
        let first = tokio::time::Instant::now() + PROGRESS_INTERVAL;
        let mut ticks = interval_at(first, PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut keys_before, mut before) = (0, Instant::now());
        loop {
            ticks.tick().await;
            let (keys, now) = (self.keys.load(Relaxed), Instant::now());
            tracing::info!(
                keys,
                keys_per_second = a_second(keys - keys_before, now - before),
                percent = percent(keys, self.estimate.load(Relaxed)),
                "loading the keys"
            );
            (keys_before, before) = (keys, now);
        }
    }
}

fn a_second(count: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis().max(1);
    u64::try_from(u128::from(count) * 1000 / millis).unwrap_or(u64::MAX)
}

/// None if the estimate is missing, or was too low.
fn percent(keys: u64, estimate: u64) -> Option<u64> {
    let percent = (u128::from(keys) * 100).checked_div(u128::from(estimate))?;
    u64::try_from(percent)
        .ok()
        .filter(|&percent| percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{BatchSender, ChangePage, Progress, ReplicationError};
    use async_trait::async_trait;
    use std::sync::Mutex;
    use tokio::{sync::oneshot, time::timeout};

    /// A store that reads on a thread of its own, as SQLite does, and comes to no end.
    struct Endless(Mutex<Option<oneshot::Sender<()>>>);

    #[async_trait]
    impl ChangeFeed for Endless {
        async fn load(&self, batches: BatchSender) -> Result<Position, StoreError> {
            let ended = self
                .0
                .lock()
                .expect("whole")
                .take()
                .expect("the first load");
            let reading = spawn_blocking(move || {
                while batches.blocking_send(Batch::Accounts(Vec::new())).is_ok() {}
                ended.send(())
            });
            _ = reading.await;
            Ok(Position::START)
        }

        async fn changes(&self, _: Progress, _: usize) -> Result<ChangePage, ReplicationError> {
            unreachable!("it is only loaded")
        }
    }

    #[tokio::test]
    async fn a_load_for_which_nobody_waits_any_more_ends() {
        let (sender, ended) = oneshot::channel();
        let store = Endless(Mutex::new(Some(sender)));
        let given_up = timeout(Duration::from_millis(50), load(&store)).await;
        assert!(given_up.is_err(), "it comes to no end");
        let ended = timeout(Duration::from_secs(20), ended).await;
        ended.expect("in time").expect("the store reads no more");
    }

    #[test]
    fn the_share_is_left_out_without_an_estimate_and_with_one_that_was_too_low() {
        for (keys, estimate, expected) in [
            (0, 0, None),
            (7, 0, None),
            (0, 7, Some(0)),
            (999, 1000, Some(99)),
            (1000, 1000, Some(100)),
            (1011, 1000, None),
            (u64::MAX, 1, None),
            (1, u64::MAX, Some(0)),
        ] {
            assert_eq!(percent(keys, estimate), expected, "{keys} of {estimate}");
        }
    }

    #[test]
    fn the_rate_is_that_of_a_second() {
        assert_eq!(a_second(3_000_000, Duration::from_millis(1500)), 2_000_000);
        assert_eq!(a_second(5, Duration::ZERO), 5000);
    }
}
