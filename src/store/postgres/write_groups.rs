//! Writes of many callers in one transaction.
//!
//! Owns the writes that wait for their turn at the database. The first turn takes all that wait, so that they
//! share one commit. Each group is one statement: what it locks is never held until this process sends more.
//! Promises that each write is answered for itself, and only after the commit. Must never fail a write because
//! of another one of its group, or of that one's caller.

use super::{
    database::{Database, Turn},
    errors::{Failure, answered_within, no_answer, unexpected},
};
use crate::store::{StillAllowed, StoreError};
use async_trait::async_trait;
use std::{
    collections::VecDeque,
    mem,
    slice::from_ref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// A kind of write, many of which can be one statement.
#[async_trait]
pub(super) trait Grouped: Clone + Send + Sync + 'static {
    /// What becomes of one of them.
    type Answer: Send + 'static;

    /// Which turns a group of them may take.
    const TURN: Turn;

    /// Whether this write can be in one group with that other.
    fn goes_with(&self, other: &Self) -> bool;

    /// Whether its caller may still make it.
    fn still_allowed(&self) -> &StillAllowed;

    /// Makes these writes in one transaction: all of them, or if it fails, none. Gives an answer for each.
    async fn write(database: &Database, group: &[Self]) -> Result<Vec<Self::Answer>, Failure>;
}

/// The writes of one kind.
pub(super) struct WriteGroups<W: Grouped>(Arc<Waiters<W>>);

struct Waiters<W: Grouped> {
    database: Arc<Database>,
    /// The most writes of a group.
    len: usize,
    queue: Mutex<Queue<W>>,
    /// Held while a group is at the database. Meanwhile others gather for the next one, and with several replicas
    /// there is always a group of another at the database.
    group: tokio::sync::Mutex<()>,
}

struct Queue<W: Grouped> {
    waiting: VecDeque<Waiter<W>>,
    /// Whether a task waits for a turn on their behalf. One does while there are any.
    has_task: bool,
    last_number: u64,
}

struct Waiter<W: Grouped> {
    number: u64,
    write: W,
    answer: Answer<W>,
}

impl<W: Grouped> WriteGroups<W> {
    /// At most `len` writes share a transaction.
    pub(super) fn new(database: Arc<Database>, len: usize) -> Self {
        let queue = Mutex::new(Queue {
            waiting: VecDeque::new(),
            has_task: false,
            last_number: 0,
        });
        Self(Arc::new(Waiters {
            database,
            len,
            queue,
            group: tokio::sync::Mutex::default(),
        }))
    }

    /// Makes a write, in a group with those that wait at the same time. Bounded as [`Database::write`] is. If
    /// this is dropped before the write's turn, the write is not made.
    pub(super) async fn write(&self, write: &W) -> Result<W::Answer, StoreError> {
        let waiters = &self.0;
        let (answer, mut answered) = oneshot::channel();
        let number = waiters.enter(write.clone(), answer);
        let answered = match timeout(waiters.database.turn_limit(), &mut answered).await {
            Ok(answered) => answered,
            Err(_) if waiters.leave(number) => return Err(waiters.database.no_turn()),
            // It has its turn, which has a limit of its own.
            Err(_) => answered.await,
        };
        answered.unwrap_or_else(|_| Err(StoreError::Failed("a group of writes broke off".into())))
    }

    /// How many writes wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }
}

impl<W: Grouped> Waiters<W> {
    fn enter(self: &Arc<Self>, write: W, answer: Answer<W>) -> u64 {
        let mut queue = self.lock();
        queue.last_number += 1;
        let number = queue.last_number;
        queue.waiting.push_back(Waiter {
            number,
            write,
            answer,
        });
        if !queue.has_task {
            queue.has_task = true;
            tokio::spawn(self.clone().run_next());
        }
        number
    }

    /// Gives up a write, unless its turn has come.
    fn leave(&self, number: u64) -> bool {
        let mut queue = self.lock();
        let before = queue.waiting.len();
        queue.waiting.retain(|waiter| waiter.number != number);
        queue.waiting.len() < before
    }

