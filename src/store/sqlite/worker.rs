//! Owns a thread that holds one SQLite connection, and the queue of jobs for it.
//! Promises that jobs run one after the other, each to its end, in the order they came.
//! Must never run SQLite on an async thread: a commit waits for the disk.

use crate::store::StoreError;
use rusqlite::Connection;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait. Far more than callers wait for in practice; past it they wait to queue.
const QUEUE_LEN: usize = 1024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A thread with a connection.
pub(super) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(name: &str, mut connection: Connection) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_LEN);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs a job on the connection. A job whose caller stops waiting is run all the same.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // The caller may have gone; the job's effect stands.
            let _ = answer.send(job(connection));
        });
        let gone = || StoreError::Failed("the store's thread has ended".into());
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        answered
            .await
            .map_err(|_| gone())?
            .map_err(super::store_error)
    }
}

impl Drop for Worker {
    /// Waits for the jobs in the queue and closes the connection, so that the write-ahead log is
    /// folded into the database file.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of a job has been reported by its own thread.
            let _ = thread.join();
        }
    }
}
