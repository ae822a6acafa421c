//! Records the calls that wrote nothing: reads, and calls that were refused.
//!
//! Owns also which admin calls have a log line of their own.
//! Promises that a refused call is on record at least once when it is answered, or is counted in a
//! later record. If this process dies before that, the call is in the log alone. Promises also that no
//! caller can flood the store with records of refused calls, or the log with lines. A call that was
//! carried out has a record of its own, however many there are.
//! Must never let a refused call wait long for a store that does not answer.

use super::{Alike, allowances::Allowances, lines::CountedLines};
use crate::{
    model::{
        audit_record::{AuditRecord, Outcome},
        caller_name::CallerName,
        time::Timestamp,
    },
    observe::repeated_line::RepeatedLine,
    store::{Appended, AuditLog, StoreError, StoreIdentity},
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

/// How many records may wait to be stored, which is more than the default limit on admin calls in
/// flight. Beyond it, Lists are not answered, and refusals are counted.
const QUEUE_LEN: usize = 1024;

/// How many records are stored as one write.
const BATCH_LEN: usize = 256;

/// How long a refused call waits for its record. Usually it takes milliseconds.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// How many refused calls of one caller are recorded and logged one by one, if there was none for a
/// long time.
const REFUSALS: u32 = 100;

/// How long it takes for that allowance to grow by one call. Together with the counted calls, one record for
/// each method every ten seconds, a caller that hammers one replica with one method causes some 17 thousand
/// records a day, and with all methods some 130 thousand: twenty megabytes.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(10);

/// How many calls of one caller that were carried out are logged one by one, if there was none for a
/// long time. Each of them has a record of its own in any case.
const ANSWERS: u32 = 1000;

/// How long it takes for that allowance to grow by one call. A dashboard that people use stays below
/// ten calls a second.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);

/// How often the records and the lines that stand for several calls are written.
const TALLY_INTERVAL: Duration = Duration::from_secs(10);

/// The line about records that the store did not take. There may be one for each refused call.
static NOT_STORED: RepeatedLine = RepeatedLine::new();

/// Stores the records of calls that wrote nothing.
pub struct Recorder {
    queue: mpsc::Sender<Job>,
    tally: Arc<Tally>,
    lines: Arc<CountedLines>,
    identity: StoreIdentity,
    refusals: Mutex<Allowances>,
    answers: Mutex<Allowances>,
}

enum Job {
    Store(Box<Entry>),
    /// Store what was counted, and tell when that and everything queued before is stored.
    Flush(oneshot::Sender<()>),
}

/// Tells whether a record was stored.
pub(crate) type Stored = oneshot::Receiver<Result<(), NotRecorded>>;

/// A record to be stored.
struct Entry {
    record: AuditRecord,
    /// Tells the call that waits for it.
    done: oneshot::Sender<Result<(), NotRecorded>>,
}

/// The store did not take a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call could not be recorded")]
pub struct NotRecorded;

impl Recorder {
    /// Starts a task that stores the records in the log of this store, and ends when the recorder is dropped. Call it on
    /// a tokio runtime.
    #[must_use]
    pub fn new(log: Arc<dyn AuditLog>, identity: StoreIdentity) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_LEN);
        let tally = Arc::new(Tally {
            log,
            counts: Mutex::default(),
        });
        let lines = Arc::new(CountedLines::new(identity));
        tokio::spawn(store_for_ever(jobs, tally.clone(), lines.clone()));
        Self {
            queue,
            tally,
            lines,
            identity,
            refusals: Mutex::new(Allowances::new(REFUSALS, REFUSAL_INTERVAL)),
            answers: Mutex::new(Allowances::new(ANSWERS, ANSWER_INTERVAL)),
        }
    }

    /// What the lines about the store's writes carry.
    pub(crate) fn store(&self) -> StoreIdentity {
        self.identity
    }

    /// Records a call that was carried out. It may be answered only if this returns `Ok`.
    pub async fn record_answer(&self, record: &AuditRecord) -> Result<(), NotRecorded> {
        match self.enqueue(record) {
            Some(stored) => stored.await.unwrap_or(Err(NotRecorded)),
            None => Err(NotRecorded),
        }
    }

    /// Whether a refused or unanswered call of this caller has a record and a log line of its own. It
    /// takes from the caller's allowance: ask once for each call.
    pub(crate) fn allows_refusal(&self, caller: &CallerName) -> bool {
        lock(&self.refusals).take_from(caller, Instant::now())
    }

    /// Whether a call of this caller that was carried out has a log line of its own. Ask once for each
    /// call, too.
    pub(crate) fn allows_answer_line(&self, caller: &CallerName) -> bool {
        lock(&self.answers).take_from(caller, Instant::now())
    }

    /// Counts a call that has no log line of its own. A line tells of it together with others that ended
    /// alike.
    pub(crate) fn count_line(&self, record: &AuditRecord) {
        self.lines.count(Alike::of(record));
    }

    /// Records a call that was refused and may have a record of its own. Waits for that for a limited
    /// time.
    pub(crate) async fn record_refusal(&self, record: &AuditRecord) {
        if let Some(stored) = self.enqueue(record) {
            // The call is refused even if the record is not stored in time, or not at all.
            let _ = timeout(REFUSAL_PATIENCE, stored).await;
        }
    }

    /// Records a call that nobody answers any more and that may have a record of its own.
    pub(crate) fn record_unanswered(&self, record: &AuditRecord) {
        // Nobody waits for it.
        let _ = self.enqueue(record);
    }

    /// Queues a record, whether or not its call waits for it. Counts it if the queue is full.
    fn enqueue(&self, record: &AuditRecord) -> Option<Stored> {
        let Ok(permit) = self.queue.try_reserve() else {
            self.tally.add_lost(record);
            return None;
        };
        let (done, stored) = oneshot::channel();
        permit.send(Job::Store(Box::new(Entry {
            record: record.clone(),
            done,
        })));
        Some(stored)
    }

    /// Counts a call, which gets one record together with others that ended alike. Meant for a call
    /// that an error of the store's ended, and for one beyond its caller's allowance.
    pub fn count(&self, record: &AuditRecord) {
        self.tally.add(record);
    }

    /// Stores everything that is queued or counted, for a process that is about to end.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Job::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

