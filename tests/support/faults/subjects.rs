//! The writes to subjects that each have one writer, and the states that each may have had at a time.
//!
//! One client writes to a subject, one write after the other, so that its state is known at any time but
//! during a write. After a write without an answer the client goes on with another subject: such a write
//! may be committed at any later time.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// How many of the last subjects are asked for.
const RECENT: usize = 12;

/// A write that gives a subject this state.
#[derive(Debug, Clone, Copy)]
pub struct StateWrite<S> {
    pub state: S,
    pub start: Duration,
    /// When it returned OK. It is the subject's last write if it has not.
    pub returned: Option<Duration>,
}

/// The states of some moment from `start` to `end`, by these writes. `None` is the state before them.
pub fn possible_states<S: Copy>(
    writes: &[StateWrite<S>],
    start: Duration,
    end: Duration,
) -> impl Iterator<Item = Option<S>> {
    let returned = |write: &StateWrite<S>| write.returned.is_some_and(|at| at < start);
    let settled = writes.iter().take_while(|write| returned(write)).count();
    let before = settled.checked_sub(1).map(|last| writes[last].state);
    let during = writes[settled..].iter();
    let during = during.filter(move |write| write.start <= end);
    during.map(|write| Some(write.state)).chain([before])
}

/// The writes to every subject, by its number.
pub struct Subjects<S>(Mutex<Vec<Vec<StateWrite<S>>>>);

impl<S> Default for Subjects<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Copy> Subjects<S> {
    /// A subject that nobody has written to.
    pub fn new_subject(&self) -> usize {
        let mut subjects = self.lock();
        subjects.push(Vec::new());
        subjects.len() - 1
    }

    /// Must be called before the request is sent.
    pub fn start_write(&self, subject: usize, state: S, now: Duration) {
        self.lock()[subject].push(StateWrite {
            state,
            start: now,
            returned: None,
        });
    }

    /// Must be called after the last write has returned OK.
    pub fn finish_write(&self, subject: usize, now: Duration) {
        self.change_last(subject, |last| last.returned = Some(now));
    }

    /// Makes the state of the last write more exact, by its answer.
    pub fn correct_last(&self, subject: usize, state: S) {
        self.change_last(subject, |last| last.state = state);
    }

    fn change_last(&self, subject: usize, change: impl FnOnce(&mut StateWrite<S>)) {
        let mut subjects = self.lock();
        change(subjects[subject].last_mut().expect("it was started"));
    }

    pub fn writes(&self, subject: usize) -> Vec<StateWrite<S>> {
        self.lock()[subject].clone()
    }

    /// The number of each subject whose writes have all returned, and the state that it must have.
    pub fn settled(&self) -> Vec<(usize, S)> {
        let subjects = self.lock();
        let settled = subjects.iter().enumerate().filter_map(|(number, writes)| {
            let last = writes.last()?;
            last.returned.map(|_| (number, last.state))
        });
        settled.collect()
    }

    /// The numbers of the last subjects.
    pub fn recent(&self) -> std::ops::Range<usize> {
        let count = self.lock().len();
        count.saturating_sub(RECENT)..count
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<StateWrite<S>>>> {
        self.0.lock().expect("unpoisoned")
    }
}
