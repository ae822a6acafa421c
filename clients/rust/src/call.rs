//! One call: its attempts, each on another replica while there is one, within one deadline.

use crate::{
    error::{Attempt, Unavailable},
    pool::Pool,
};
use prost::Message;
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Code, Status};

/// Before a replica is asked for the second time: the first pause, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// For what has arrived already.
const MOMENT: Duration = Duration::from_millis(5);

/// How a call is tried.
pub(crate) struct Plan {
    pub(crate) attempts: usize,
    pub(crate) attempt_time: AttemptTime,
    pub(crate) deadline: Instant,
    /// Whether an attempt that failed so is the last.
    pub(crate) is_final: fn(&Status) -> bool,
    /// Whether a call may be made again after an attempt that failed so. It may have had its effect.
    pub(crate) may_repeat: fn(&Status) -> bool,
}

/// How long an attempt may take.
#[derive(Clone, Copy)]
pub(crate) enum AttemptTime {
    Fixed(Duration),
    HalfOfTheRest,
}

pub(crate) enum Failure {
    /// No attempt had an answer.
    Unavailable(Unavailable),
    /// The last attempt was refused.
    Final(Status),
}

impl Plan {
    fn attempt_ends(&self, now: Instant) -> Instant {
        let time = match self.attempt_time {
            AttemptTime::Fixed(time) => time,
            AttemptTime::HalfOfTheRest => (self.deadline - now) / 2,
        };
        self.deadline.min(now + time)
    }
}

/// Asks until a replica answers something that `read` takes.
///
/// No `grpc-timeout` is sent: an attempt that took too long is dropped, and its stream reset.
pub(crate) async fn ask<Q, A, T>(
    pool: &Pool,
    path: &'static str,
    question: &Q,
    plan: &Plan,
    read: impl Fn(A) -> Result<T, Status>,
) -> Result<T, Failure>
where
    Q: Message + Clone + 'static,
    A: Message + Default + 'static,
{
    let begun = Instant::now();
    let mut attempts = Vec::new();
    let mut pause = FIRST_PAUSE;
    while attempts.len() < plan.attempts && Instant::now() < plan.deadline {
        let next = async {
            if !attempts.is_empty() && pool.all_tried(&attempts) {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            pool.next(&attempts).await
        };
        let Ok(replica) = timeout_at(plan.deadline, next).await else {
            break;
        };
        let sent = Instant::now();
        let attempt = replica.call(path, question.clone());
        let answer = until(plan.attempt_ends(sent), attempt).await;
        let status = match answer.map(|answer| answer.and_then(&read)) {
            Some(Ok(answer)) => {
                pool.metrics.count_attempt(Code::Ok);
                return Ok(answer);
            }
            Some(Err(status)) => status,
            None => {
                replica.doubt();
                let waited = sent.elapsed().as_millis();
                Status::deadline_exceeded(format!("no answer within {waited} ms"))
            }
        };
        pool.metrics.count_attempt(status.code());
        if (plan.is_final)(&status) {
            return Err(Failure::Final(status));
        }
        attempts.push(Attempt::new(replica.address, &status));
        if !(plan.may_repeat)(&status) {
            break;
        }
    }
    let error = Unavailable::new(attempts, begun.elapsed(), pool.lookup_fault());
    Err(Failure::Unavailable(error))
}

/// Its output, or None when its time is up.
///
/// If the program was too busy to look at the clock in time, the answer may have arrived and not been read. So there
/// is a moment more to read it. Otherwise the replica would count as one that hangs.
async fn until<F: Future>(ends: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match timeout_at(ends, &mut future).await {
        Ok(output) => Some(output),
        Err(_) => timeout(MOMENT, future).await.ok(),
    }
}
