//! What clients asked and were told, each call with its start and end on one clock; and the checker,
//! which knows what a history may not hold.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// A key of the history, numbered from 0 in the order in which the keys were asked for.
pub type KeyNumber = usize;

/// A Create or Revoke.
#[derive(Debug, Clone)]
pub struct Write {
    pub key: KeyNumber,
    pub change: Change,
    pub replica: usize,
    pub start: Duration,
    /// When it returned OK. Until then, and if it never did, it may stand or not.
    pub returned: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Create,
    Revoke,
}

/// An Authorize that was answered.
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

/// What a replica says of a key at the end, when nothing is in flight and every fault has healed.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub key: KeyNumber,
    pub witness: String,
    pub answer: Answer,
}

/// The history cannot have come about if the service keeps its promises.
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

/// How many Authorizes were refused since a Revoke had returned before they started.
fn refused_after_revoke(writes: &[Write], authorizes: &[Authorize]) -> u64 {
    let facts = Facts::of(writes);
    let refused = authorizes.iter().filter(|call| {
        let revoked = facts.fact(call.key).revoked;
        call.answer == Answer::Revoked && revoked.is_some_and(|end| end < call.start)
    });
    refused.count() as u64
}

/// Checks that every write that returned stands, and that all witnesses agree on the others.
pub fn check_end(writes: &[Write], verdicts: &[Verdict]) -> Vec<Violation> {
    let facts = Facts::of(writes);
    let mut first_by_key: HashMap<KeyNumber, &Verdict> = HashMap::new();
    let mut violations = Vec::new();
    for verdict in verdicts {
        let first = *first_by_key.entry(verdict.key).or_insert(verdict);
        let objection = facts.objection_at_the_end(verdict).or_else(|| {
            (verdict.answer != first.answer).then_some("two replicas do not agree at the end")
        });
        if let Some(objection) = objection {
            violations.push(Violation(format!("{objection}: {verdict:?}, {first:?}")));
        }
    }
    violations
}

/// What is known of every key's writes.
struct Facts(HashMap<KeyNumber, Fact>);

#[derive(Clone, Copy, Default)]
struct Fact {
    created: Option<Duration>,
    revoke_asked: Option<Duration>,
    revoked: Option<Duration>,
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
            Answer::Unknown if returned_before(fact.created) => {
                Some("refused as unknown, and started after Create had returned")
            }
            Answer::Revoked if fact.revoke_asked.is_none_or(|asked| asked > call.end) => {
                Some("refused as revoked before anybody had asked for that")
            }
            _ => None,
        }
    }

    fn objection_at_the_end(&self, verdict: &Verdict) -> Option<&'static str> {
        let fact = self.fact(verdict.key);
        match verdict.answer {
            Answer::Granted if fact.revoked.is_some() => Some("a Revoke that returned was lost"),
            Answer::Unknown if fact.created.is_some() => Some("a Create that returned was lost"),
            Answer::Revoked if fact.revoke_asked.is_none() => {
                Some("revoked, which nobody has asked for")
            }
            _ => None,
        }
    }
}

fn earliest(known: &mut Option<Duration>, other: Option<Duration>) {
    *known = [*known, other].into_iter().flatten().min();
}

/// Records calls as they happen.
pub struct History {
    began: Instant,
    recorded: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    writes: Vec<Write>,
    /// Those that were not checked yet.
    authorizes: Vec<Authorize>,
    /// Answers that no call may get, whatever came before it.
    wrong: Vec<Violation>,
    refused_after_revoke: u64,
}

/// A write that has started.
pub struct WriteNumber(usize);

impl History {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            recorded: Mutex::default(),
        }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// To be called before the call is sent.
    pub fn write_starts(&self, key: KeyNumber, change: Change, replica: usize) -> WriteNumber {
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

    /// To be called after it has returned OK. Gives the time that it took.
    ///
    /// The end is read under the lock: so an Authorize that starts later is recorded later.
    pub fn write_returned(&self, number: &WriteNumber) -> Duration {
        let mut recorded = self.recorded();
        let write = &mut recorded.writes[number.0];
        let end = self.now();
        write.returned = Some(end);
        end - write.start
    }

    /// To be called after an Authorize was answered that started then.
    pub fn authorized(&self, key: KeyNumber, replica: usize, start: Duration, answer: Answer) {
        let mut recorded = self.recorded();
        recorded.authorizes.push(Authorize {
            key,
            replica,
            start,
            end: self.now(),
            answer,
        });
    }

    /// Records an answer that is wrong by itself.
    pub fn wrong(&self, what: String) {
        self.recorded().wrong.push(Violation(what));
    }

    /// Checks what was recorded since the last time, and forgets the Authorizes among it.
    pub fn check(&self) -> Vec<Violation> {
        let mut recorded = self.recorded();
        let authorizes = std::mem::take(&mut recorded.authorizes);
        let mut violations = std::mem::take(&mut recorded.wrong);
        violations.extend(check(&recorded.writes, &authorizes));
        recorded.refused_after_revoke += refused_after_revoke(&recorded.writes, &authorizes);
        violations
    }

    /// How many of the Authorizes that were checked had to be refused, and were.
    pub fn refused_after_revoke(&self) -> u64 {
        self.recorded().refused_after_revoke
    }

    pub fn check_end(&self, verdicts: &[Verdict]) -> Vec<Violation> {
        check_end(&self.recorded().writes, verdicts)
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().expect("unpoisoned")
    }
}
