//! What a replica believes of a domain that the store holds.
//!
//! Promises that no row lets an account send for names that others may own. `AddDomain` refuses such a
//! domain. A store can still have one, if somebody inserted the row without this service, or if the domain was
//! added before the public suffix list had it.

use crate::{
    model::{
        public_suffix::{NotOwnable, check_ownable},
        verified_domain::{Coverage, DomainState},
    },
    observe::repeated_line::RepeatedLine,
};
use std::{borrow::Cow, time::Instant};

/// The domain without what no account can have.
pub(super) fn believed(stored: &DomainState) -> Cow<'_, DomainState> {
    static NOT_BELIEVED: RepeatedLine = RepeatedLine::new();
    let include_subdomains = stored.coverage == Coverage::DomainAndSubdomains;
    if stored.coverage == Coverage::Removed {
        return Cow::Borrowed(stored);
    }
    let Err(why) = check_ownable(&stored.domain, include_subdomains) else {
        return Cow::Borrowed(stored);
    };
    let (coverage, consequence) = match why {
        NotOwnable::PublicSuffix => (
            Coverage::Removed,
            "it is a public suffix, and is treated as not verified",
        ),
        NotOwnable::SharedSubdomains => (
            Coverage::Domain,
            "others can get names of their own below it, so these are treated as not verified",
        ),
    };
    if let Some(left_out) = NOT_BELIEVED.admit(Instant::now()) {
        tracing::error!(
            account_id = stored.account_id.as_str(),
            domain = stored.domain.as_str(),
            left_out,
            "the store has a domain that no account can have like this: {consequence}; find out who stored \
             it, and remove it"
        );
    }
    Cow::Owned(DomainState {
        coverage,
        ..stored.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{account::AccountId, domain::Domain};

    #[test]
    fn nobody_has_what_others_may_own() {
        use Coverage::{Domain as Alone, DomainAndSubdomains as All, Removed};
        for (domain, stored, expected) in [
            ("example.com", All, All),
            ("example.com", Alone, Alone),
            ("com", All, Removed),
            ("com", Alone, Removed),
            ("co.uk", All, Removed),
            ("amazonaws.com", All, Alone),
            ("github.io", All, Alone),
            ("github.io", Alone, Alone),
            ("github.io", Removed, Removed),
        ] {
            let state = DomainState {
                account_id: AccountId::from_stored("acme".to_owned()),
                domain: Domain::from_stored(domain.to_owned()),
                coverage: stored,
            };
            assert_eq!(believed(&state).coverage, expected, "{domain} {stored:?}");
        }
    }
}
