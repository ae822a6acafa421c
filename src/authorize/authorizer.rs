//! Answers whether a token may be used for a domain, for every way in which a caller can ask.
//!
//! Promises that every answer is counted, and that none is given without a lease.
//! Must never wait or lock: the mail platform asks on every request that it serves.

use super::{
    decision::{Asked, Decided, Decision, DomainRule, decide, decide_all},
    decision_counts::DecisionCounts,
    keyring::Keyring,
    lease::{Lease, NoLease},
};
use crate::model::{account::Accounts, domain::Domain, time::Timestamp, token::Digester};
use std::sync::Arc;

/// The keys and domains in memory, the lease that vouches for them, and the decisions made from both.
///
/// Unary calls, streams and gateways all ask the same one.
pub struct Authorizer {
    keyring: Arc<Keyring>,
    lease: Arc<Lease>,
    digester: Digester,
    rule: DomainRule,
    counts: DecisionCounts,
}

impl Authorizer {
    /// Holds no key and no lease yet: `replication` brings both.
    ///
    /// The store must have been opened with the same `digester`. Otherwise every token is unknown.
    #[must_use]
    pub fn new(digester: Digester, rule: DomainRule) -> Self {
        Self {
            keyring: Arc::new(Keyring::new()),
            lease: Arc::new(Lease::none()),
            digester,
            rule,
            counts: DecisionCounts::default(),
        }
    }

    /// Decides whether a token may be used for a domain at a time, and counts the answer.
    ///
    /// A key of an account that is not among `accounts` is unknown.
    ///
    /// # Errors
    /// [`NoLease`] when this replica cannot prove that its memory is current.
    pub fn authorize(
        &self,
        token: &str,
        domain: Domain,
        accounts: &Accounts,
        now: Timestamp,
    ) -> Result<Decision, NoLease> {
        self.decide(token, Some(domain), accounts, now)
    }

    /// Decides whether a token may be used at all, and counts the answer. A grant says nothing of any domain.
    ///
    /// # Errors
    /// [`NoLease`], as [`Self::authorize`]
    pub fn authorize_without_domain(
        &self,
        token: &str,
        accounts: &Accounts,
        now: Timestamp,
    ) -> Result<Decision, NoLease> {
        self.decide(token, None, accounts, now)
    }

    fn decide(
        &self,
        token: &str,
        domain: Option<Domain>,
        accounts: &Accounts,
        now: Timestamp,
    ) -> Result<Decision, NoLease> {
        let decided = self.lease.covering(|| {
            let (keyring, digester) = (&self.keyring, &self.digester);
            decide(keyring, digester, self.rule, accounts, token, domain, now)
        });
        self.conclude(decided, now)
    }

    /// Decides several questions at once, and gives the answers in their order.
    ///
    /// Each is decided and counted as [`Self::authorize`] does it. To look up many keys together takes less
    /// time, because the processor waits for their memory together.
    pub fn authorize_all(
        &self,
        questions: Vec<Asked<'_>>,
        accounts: &Accounts,
        now: Timestamp,
    ) -> Vec<Result<Decision, NoLease>> {
        let count = questions.len();
        let decided = self.lease.covering(|| {
            let (keyring, digester) = (&self.keyring, &self.digester);
            decide_all(keyring, digester, self.rule, accounts, questions, now)
        });
        match decided {
            Ok(decided) => {
                let decided = decided.into_iter();
                decided.map(|one| self.conclude(Ok(one), now)).collect()
            }
            Err(no_lease) => {
                let without = std::iter::repeat_n(no_lease, count);
                without.map(|why| self.conclude(Err(why), now)).collect()
            }
        }
    }

    /// Counts a decision, and notes the use of a key that is granted.
    fn conclude(
        &self,
        decided: Result<Decided, NoLease>,
        now: Timestamp,
    ) -> Result<Decision, NoLease> {
        let decision = decided.map(|decided| {
            if let Some(granted) = decided.granted {
                granted.note_use(now);
            }
            decided.decision
        });
        self.counts.count(&decision);
        decision
    }

    /// The keys and domains in memory.
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Until when this replica may answer.
    #[must_use]
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Turns tokens into the digests by which the keyring finds them.
    #[must_use]
    pub fn digester(&self) -> &Digester {
        &self.digester
    }

    /// Whether a domain must be verified.
    #[must_use]
    pub fn domain_rule(&self) -> DomainRule {
        self.rule
    }

    pub(crate) fn counts(&self) -> &DecisionCounts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authorize::decision::DenialReason, model::time::Moment};

    #[test]
    fn without_a_lease_there_is_no_answer_of_any_kind() {
        let authorizer = Authorizer::new(Digester::new(None), DomainRule::Verified);
        let authorize = || {
            let domain = Domain::parse("a.example".to_owned()).expect("a domain");
            authorizer.authorize("", domain, &Accounts::All, Timestamp::now())
        };
        assert_eq!(authorize(), Err(NoLease::NotYet));
        authorizer.lease.extend(Moment::LATEST);
        let Ok(Decision::Denial(denial)) = authorize() else {
            panic!("the lease holds")
        };
        assert_eq!(denial.reason, DenialReason::MalformedToken);
        authorizer.lease.give_up();
        authorizer.lease.extend(Moment::now());
        assert_eq!(authorize(), Err(NoLease::Lapsed));
    }
}