    /// Waits for a turn, and uses it for the next group.
    async fn run_next(self: Arc<Self>) {
        let _group = self.group.lock().await;
        let _turn = self.database.turn_to_write(W::TURN).await;
        let group = self.take_group();
        if !group.is_empty() {
            answer(&self.database, group).await;
        }
    }

    /// Takes those that wait, in the order in which they came. The others have the next turn.
    fn take_group(self: &Arc<Self>) -> Vec<Waiter<W>> {
        let mut queue = self.lock();
        let mut group: Vec<Waiter<W>> = Vec::new();
        for waiter in mem::take(&mut queue.waiting) {
            let fits = |other: &Waiter<W>| waiter.write.goes_with(&other.write);
            if waiter.answer.is_closed() {
                // Nobody waits any more.
            } else if !waiter.write.still_allowed().now() {
                let _ = waiter.answer.send(Err(StoreError::Disallowed));
            } else if group.len() < self.len && group.iter().all(fits) {
                group.push(waiter);
            } else {
                queue.waiting.push_back(waiter);
            }
        }
        queue.has_task = !queue.waiting.is_empty();
        if queue.has_task {
            tokio::spawn(self.clone().run_next());
        }
        group
    }

    fn lock(&self) -> MutexGuard<'_, Queue<W>> {
        // It is whole at any time: nothing that is done under the lock can panic half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the writes of a group, and answers each. If one of them may be the reason why all have failed, it makes
/// each alone; and if a caller has lost its rights, the others without that caller's. Either in the time that is
/// left.
async fn answer<W: Grouped>(database: &Database, group: Vec<Waiter<W>>) {
    let end = Instant::now() + database.answer_limit();
    let split = |waiter: Waiter<W>| (waiter.write, waiter.answer);
    let (mut writes, mut answers): (Vec<_>, Vec<_>) = group.into_iter().map(split).unzip();
    let mut made = W::write(database, &writes).await;
    while let Err(Failure::Disallowed) = made {
        (writes, answers) = refuse_disallowed(writes, answers);
        if writes.is_empty() {
            return;
        }
        made = write_until(end, database, &writes).await;
    }
    match made {
        Ok(made) => {
            for (made, answer) in made.into_iter().zip(answers) {
                // The caller may have gone. The write stands.
                let _ = answer.send(Ok(made));
            }
        }
        Err(Failure::Refused(error)) if writes.len() > 1 => {
            tracing::debug!(writes = writes.len(), "a group is made one by one: {error}");
            for (write, answer) in writes.iter().zip(answers) {
                let made = write_until(end, database, from_ref(write)).await;
                let made = made.map_err(StoreError::from);
                let made = made.and_then(|made| {
                    let made = made.into_iter().next();
                    made.ok_or_else(|| unexpected("a write gave no answer"))
                });
                let _ = answer.send(made);
            }
        }
        Err(failure) => {
            let error = StoreError::from(failure);
            for answer in answers {
                let _ = answer.send(Err(error.copy()));
            }
        }
    }
}

/// Where the answer to a write goes.
type Answer<W> = oneshot::Sender<Result<<W as Grouped>::Answer, StoreError>>;

/// Answers the writes whose callers have lost their rights, and gives the others.
fn refuse_disallowed<W: Grouped>(
    writes: Vec<W>,
    answers: Vec<Answer<W>>,
) -> (Vec<W>, Vec<Answer<W>>) {
    let all = writes.into_iter().zip(answers);
    let (allowed, refused): (Vec<_>, Vec<_>) =
        all.partition(|(write, _)| write.still_allowed().now());
    for (_, answer) in refused {
        let _ = answer.send(Err(StoreError::Disallowed));
    }
    allowed.into_iter().unzip()
}

async fn write_until<W: Grouped>(
    end: Instant,
    database: &Database,
    group: &[W],
) -> Result<Vec<W::Answer>, Failure> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(no_answer(database.answer_limit()).into());
    }
    answered_within(left, W::write(database, group)).await?
}
