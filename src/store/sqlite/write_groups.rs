//! Writes of many callers in one transaction.
//!
//! Owns the writes that wait for the thread that writes. It takes all that wait, so that they share one commit,
//! which waits for the disk. Promises that each write is answered for itself, and only after the commit. A write
//! that fails is undone alone, unless its error ends the transaction, as that of a full disk does.
//! Must never be called on an async thread (see `worker`), but for [`WriteGroups::enter`].

use super::{open_files::OpenFiles, opening};
use crate::store::{StillAllowed, StoreError, still_allowed::Begun, with_causes};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

pub(super) struct WriteGroups {
    /// The most writes of a group.
    len: usize,
    waiting: Mutex<VecDeque<Box<dyn Member>>>,
}

/// A write of a group.
trait Member: Send {
    /// Gives the error if it fails. If its caller may not make it any more, it is left out.
    fn make(&mut self, transaction: &Transaction<'_>) -> Result<(), &rusqlite::Error>;

    /// Answers it, once it is known what became of the transaction.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Waiter<W, T> {
    write: W,
    allowed: StillAllowed,
    begun: Option<Begun>,
    made: Option<rusqlite::Result<T>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, T> Member for Waiter<W, T>
where
    W: Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn make(&mut self, transaction: &Transaction<'_>) -> Result<(), &rusqlite::Error> {
        match self.allowed.begin() {
            Ok(begun) => self.begun = Some(begun),
            Err(_) => return Ok(()),
        }
        let made = self.made.insert((self.write)(transaction));
        made.as_ref().map(|_| ())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (self.made, committed) {
            (Some(Err(error)), _) => Err(error.into()),
            (_, Err(error)) => Err(error),
            (Some(Ok(made)), Ok(())) => Ok(made),
            (None, Ok(())) => Err(StoreError::Disallowed),
        };
        // The caller may have gone. The write stands.
        let _ = self.answer.send(answer);
    }
}

impl WriteGroups {
    pub(super) fn new(len: usize) -> Self {
        let waiting = Mutex::default();
        Self { len, waiting }
    }

    /// Has a write made by the next call of [`Self::make_next`] that takes it. So for each write there must be
    /// such a call.
    pub(super) fn enter<T: Send + 'static>(
        &self,
        allowed: StillAllowed,
        write: impl Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        let (answer, answered) = oneshot::channel();
        self.lock().push_back(Box::new(Waiter {
            write,
            allowed,
            begun: None,
            made: None,
            answer,
        }));
        answered
    }

    /// Makes the writes that wait, in the order in which they came, and answers them.
    pub(super) fn make_next(&self, connection: &mut Connection, files: &OpenFiles) {
        let mut group: Vec<_> = {
            let mut waiting = self.lock();
            let len = waiting.len().min(self.len);
            waiting.drain(..len).collect()
        };
        if group.is_empty() {
            return;
        }
        let committed = commit(connection, files, |transaction| {
            let mut writes = group.iter_mut();
            writes.try_for_each(|write| make_in_savepoint(&mut **write, transaction))
        });
        for write in group {
            write.answer(committed.as_ref().copied().map_err(StoreError::copy));
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<dyn Member>>> {
        // It is whole at any time: nothing that is done under the lock can panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_in_savepoint(
    write: &mut dyn Member,
    transaction: &Transaction<'_>,
) -> Result<(), StoreError> {
    let execute = |sql| transaction.prepare_cached(sql)?.execute([]);
    execute("SAVEPOINT one_of_group")?;
    if let Err(error) = write.make(transaction) {
        if transaction.is_autocommit() {
            return Err(StoreError::Unavailable(with_causes(error).into()));
        }
        execute("ROLLBACK TO one_of_group")?;
    }
    execute("RELEASE one_of_group")?;
    Ok(())
}

/// Writes in one transaction, which is rolled back if it fails. Succeeds only if what was written is in the
/// files that this process has opened.
pub(super) fn commit<T>(
    connection: &mut Connection,
    files: &OpenFiles,
    write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // A commit may begin a checkpoint, which must not go to a file that was overwritten.
    files.check()?;
    let checkpointed = files.checkpointed();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let written = write(&transaction)?;
    let commit = opening::count_commit(&transaction, checkpointed)?;
    transaction.commit()?;
    files.check_after_commit(commit)?;
    Ok(written)
}
