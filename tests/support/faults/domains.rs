//! What is right to answer for a domain, which is added, widened, narrowed and removed.

use super::subjects::{StateWrite, possible_states};
use keyservice::model::verified_domain::Coverage;
use std::{collections::BTreeSet, time::Duration};

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
    writes: &[StateWrite<Coverage>],
    asked: Asked,
    start: Duration,
    end: Duration,
) -> BTreeSet<bool> {
    possible_states(writes, start, end)
        .map(|coverage| asked.is_verified_by(coverage.unwrap_or(Coverage::Removed)))
        .collect()
}

pub fn name(domain: usize) -> String {
    format!("d{domain}.example")
}
