//! A thread that holds one SQLite connection, and the queue of jobs for it.
//!
//! Promises that jobs run one after the other, each to its end, in the order in which they came. A read
//! for which nobody waits any more is left out, so that a queue of them holds up nothing.
//! Must never run SQLite on an async thread: a commit waits for the disk, which may take long.

use crate::store::StoreError;
use rusqlite::Connection;
use std::{thread::JoinHandle, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How many jobs may wait: far more than there are in practice. Beyond it, callers wait to queue
/// theirs.
const QUEUE_LEN: usize = 1024;

/// How long a caller waits for its job. A job takes milliseconds, but on a disk that hangs it never
/// ends.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

pub(super) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    wait_limit: Duration,
}

impl Worker {
    /// `end` is the last job: it comes when the store is dropped, before the connection is closed.
    pub(super) fn start(
        name: &str,
        mut connection: Connection,
        end: impl FnOnce(&mut Connection) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_LEN);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
                end(&mut connection);
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            wait_limit: WAIT_LIMIT,
        })
    }

    /// Runs a job on the connection, and waits for it for a limited time. The job is run even if
    /// its caller stops waiting.
    pub(super) async fn run<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        self.in_time(self.run_to_its_end(job)).await
    }

    /// The same, but waits for an answer that this job or another one gives.
    pub(super) async fn run_until<T>(
        &self,
        answered: oneshot::Receiver<Result<T, StoreError>>,
        job: impl FnOnce(&mut Connection) + Send + 'static,
    ) -> Result<T, StoreError> {
        self.in_time(self.queue(Box::new(job), answered)).await
    }

    /// Runs a job without an effect, as [`Self::run`] does. It is skipped if its caller has stopped waiting.
    pub(super) async fn read<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !answer.is_closed() {
                let _ = answer.send(job(connection));
            }
        });
        self.in_time(self.queue(job, answered)).await
    }

    async fn in_time<T, E: From<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout(self.wait_limit, answer).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(self.wait_limit);
            let cause = format!("no answer within {limit}; check the disk that holds the file");
            Err(StoreError::Unavailable(cause.into()).into())
        })
    }

    /// Runs a job without the time limit, one that may rightly take long.
    pub(super) async fn run_to_its_end<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // The caller may have gone. The job's effect stands.
            let _ = answer.send(job(connection));
        });
        self.queue(job, answered).await
    }

    async fn queue<T, E: From<StoreError>>(
        &self,
        job: Job,
        answered: oneshot::Receiver<Result<T, E>>,
    ) -> Result<T, E> {
        let gone = || StoreError::Failed("the store's thread has ended".into());
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Worker {
    /// Waits for the jobs in the queue and the last job, and closes the connection.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // The thread has reported a job's panic itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caller_waits_for_a_limited_time_and_its_job_is_run_all_the_same() {
        let connection = Connection::open_in_memory().expect("it opens");
        let mut worker = Worker::start("test", connection, |_| ()).expect("it starts");
        worker.wait_limit = Duration::from_millis(50);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let held_up = worker.run(move |connection| {
            released.recv().expect("it is released");
            connection.execute_batch("CREATE TABLE made (a)")?;
            Ok::<_, StoreError>(())
        });
        let refused = held_up.await.expect_err("it is held up");
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");

        release.send(()).expect("the job waits");
        let count = |connection: &mut Connection| {
            let rows = connection.query_row("SELECT count(*) FROM made", [], |row| row.get(0));
            rows.map_err(StoreError::from)
        };
        let rows: i64 = worker.run_to_its_end(count).await.expect("it was made");
        assert_eq!(rows, 0);
    }

    #[tokio::test]
    async fn a_read_is_skipped_if_nobody_waits_for_it() {
        let connection = Connection::open_in_memory().expect("it opens");
        let mut worker = Worker::start("test", connection, |_| ()).expect("it starts");
        worker.wait_limit = Duration::from_millis(50);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let held_up = worker.run(move |_| {
            released.recv().expect("it is released");
            Ok::<_, StoreError>(())
        });
        held_up.await.expect_err("it is held up");
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let late = worker.read(move |_| {
            tell.send(()).expect("the test waits");
            Ok::<_, StoreError>(())
        });
        late.await.expect_err("another job is before it");

        release.send(()).expect("the job waits");
        worker
            .run_to_its_end(|_| Ok::<_, StoreError>(()))
            .await
            .expect("the next");
        assert!(told.recv().is_err(), "it was run");
    }
}
