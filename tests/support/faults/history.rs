//! The history of all calls and answers, with their times on one clock, and the checker that finds
//! violations of the service's promises in a history.

use super::kept::KEPT;
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// A key of the history. Keys are numbered from 0 in the order in which their Creates were sent.
pub type KeyNumber = usize;

/// A Create or Revoke.
#[derive(Debug, Clone)]
pub struct Write {
    pub key: KeyNumber,
    pub change: Change,
    pub replica: usize,
    pub start: Duration,
    /// When it returned OK. A write without this time may or may not have been committed.
    pub returned: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Create,
    Revoke,
}

/// An Authorize that got a decision.
#[derive(Debug, Clone)]
pub struct Authorize {
    pub key: KeyNumber,
    pub replica: usize,
    pub start: Duration,
    pub end: Duration,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Granted,
    Revoked,
    Unknown,
}

/// What a replica answers for a key at the end, when no call is in flight and no fault is present.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub key: KeyNumber,
    pub source: String,
    pub answer: Answer,
}

/// A part of a history that cannot occur if the service keeps its promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks that no Authorize contradicts a write that had returned before it started.
///
/// `writes` holds every write that started before the last of `authorizes` ended.
pub fn check(writes: &[Write], authorizes: &[Authorize]) -> Vec<Violation> {
    let facts = Facts::of(writes);
    let mut violations = Vec::new();
    for call in authorizes {
        if let Some(objection) = facts.objection(call) {
            let of_key = writes.iter().filter(|write| write.key == call.key);
            let of_key: Vec<_> = of_key.collect();
            violations.push(Violation(format!("{objection}: {call:?} {of_key:?}")));
        }
    }
    violations
}

/// How many Authorizes were denied because a Revoke had returned before they started.
fn denials_after_revoke(writes: &[Write], authorizes: &[Authorize]) -> u64 {
    let facts = Facts::of(writes);
    let refused = authorizes.iter().filter(|call| {
        let revoked = facts.fact(call.key).revoked;
        call.answer == Answer::Revoked && revoked.is_some_and(|end| end < call.start)
    });
    refused.count() as u64
}

/// Checks that no write that returned is lost, and that all replicas agree about the other writes.
/// `now` is when the last of the verdicts was given: keys are let go meanwhile.
pub fn check_end(writes: &[Write], verdicts: &[Verdict], now: Duration) -> Vec<Violation> {
    let facts = Facts::of(writes);
    let mut first_by_key: HashMap<KeyNumber, &Verdict> = HashMap::new();
    let mut violations = Vec::new();
    for verdict in verdicts {
        let first = *first_by_key.entry(verdict.key).or_insert(verdict);
        let objection = facts.objection_at_the_end(verdict, now).or_else(|| {
            let agree = verdict.answer == first.answer
                // A replica that has not let it go denies it, too.
                || facts.fact(verdict.key).may_be_gone(now)
                    && verdict.answer != Answer::Granted
                    && first.answer != Answer::Granted;
            (!agree).then_some("two replicas do not agree at the end")
        });
        if let Some(objection) = objection {
            violations.push(Violation(format!("{objection}: {verdict:?}, {first:?}")));
        }
    }
    violations
}

/// What is known about the writes of each key.
struct Facts(HashMap<KeyNumber, Fact>);

#[derive(Clone, Copy, Default)]
struct Fact {
    created: Option<Duration>,
    revoke_asked: Option<Duration>,
    revoked: Option<Duration>,
}

impl Fact {
    fn may_be_gone(self, now: Duration) -> bool {
        self.revoke_asked.is_some_and(|asked| asked + KEPT <= now)
    }
}

impl Facts {
    fn of(writes: &[Write]) -> Self {
        let mut facts: HashMap<KeyNumber, Fact> = HashMap::new();
        for write in writes {
            let fact = facts.entry(write.key).or_default();
            match write.change {
                Change::Create => earliest(&mut fact.created, write.returned),
                Change::Revoke => {
                    earliest(&mut fact.revoke_asked, Some(write.start));
                    earliest(&mut fact.revoked, write.returned);
                }
            }
        }
        Self(facts)
    }

