//! Owns the audit records of calls that wrote nothing: reads, and calls that were refused.
//! Promises that a refused call is on record at least once when it is answered, or counted in a later
//! record, or, when this process dies first, in the log alone; and that no caller can flood the store.
//! Must never let a refused call wait for a store in trouble.

use crate::{
    model::{
        audit_record::{AdminMethod, AuditRecord, Outcome},
        caller_name::CallerName,
        time::Timestamp,
    },
    store::AuditLog,
};
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};

/// Records that may wait to be stored. The admin calls in flight are fewer by default; past it Lists
/// are not answered, and refusals are counted.
const QUEUE_LEN: usize = 1024;

/// Records stored at a time, as one write.
const BATCH_LEN: usize = 256;

/// How long a refused call waits for its record. Milliseconds do as a rule.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// Refused calls of one caller that are recorded one by one, when none came for long.
const ALLOWANCE: u32 = 100;

/// How often one more may be. With the counted ones that is some 17 thousand records a day of a
/// caller that hammers one replica: two or three megabytes.
const ALLOWANCE_INTERVAL: Duration = Duration::from_secs(10);

/// How often those are stored that stand for several calls.
const TALLY_INTERVAL: Duration = Duration::from_secs(10);

/// Callers with an allowance that is not full, past which the full ones are forgotten.
const MANY_CALLERS: usize = 1000;

/// Stores the records of calls that wrote nothing.
pub struct Recorder {
    queue: mpsc::Sender<Job>,
    tally: Arc<Tally>,
    allowances: Mutex<Allowances>,
}

enum Job {
    Store(Entry),
    /// To say when everything before it is stored, and what was counted too.
    Settle(oneshot::Sender<()>),
}

/// Tells whether a record was stored.
pub(crate) type Stored = oneshot::Receiver<Result<(), NotRecorded>>;

/// A record to be stored.
struct Entry {
    record: AuditRecord,
    /// For who waits, if somebody still does.
    done: oneshot::Sender<Result<(), NotRecorded>>,
}

/// The store did not take a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call could not be recorded")]
pub struct NotRecorded;

impl Recorder {
    /// Records in this store, in a task that ends when the recorder is dropped. Call it on a tokio
    /// runtime.
    #[must_use]
    pub fn new(store: Arc<dyn AuditLog>) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_LEN);
        let tally = Arc::new(Tally {
            store,
            counts: Mutex::default(),
        });
        tokio::spawn(store_for_ever(jobs, tally.clone()));
        Self {
            queue,
            tally,
            allowances: Mutex::default(),
        }
    }

    /// Records a call that was let through. It may be answered only once this has returned well.
    pub async fn allowed(&self, record: &AuditRecord) -> Result<(), NotRecorded> {
        match self.queue(record) {
            Some(stored) => stored.await.unwrap_or(Err(NotRecorded)),
            None => Err(NotRecorded),
        }
    }

    /// Records a call that was refused, and waits a while for that.
    pub async fn refused(&self, record: &AuditRecord) {
        if let Some(stored) = self.ended(record) {
            // If it is not stored in time, or not at all, the caller is refused all the same.
            let _ = timeout(REFUSAL_PATIENCE, stored).await;
        }
    }

    /// Records a call that was refused or given up: by itself as far as the caller's allowance goes,
    /// and otherwise by counting it.
    pub(crate) fn ended(&self, record: &AuditRecord) -> Option<Stored> {
        let may = lock(&self.allowances).take_from(&record.caller, Instant::now());
        if may {
            return self.queue(record);
        }
        self.counted(record);
        None
    }

    /// Queues a record, whether or not somebody waits for it to be stored; counts it if there is no
    /// room.
    fn queue(&self, record: &AuditRecord) -> Option<Stored> {
        let Ok(place) = self.queue.try_reserve() else {
            self.tally.add_lost(record);
            return None;
        };
        let (done, stored) = oneshot::channel();
        place.send(Job::Store(Entry {
            record: record.clone(),
            done,
        }));
        Some(stored)
    }

    /// Records a call at leisure, in one record with others that ended alike: one that the store's
    /// own trouble ended, or one of too many.
    pub fn counted(&self, record: &AuditRecord) {
        self.tally.add(record);
    }

    /// Stores what waits or has been counted, for a process that is about to end.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.queue.send(Job::Settle(done)).await.is_ok() {
            let _ = settled.await;
        }
    }
}

/// Stores all that waits together, again and again: however many calls there are, they cost the
/// store one write at a time.
async fn store_for_ever(mut queue: mpsc::Receiver<Job>, tally: Arc<Tally>) {
    let mut time_to_count = interval(TALLY_INTERVAL);
    time_to_count.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut jobs = Vec::with_capacity(BATCH_LEN);
    loop {
        tokio::select! {
            received = queue.recv_many(&mut jobs, BATCH_LEN) => {
                if received == 0 {
                    return;
                }
                do_together(jobs.drain(..), &tally).await;
            }
            _ = time_to_count.tick() => tally.store().await,
        }
    }
}

