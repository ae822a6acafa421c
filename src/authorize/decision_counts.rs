//! Owns how often Authorize decided what.
//! Promises that each decision, and each lack of one, is counted under its own reason.
//! Must never cost a decision more than one relaxed atomic addition.

use super::{
    decision::{Decision, DenialReason},
    lease::NoLease,
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The outcomes and reasons, in the words of the API. A grant has no reason.
const KINDS: [(&str, &str); 8] = [
    ("grant", ""),
    ("denial", "MALFORMED_TOKEN"),
    ("denial", "UNKNOWN_TOKEN"),
    ("denial", "REVOKED"),
    ("denial", "EXPIRED"),
    ("denial", "DOMAIN_NOT_ALLOWED"),
    ("none", NoLease::NotYet.reason()),
    ("none", NoLease::Lapsed.reason()),
];

/// The decisions by outcome and reason.
#[derive(Default)]
pub struct Decisions([AtomicU64; KINDS.len()]);

impl Decisions {
    /// Counts one.
    pub fn count(&self, decision: &Result<Decision, NoLease>) {
        self.0[place(decision)].fetch_add(1, Relaxed);
    }

    /// Each outcome and reason, and how often it was.
    pub(crate) fn read(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        let counts = self.0.iter().map(|count| count.load(Relaxed));
        KINDS.into_iter().zip(counts)
    }
}

fn place(decision: &Result<Decision, NoLease>) -> usize {
    match decision {
        Ok(Decision::Grant(_)) => 0,
        Ok(Decision::Denial(DenialReason::MalformedToken)) => 1,
        Ok(Decision::Denial(DenialReason::UnknownToken)) => 2,
        Ok(Decision::Denial(DenialReason::Revoked)) => 3,
        Ok(Decision::Denial(DenialReason::Expired)) => 4,
        Ok(Decision::Denial(DenialReason::DomainNotAllowed)) => 5,
        Err(NoLease::NotYet) => 6,
        Err(NoLease::Lapsed) => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_counted_under_its_own_reason() {
        for (decision, kind) in [
            (
                Ok(Decision::Denial(DenialReason::UnknownToken)),
                ("denial", "UNKNOWN_TOKEN"),
            ),
            (
                Ok(Decision::Denial(DenialReason::DomainNotAllowed)),
                ("denial", "DOMAIN_NOT_ALLOWED"),
            ),
            (Err(NoLease::NotYet), ("none", "KEYRING_LOADING")),
            (Err(NoLease::Lapsed), ("none", "LEASE_LAPSED")),
        ] {
            let decisions = Decisions::default();
            decisions.count(&decision);
            for (other, count) in decisions.read() {
                assert_eq!(count, u64::from(other == kind), "{other:?}");
            }
        }
    }
}