/// Stores all records that are queued together, again and again. However many calls there are, they
/// cost the store one write at a time.
async fn store_for_ever(
    mut queue: mpsc::Receiver<Job>,
    tally: Arc<Tally>,
    lines: Arc<CountedLines>,
) {
    let mut time_to_count = interval(TALLY_INTERVAL);
    time_to_count.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut jobs = Vec::with_capacity(BATCH_LEN);
    loop {
        tokio::select! {
            received = queue.recv_many(&mut jobs, BATCH_LEN) => {
                if received == 0 {
                    return;
                }
                do_together(jobs.drain(..), &tally, &lines).await;
            }
            _ = time_to_count.tick() => {
                lines.write();
                tally.store().await;
            }
        }
    }
}

async fn do_together(jobs: impl Iterator<Item = Job>, tally: &Tally, lines: &CountedLines) {
    let (mut entries, mut flushes) = (Vec::new(), Vec::new());
    for job in jobs {
        match job {
            Job::Store(entry) => entries.push(*entry),
            Job::Flush(done) => flushes.push(done),
        }
    }
    if !entries.is_empty() {
        store_together(entries, tally).await;
    }
    if !flushes.is_empty() {
        lines.write();
        tally.store().await;
    }
    for done in flushes {
        // Whoever ends the process may have stopped waiting.
        let _ = done.send(());
    }
}

async fn store_together(entries: Vec<Entry>, tally: &Tally) {
    let records: Vec<_> = entries.iter().map(|entry| entry.record.clone()).collect();
    let stored = tally.log.append_records(&records).await;
    warn_unless_durable(&records, &stored);
    for entry in entries {
        if stored.is_err() {
            // If the connection broke, the record may be stored all the same. Twice is better than
            // never.
            tally.add_lost(&entry.record);
        }
        let is_durable = matches!(stored, Ok(Appended::Durably));
        // The caller may have gone.
        let _ = entry.done.send(is_durable.then_some(()).ok_or(NotRecorded));
    }
}

/// Says why no call may be answered that waits for these records.
fn warn_unless_durable(records: &[AuditRecord], stored: &Result<Appended, StoreError>) {
    let why = match stored {
        Ok(Appended::Durably) => return,
        Ok(Appended::OnPrimaryAlone) => {
            "they are stored, but no synchronous standby has them in time".to_owned()
        }
        Err(error) => error.to_string(),
    };
    if let Some(left_out) = NOT_STORED.admit(Instant::now()) {
        tracing::warn!(
            records = records.len(),
            left_out,
            "cannot store audit records: {why}"
        );
    }
}

