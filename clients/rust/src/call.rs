//! One call: its attempts, each on another replica while there is one, within one deadline.

use crate::{
    error::{Attempt, NO_ANSWER, Unavailable, rounded},
    pool::Pool,
    replica::Replica,
};
use std::{error::Error, fmt, pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Code, ConnectError, Status};

/// Before a replica is asked for the second time: the first pause, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PATIENT_PAUSE: Duration = Duration::from_secs(1);

/// A replica that does not answer in less says nothing by that about its health: any may be as busy for a moment. Admin
/// calls wait for the database.
const TELLING: Duration = Duration::from_millis(30);
const TELLING_ADMIN: Duration = Duration::from_millis(200);

/// For what has arrived already.
const MOMENT: Duration = Duration::from_millis(5);

/// How a call is tried.
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// At most. An admin call goes on to its deadline if a replica was ready before, with longer pauses.
    pub(crate) attempts: usize,
    pub(crate) deadline: Instant,
    /// Whether an attempt that failed so is the last.
    pub(crate) is_final: fn(&Status) -> bool,
    /// Whether a call may be made again after an attempt that failed so. It may have had its effect.
    pub(crate) may_repeat: fn(&Status) -> bool,
    /// Whether the call changes something.
    pub(crate) changes: bool,
}

/// Which calls these are. The two do not wait for one another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An attempt may take so long.
    Authorize(Duration),
    /// An attempt may take half of what is left of the deadline.
    Admin,
}

pub(crate) enum Failure {
    /// No attempt had an answer.
    Unavailable(Unavailable),
    /// The last attempt was refused.
    Final(Status),
}

impl Plan {
    /// When an attempt that begins now ends, and whether that tells something about the replica.
    fn attempt_ends(&self, now: Instant) -> (Instant, bool) {
        let (time, least) = match self.kind {
            Kind::Authorize(time) => (time, TELLING),
            Kind::Admin => ((self.deadline - now) / 2, TELLING_ADMIN),
        };
        let ends = now + time;
        (
            self.deadline.min(ends),
            ends <= self.deadline && time >= least,
        )
    }
}

/// Makes attempts until one has an answer.
///
/// No `grpc-timeout` is sent: an attempt that took too long is dropped, and its stream reset.
pub(crate) async fn ask<T, F>(
    pool: &Pool,
    plan: &Plan,
    attempt: impl Fn(Arc<Replica>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Status>>,
{
    let begun = Instant::now();
    let is_patient = plan.kind == Kind::Admin && pool.was_ready();
    let (most, longest_pause) = if is_patient {
        (usize::MAX, LONGEST_PATIENT_PAUSE)
    } else {
        (plan.attempts, LONGEST_PAUSE)
    };
    let mut attempts = Vec::new();
    // Attempts that no replica saw do not count, so that connections which end together do not end a call.
    let mut made = 0;
    let mut may_have_changed = false;
    let mut pause = FIRST_PAUSE;
    while made < most && Instant::now() < plan.deadline {
        let next = async {
            if pool.asks_again(&attempts) {
                sleep(pause).await;
                pause = (pause * 2).min(longest_pause);
            }
            pool.next(&attempts, plan.kind).await
        };
        let Ok((replica, slot)) = timeout_at(plan.deadline, next).await else {
            break;
        };
        let sent = Instant::now();
        let (ends, has_its_time) = plan.attempt_ends(sent);
        let status = match until(ends, attempt(replica.clone())).await {
            Some(Ok(answer)) => {
                pool.metrics.count_attempt(Code::Ok);
                return Ok(answer);
            }
            Some(Err(status)) => status,
            None => {
                // Less time than that says nothing about the replica.
                if has_its_time {
                    replica.doubt(slot);
                }
                let waited = rounded(sent.elapsed());
                Status::deadline_exceeded(format!("{NO_ANSWER} within {waited}"))
            }
        };
        pool.metrics.count_attempt(status.code());
        if (plan.is_final)(&status) {
            return Err(Failure::Final(status));
        }
        attempts.push(Attempt::new(replica.address, &status));
        let sight = sight(&status);
        // A server without room for a call has not begun it.
        may_have_changed |= plan.changes
            && matches!(sight, Sight::Seen)
            && status.code() != Code::ResourceExhausted;
        match sight {
            Sight::Unsent => {}
            Sight::NotConnected => made += 1,
            Sight::Seen if (plan.may_repeat)(&status) => made += 1,
            Sight::Seen => break,
        }
    }
    let error = Unavailable::new(attempts, begun.elapsed(), pool.lookup_fault());
    Err(Failure::Unavailable(error.of_change(may_have_changed)))
}

/// The source of a status that says so of an attempt.
#[derive(Debug)]
pub(crate) struct Unseen;

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no replica has seen it")
    }
}

impl Error for Unseen {}

/// How far an attempt came that failed.
enum Sight {
    /// Its connection ended before it was sent, or the replica says that it has not looked at it (RFC 9113, sections
    /// 6.8 and 8.7).
    Unsent,
    /// No connection could be made for it.
    NotConnected,
    /// The replica may have seen it.
    Seen,
}

fn sight(status: &Status) -> Sight {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<Unseen>() || error.downcast_ref().is_some_and(hyper::Error::is_canceled) {
            return Sight::Unsent;
        }
        if error.is::<ConnectError>() {
            return Sight::NotConnected;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let is_going = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return if is_refused || is_going {
                Sight::Unsent
            } else {
                Sight::Seen
            };
        }
        source = error.source();
    }
    Sight::Seen
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