async fn do_together(jobs: impl Iterator<Item = Job>, tally: &Tally) {
    let (mut entries, mut settled) = (Vec::new(), Vec::new());
    for job in jobs {
        match job {
            Job::Store(entry) => entries.push(entry),
            Job::Settle(done) => settled.push(done),
        }
    }
    if !entries.is_empty() {
        store_together(entries, tally).await;
    }
    if !settled.is_empty() {
        tally.store().await;
    }
    for done in settled {
        // Whoever ends the process may have lost patience.
        let _ = done.send(());
    }
}

async fn store_together(entries: Vec<Entry>, tally: &Tally) {
    let records: Vec<_> = entries.iter().map(|entry| entry.record.clone()).collect();
    let stored = tally.store.append_records(&records).await;
    if let Err(error) = &stored {
        tracing::warn!(
            records = records.len(),
            "cannot store audit records: {error}"
        );
    }
    for entry in entries {
        if stored.is_err() {
            // It may be stored all the same, if the connection broke: rather twice than never.
            tally.add_lost(&entry.record);
        }
        // The caller may have gone.
        let _ = entry
            .done
            .send(stored.as_ref().map_err(|_| NotRecorded).copied());
    }
}

/// What calls have in common that one record stands for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Alike {
    caller: CallerName,
    method: AdminMethod,
    outcome: Outcome,
}

/// How many they are, since when.
#[derive(Clone, Copy)]
struct Count {
    first: Timestamp,
    calls: u32,
}

/// Counts calls until their record is stored. It has no more counts than there are callers in the
/// credentials file, and the unknown, times methods, times outcomes.
struct Tally {
    store: Arc<dyn AuditLog>,
    counts: Mutex<HashMap<Alike, Count>>,
}

impl Tally {
    /// Counts a call whose own record was not stored. One that was let through is not answered then.
    fn add_lost(&self, record: &AuditRecord) {
        let mut record = record.clone();
        if record.outcome == Outcome::OK {
            record.outcome = Outcome::UNAVAILABLE;
        }
        self.add(&record);
    }

    fn add(&self, record: &AuditRecord) {
        let alike = Alike {
            caller: record.caller.clone(),
            method: record.method,
            outcome: record.outcome.clone(),
        };
        let mut counts = lock(&self.counts);
        let count = counts.entry(alike).or_insert(Count {
            first: record.time,
            calls: 0,
        });
        count.first = count.first.min(record.time);
        count.calls = count.calls.saturating_add(record.calls);
    }

    /// Stores what was counted, or goes on counting if the store does not take it.
    async fn store(&self) {
        let counts = mem::take(&mut *lock(&self.counts));
        let records: Vec<_> = counts.into_iter().map(as_record).collect();
        for records in records.chunks(BATCH_LEN) {
            if let Err(error) = self.store.append_records(records).await {
                let calls: u64 = records.iter().map(|record| u64::from(record.calls)).sum();
                tracing::warn!(
                    calls,
                    "cannot store audit records, and will try again: {error}"
                );
                for record in records {
                    self.add(record);
                }
            }
        }
    }
}

fn as_record((alike, count): (Alike, Count)) -> AuditRecord {
    AuditRecord {
        time: count.first,
        caller: alike.caller,
        method: alike.method,
        account_id: None,
        key_id: None,
        outcome: alike.outcome,
        calls: count.calls,
    }
}

/// By when each caller's allowance is full again, unless it is full.
#[derive(Default)]
struct Allowances(HashMap<CallerName, Instant>);

impl Allowances {
    /// Takes one from a caller's allowance, if there is any left.
    fn take_from(&mut self, caller: &CallerName, now: Instant) -> bool {
        if self.0.len() > MANY_CALLERS {
            self.0.retain(|_, full| *full > now);
        }
        let full = self.0.get(caller).map_or(now, |full| (*full).max(now));
        let then_full = full + ALLOWANCE_INTERVAL;
        let may = then_full <= now + ALLOWANCE * ALLOWANCE_INTERVAL;
        if may {
            self.0.insert(caller.clone(), then_full);
        }
        may
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole at any time: nothing that is done under a lock can panic half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_allowance_is_its_own_and_fills_again_with_time() {
        let (mut allowances, start) = (Allowances::default(), Instant::now());
        let (one, other) = ("one".to_owned(), "other".to_owned());
        let (one, other) = (CallerName::from_stored(one), CallerName::from_stored(other));
        for _ in 0..ALLOWANCE {
            assert!(allowances.take_from(&one, start));
        }
        assert!(!allowances.take_from(&one, start));
        assert!(allowances.take_from(&other, start));
        let later = start + ALLOWANCE_INTERVAL;
        assert!(allowances.take_from(&one, later) && !allowances.take_from(&one, later));
        let much_later = start + 1000 * ALLOWANCE_INTERVAL;
        for _ in 0..ALLOWANCE {
            assert!(allowances.take_from(&one, much_later));
        }
        assert!(!allowances.take_from(&one, much_later));
    }
}
