//! The task that lets old keys go: from the store, if that is asked for, and from memory.
//!
//! A key that was revoked, or has expired, is denied. When it is gone, its token is unknown, and denied too.
//! So it does not matter when a replica forgets it. Each asks the store now and then which of the keys that
//! it denies are gone, whichever replica had them deleted.
//!
//! Must never hold up a call: each step is small, and is followed by a pause that is as long.

use super::acknowledgement::Acknowledgements;
use crate::{
    authorize::keyring::{DeniedKey, KeyNumber, Keyring},
    model::{
        key::KeyId,
        time::{Moment, Timestamp},
    },
    observe::repeated_line::RepeatedLine,
    store::{Agreed, Old, OldWrites, RetentionStore, Revision, StoreError},
};
use humantime::{format_duration, format_rfc3339_seconds};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use uuid::Uuid;

/// How often old keys are looked for.
const PERIOD: Duration = Duration::from_secs(3600);

/// When they are first looked for, after the start.
const FIRST: Duration = Duration::from_secs(60);

/// How many keys the store is asked about at a time.
const ASK_LEN: usize = 1000;

/// Lets old keys go.
pub struct Retention<'a> {
    /// The memory that they leave.
    pub keyring: &'a Arc<Keyring>,
    /// The store that they leave.
    pub store: &'a dyn RetentionStore,
    /// How far memory has got.
    pub acknowledgements: &'a Acknowledgements,
    /// How long a key is kept after it was revoked or has expired. `None`: for ever.
    pub limit: Option<Duration>,
}

impl Retention<'_> {
    /// Lets old keys go forever.
    pub async fn run(&self) {
        static FAILED: RepeatedLine = RepeatedLine::new();
        let mut ticks = interval_at(tokio::time::Instant::now() + FIRST, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            ticks.tick().await;
            let looked = Moment::now();
            let passed = last.map_or(Duration::ZERO, |last| looked.since(last));
            last = Some(looked);
            if let Err(error) = self.let_go(Timestamp::now(), passed).await
                && let Some(left_out) = FAILED.admit(Instant::now())
            {
                tracing::warn!(
                    left_out,
                    "cannot let old keys go, and will try again: {error}"
                );
            }
        }
    }

    /// Lets all go that is old at a time. `passed` is the time since this was last done, by the monotonic clock.
    pub async fn let_go(&self, now: Timestamp, passed: Duration) -> Result<(), StoreError> {
        if let Some(limit) = self.limit {
            match self.store.agreed_time(now, passed).await? {
                Agreed::Time(now) => self.let_go_from_store(now, limit).await?,
                Agreed::NotYet { left, jumped_from } => report_doubt(now, left, jumped_from),
            }
        }
        self.let_go_from_memory(now).await
    }

    async fn let_go_from_store(&self, now: Timestamp, limit: Duration) -> Result<(), StoreError> {
        let old = Old {
            before: now.saturating_sub(limit),
            now,
            applied: self.acknowledgements.own_applied(),
        };
        let mut found = OldWrites {
            until: Revision::ZERO,
            more: true,
        };
        while found.more {
            found = paced(self.store.raise_history_start(&old, found.until)).await?;
        }
        let until = found.until;
        let (mut keys, mut writes) = (0, 0);
        let mut next = Some(KeyId::from_uuid(Uuid::nil()));
        while let Some(after) = next {
            let forgotten = paced(self.store.forget_keys(&old, until, after)).await?;
            keys += forgotten.count;
            next = forgotten.last;
        }
        let mut next = Some(Revision::ZERO);
        while let Some(after) = next {
            let forgotten = paced(self.store.forget_writes(&old, until, after)).await?;
            writes += forgotten.count;
            next = forgotten.last;
        }
        if keys + writes > 0 {
            tracing::info!(
                keys,
                writes,
                "let go what was kept for as long as --retention says"
            );
        }
        Ok(())
    }

    async fn let_go_from_memory(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut next = Some(KeyNumber::FIRST);
        while let Some(from) = next {
            let (denied, after) = self.keyring.denied_keys(now, from, ASK_LEN);
            next = after;
            let ids: Vec<_> = denied.iter().map(DeniedKey::id).collect();
            if ids.is_empty() {
                continue;
            }
            let missing = paced(self.store.missing_keys(&ids)).await?;
            let missing: HashSet<_> = missing.into_iter().collect();
            for key in denied {
                if missing.contains(&key.id()) {
                    self.keyring.forget(key);
                }
            }
        }
        if self.keyring.has_garbage() {
            let keyring = self.keyring.clone();
            let compacted = tokio::task::spawn_blocking(move || keyring.compact());
            compacted.await.expect("compacting does not panic");
        }
        Ok(())
    }
}

fn report_doubt(now: Timestamp, left: Duration, jumped_from: Option<Timestamp>) {
    let left = format_duration(Duration::from_secs(left.as_secs()));
    let shown = |time: Timestamp| format_rfc3339_seconds(time.to_system_time());
    if let Some(last) = jumped_from {
        tracing::warn!(
            now = %shown(now),
            last = %shown(last),
            "the clock has jumped since old keys were last looked for, or the service did not run meanwhile. No key is \
             let go until the clock has gone on for {left} of running. If it is wrong, put it right before"
        );
    } else {
        tracing::info!(
            now = %shown(now),
            "no key is let go until the clock has gone on without a jump for {left} of running"
        );
    }
}

/// Waits after a step for as long as the step took, so that others have their turn.
async fn paced<T>(step: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = step.await;
    sleep(started.elapsed()).await;
    done
}
