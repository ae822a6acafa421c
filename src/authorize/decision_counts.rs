//! Counts what Authorize decided.
//!
//! Promises that each decision, and each lack of one, is counted under its own reason.
//! Must never cost a decision more than one relaxed atomic addition.

use super::{
    decision::{Decision, DenialReason},
    lease::NoLease,
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use strum::{EnumCount, VariantArray};

/// The decisions by outcome and reason.
#[derive(Default)]
pub(crate) struct DecisionCounts {
    grants: AtomicU64,
    denials: [AtomicU64; DenialReason::COUNT],
    without_lease: [AtomicU64; NoLease::COUNT],
}

impl DecisionCounts {
    pub(super) fn count(&self, decision: &Result<Decision, NoLease>) {
        let count = match decision {
            Ok(Decision::Grant(_)) => &self.grants,
            Ok(Decision::Denial(denial)) => &self.denials[denial.reason as usize],
            Err(no_lease) => &self.without_lease[*no_lease as usize],
        };
        count.fetch_add(1, Relaxed);
    }

    /// Each outcome and reason in the words of the API, and how often it occurred. A grant has no
    /// reason.
    pub(crate) fn read(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        let denials = DenialReason::VARIANTS.iter().zip(&self.denials);
        let without_lease = NoLease::VARIANTS.iter().zip(&self.without_lease);
        let counts = [(("grant", ""), &self.grants)]
            .into_iter()
            .chain(denials.map(|(reason, count)| (("denial", reason.into()), count)))
            .chain(without_lease.map(|(why, count)| (("none", why.into()), count)));
        counts.map(|(kind, count)| (kind, count.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::decision::Denial;

    fn denial(reason: DenialReason) -> Decision {
        Decision::Denial(Denial { reason, key: None })
    }

    #[test]
    fn a_decision_is_counted_under_its_own_reason() {
        for (decision, kind) in [
            (
                Ok(denial(DenialReason::UnknownToken)),
                ("denial", "UNKNOWN_TOKEN"),
            ),
            (
                Ok(denial(DenialReason::DomainNotAllowed)),
                ("denial", "DOMAIN_NOT_ALLOWED"),
            ),
            (Err(NoLease::NotYet), ("none", "KEYRING_LOADING")),
            (Err(NoLease::Lapsed), ("none", "LEASE_LAPSED")),
        ] {
            let counts = DecisionCounts::default();
            counts.count(&decision);
            for (other, count) in counts.read() {
                assert_eq!(count, u64::from(other == kind), "{other:?}");
            }
        }
    }
}