/// How many calls there are, and when the first one began.
#[derive(Clone, Copy)]
struct Count {
    first: Timestamp,
    calls: u32,
}

/// Counts calls until their record is stored. The number of counts is bounded: the callers in the
/// credentials file and the unknown caller, times the methods, times the outcomes.
struct Tally {
    log: Arc<dyn AuditLog>,
    counts: Mutex<HashMap<Alike, Count>>,
}

impl Tally {
    /// Counts a call whose own record was not stored. If it was carried out, it is not answered
    /// now.
    fn add_lost(&self, record: &AuditRecord) {
        let mut record = record.clone();
        if record.outcome == Outcome::OK {
            record.outcome = Outcome::UNAVAILABLE;
        }
        self.add(&record);
    }

    fn add(&self, record: &AuditRecord) {
        let mut counts = lock(&self.counts);
        let count = counts.entry(Alike::of(record)).or_insert(Count {
            first: record.time,
            calls: 0,
        });
        count.first = count.first.min(record.time);
        count.calls = count.calls.saturating_add(record.calls);
    }

    /// Stores what was counted. If that fails, keeps the counts and goes on counting. What is stored at all is not
    /// stored again: nobody waits for it, and each attempt would add a record. It may be lost with the primary, which
    /// the log says.
    async fn store(&self) {
        let counts = mem::take(&mut *lock(&self.counts));
        let records: Vec<_> = counts.into_iter().map(as_record).collect();
        for records in records.chunks(BATCH_LEN) {
            match self.log.append_records(records).await {
                Err(error) => {
                    let calls: u64 = records.iter().map(|record| u64::from(record.calls)).sum();
                    tracing::warn!(
                        calls,
                        "cannot store audit records, and will try again: {error}"
                    );
                    for record in records {
                        self.add(record);
                    }
                }
                stored => warn_unless_durable(records, &stored),
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
        domain: None,
        include_subdomains: None,
        key_end: None,
        revision: None,
        outcome: alike.outcome,
        calls: count.calls,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data is whole at any time: nothing that is done under a lock can panic half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit_record::{AdminMethod, MethodName};
    use std::io;

    /// A store without its synchronous standby.
    #[derive(Default)]
    struct Primary(Mutex<Vec<AuditRecord>>);

    #[async_trait::async_trait]
    impl AuditLog for Primary {
        async fn append_records(&self, records: &[AuditRecord]) -> Result<Appended, StoreError> {
            lock(&self.0).extend_from_slice(records);
            Ok(Appended::OnPrimaryAlone)
        }
    }

    /// What is logged while it is in force.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Logged {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            lock(&self.0).write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn list_that_ended(outcome: Outcome) -> AuditRecord {
        AuditRecord {
            time: Timestamp::now(),
            caller: CallerName::from_stored("dashboard".to_owned()),
            method: MethodName::from(AdminMethod::List),
            account_id: None,
            key_id: None,
            domain: None,
            include_subdomains: None,
            key_end: None,
            revision: None,
            outcome,
            calls: 1,
        }
    }

    #[tokio::test]
    async fn what_the_primary_alone_has_is_not_stored_again_and_no_call_is_answered_on_it() {
        let logged = Logged::default();
        let lines = logged.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || lines.clone());
        let _in_force = tracing::subscriber::set_default(subscriber.finish());
        let log = Arc::new(Primary::default());
        let recorder = Recorder::new(log.clone(), StoreIdentity::NONE);
        let answered = recorder.record_answer(&list_that_ended(Outcome::OK)).await;
        assert_eq!(answered, Err(NotRecorded));
        recorder.count(&list_that_ended(Outcome::UNAVAILABLE));
        for _ in 0..3 {
            recorder.flush().await;
        }
        let stored = lock(&log.0);
        let outcomes: Vec<_> = stored.iter().map(|record| record.outcome.clone()).collect();
        assert_eq!(outcomes, [Outcome::OK, Outcome::UNAVAILABLE]);
        // Both may be lost with the primary.
        let logged = String::from_utf8(lock(&logged.0).clone()).expect("UTF-8");
        let warnings = logged.matches("no synchronous standby has them");
        assert_eq!(warnings.count(), 2, "{logged}");
    }
}