    fn fact(&self, key: KeyNumber) -> Fact {
        self.0.get(&key).copied().unwrap_or_default()
    }

    fn objection(&self, call: &Authorize) -> Option<&'static str> {
        let fact = self.fact(call.key);
        let returned_before = |write: Option<Duration>| write.is_some_and(|end| end < call.start);
        match call.answer {
            Answer::Granted if returned_before(fact.revoked) => {
                Some("granted, and started after a Revoke had returned")
            }
            Answer::Unknown if returned_before(fact.created) && !fact.may_be_gone(call.end) => {
                Some("denied as unknown, and started after Create had returned")
            }
            Answer::Revoked if fact.revoke_asked.is_none_or(|asked| asked > call.end) => {
                Some("denied as revoked before any Revoke was sent")
            }
            _ => None,
        }
    }

    fn objection_at_the_end(&self, verdict: &Verdict, now: Duration) -> Option<&'static str> {
        let fact = self.fact(verdict.key);
        match verdict.answer {
            Answer::Granted if fact.revoked.is_some() => Some("a Revoke that returned was lost"),
            Answer::Unknown if fact.created.is_some() && !fact.may_be_gone(now) => {
                Some("a Create that returned was lost")
            }
            Answer::Revoked if fact.revoke_asked.is_none() => {
                Some("revoked, but no Revoke was sent")
            }
            _ => None,
        }
    }
}

fn earliest(known: &mut Option<Duration>, other: Option<Duration>) {
    *known = [*known, other].into_iter().flatten().min();
}

/// Records calls while they happen.
pub struct History {
    began: Instant,
    recorded: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    writes: Vec<Write>,
    /// The calls that were not checked yet.
    authorizes: Vec<Authorize>,
    /// Answers that are wrong in every history.
    wrong: Vec<Violation>,
    denials_after_revoke: u64,
}

pub struct WriteNumber(usize);

impl History {
    pub fn start() -> Self {
        Self {
            began: Instant::now(),
            recorded: Mutex::default(),
        }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Must be called before the request is sent.
    pub fn start_write(&self, key: KeyNumber, change: Change, replica: usize) -> WriteNumber {
        let mut recorded = self.recorded();
        recorded.writes.push(Write {
            key,
            change,
            replica,
            start: self.now(),
            returned: None,
        });
        WriteNumber(recorded.writes.len() - 1)
    }

    /// Must be called after the write has returned OK. Returns the duration of the call.
    ///
    /// The clock is read under the lock, so that an Authorize that starts later is recorded later.
    pub fn finish_write(&self, number: &WriteNumber) -> Duration {
        let mut recorded = self.recorded();
        let write = &mut recorded.writes[number.0];
        let end = self.now();
        write.returned = Some(end);
        end - write.start
    }

    /// Must be called after an Authorize was answered. `start` is when it was sent.
    pub fn record_authorize(
        &self,
        key: KeyNumber,
        replica: usize,
        start: Duration,
        answer: Answer,
    ) {
        let mut recorded = self.recorded();
        recorded.authorizes.push(Authorize {
            key,
            replica,
            start,
            end: self.now(),
            answer,
        });
    }

    /// Records an answer that is wrong in every history.
    pub fn record_wrong_answer(&self, what: String) {
        self.recorded().wrong.push(Violation(what));
    }

    /// Checks the Authorizes that were recorded since the last check, and removes them.
    pub fn check(&self) -> Vec<Violation> {
        let mut recorded = self.recorded();
        let authorizes = std::mem::take(&mut recorded.authorizes);
        let mut violations = std::mem::take(&mut recorded.wrong);
        violations.extend(check(&recorded.writes, &authorizes));
        recorded.denials_after_revoke += denials_after_revoke(&recorded.writes, &authorizes);
        violations
    }

    /// How many of the checked Authorizes had to be denied as revoked, and were.
    pub fn denials_after_revoke(&self) -> u64 {
        self.recorded().denials_after_revoke
    }

    pub fn check_end(&self, verdicts: &[Verdict], now: Duration) -> Vec<Violation> {
        check_end(&self.recorded().writes, verdicts, now)
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().expect("unpoisoned")
    }
}
