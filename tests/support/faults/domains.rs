//! Clients that add and remove domains and ask for them on every replica, and the checker of the answers.
//!
//! One client writes to a domain, one write after the other, so that its state is known at any time but
//! during a write. After a write without an answer the client goes on with another domain: such a write
//! may be committed at any later time.

use keyservice::model::verified_domain::Coverage;
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
    /// What the domain verifies from then on.
    pub coverage: Coverage,
    pub start: Duration,
    /// When it returned OK. It is the domain's last write if it has not.
    pub returned: Option<Duration>,
}

/// The name that an Authorize asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Domain,
    /// A name below the domain.
    Subdomain,
}

impl Asked {
    pub const BOTH: [Self; 2] = [Self::Domain, Self::Subdomain];

    pub fn name(self, domain: usize) -> String {
        match self {
            Self::Domain => name(domain),
            Self::Subdomain => format!("a.b.{}", name(domain)),
        }
    }

    /// Whether a domain with this coverage verifies the name.
    pub fn is_verified_by(self, coverage: Coverage) -> bool {
        match coverage {
            Coverage::Removed => false,
            Coverage::Domain => self == Self::Domain,
            Coverage::DomainAndSubdomains => true,
        }
    }
}

/// The answers that are right for an Authorize from `start` to `end`, for these writes to its domain.
pub fn right_answers(
    writes: &[DomainWrite],
    asked: Asked,
    start: Duration,
    end: Duration,
) -> BTreeSet<bool> {
    let returned = |write: &DomainWrite| write.returned.is_some_and(|at| at < start);
    let settled = writes.iter().take_while(|write| returned(write)).count();
    let before = settled.checked_sub(1);
    let state = before.map_or(Coverage::Removed, |last| writes[last].coverage);
    let during = writes[settled..].iter().filter(|write| write.start <= end);
    during
        .map(|write| write.coverage)
        .chain([state])
        .map(|coverage| asked.is_verified_by(coverage))
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
    pub fn start_write(&self, domain: usize, coverage: Coverage, now: Duration) {
        self.lock()[domain].push(DomainWrite {
            coverage,
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
        asked: Asked,
        (start, end): (Duration, Duration),
        is_granted: bool,
    ) -> Option<String> {
        let writes = &self.lock()[domain];
        let right = right_answers(writes, asked, start, end);
        (!right.contains(&is_granted)).then(|| {
            format!(
                "{} is granted: {is_granted}, from {start:?} to {end:?}: {writes:?}",
                asked.name(domain)
            )
        })
    }

    /// A number for each domain whose writes have all returned, and the state that it must have.
    pub fn settled(&self) -> Vec<(usize, Coverage)> {
        let domains = self.lock();
        let settled = domains.iter().enumerate().filter_map(|(number, writes)| {
            let last = writes.last()?;
            last.returned.map(|_| (number, last.coverage))
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
