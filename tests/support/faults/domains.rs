//! Clients that add and remove domains and ask for them on every replica, and the checker of the answers.
//!
//! One client writes to a domain, one write after the other, so that its state is known at any time but
//! during a write. After a write without an answer the client goes on with another domain: such a write
//! may be committed at any later time.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// How many of the last domains are asked for.
const RECENT: usize = 12;

/// An AddDomain or RemoveDomain.
#[derive(Debug, Clone, Copy)]
pub struct DomainWrite {
    pub is_verified: bool,
    pub start: Duration,
    /// When it returned OK. It is the domain's last write if it has not.
    pub returned: Option<Duration>,
}

/// The answers that are right for an Authorize from `start` to `end`, for these writes to its domain.
pub fn right_answers(writes: &[DomainWrite], start: Duration, end: Duration) -> BTreeSet<bool> {
    let returned = |write: &DomainWrite| write.returned.is_some_and(|at| at < start);
    let settled = writes.iter().take_while(|write| returned(write)).count();
    let state = settled
        .checked_sub(1)
        .is_some_and(|last| writes[last].is_verified);
    let during = writes[settled..].iter().filter(|write| write.start <= end);
    during
        .map(|write| write.is_verified)
        .chain([state])
        .collect()
}

/// The writes to every domain, by its number.
#[derive(Default)]
pub struct DomainHistory(Mutex<Vec<Vec<DomainWrite>>>);

impl DomainHistory {
    /// A domain that nobody has written to.
    pub fn new_domain(&self) -> usize {
        let mut domains = self.lock();
        domains.push(Vec::new());
        domains.len() - 1
    }

    /// Must be called before the request is sent.
    pub fn start_write(&self, domain: usize, is_verified: bool, now: Duration) {
        self.lock()[domain].push(DomainWrite {
            is_verified,
            start: now,
            returned: None,
        });
    }

    /// Must be called after the last write has returned OK.
    pub fn finish_write(&self, domain: usize, now: Duration) {
        let mut domains = self.lock();
        let last = domains[domain].last_mut().expect("it was started");
        last.returned = Some(now);
    }

    /// What is wrong with an answer that has just come.
    pub fn objection(
        &self,
        domain: usize,
        (start, end): (Duration, Duration),
        is_granted: bool,
    ) -> Option<String> {
        let writes = &self.lock()[domain];
        let right = right_answers(writes, start, end);
        (!right.contains(&is_granted)).then(|| {
            format!(
                "{} is granted: {is_granted}, from {start:?} to {end:?}: {writes:?}",
                name(domain)
            )
        })
    }

    /// A number for each domain whose writes have all returned, and the state that it must have.
    pub fn settled(&self) -> Vec<(usize, bool)> {
        let domains = self.lock();
        let settled = domains.iter().enumerate().filter_map(|(number, writes)| {
            let last = writes.last()?;
            last.returned.map(|_| (number, last.is_verified))
        });
        settled.collect()
    }

    /// The numbers of the last domains.
    pub fn recent(&self) -> std::ops::Range<usize> {
        let count = self.lock().len();
        count.saturating_sub(RECENT)..count
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<DomainWrite>>> {
        self.0.lock().expect("unpoisoned")
    }
}

pub fn name(domain: usize) -> String {
    format!("d{domain}.example")
}
