//! Decides whether a token may be used for a domain: a pure function of the keyring and the time.
//!
//! Owns the order of the reasons for a denial.
//! Must never wait, lock or log: it runs on every request of the mail platform.

use super::keyring::{KeyRef, Keyring};
use crate::model::{
    account::{AccountId, Accounts},
    domain::Domain,
    key::{KeyId, Scope, Status},
    time::Timestamp,
    token::{Digester, Token},
};
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// The answer to one Authorize.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The token may be used for the domain.
    Grant(Grant),
    /// The token may not be used for the domain.
    Denial(DenialReason),
}

/// What a caller learns of a key whose token may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The id of the token's key.
    pub key_id: KeyId,
    /// The account that owns the key.
    pub account_id: AccountId,
    /// The domains for which the key may be used. The domain of this call is one of them.
    pub scope: Scope,
}

/// Why a token is denied. If several reasons hold, the answer names the one that stands first here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum DenialReason {
    /// The text is not a token.
    MalformedToken,
    /// No key has this token, or its account is not one of the caller's.
    UnknownToken,
    /// The key was revoked.
    Revoked,
    /// The key has expired.
    Expired,
    /// The key is restricted to another domain.
    DomainNotAllowed,
}

/// Decides whether a token may be used for a domain at a time. A key of an account that is not
/// among `accounts` is unknown.
///
/// The answer counts only under a lease: without one the keyring may lack a revocation or a key.
pub(super) fn decide(
    keyring: &Keyring,
    digester: &Digester,
    accounts: &Accounts,
    token: &str,
    domain: Domain,
    now: Timestamp,
) -> Decision {
    let Ok(token) = Token::parse(token) else {
        return Decision::Denial(DenialReason::MalformedToken);
    };
    let keys = keyring.read();
    let key = keys.get(&digester.digest(&token));
    let Some(key) = key.filter(|key| accounts.contains(key.account_id)) else {
        return Decision::Denial(DenialReason::UnknownToken);
    };
    if let Some(reason) = denial_reason(&key, &domain, now) {
        return Decision::Denial(reason);
    }
    Decision::Grant(Grant {
        key_id: key.id,
        account_id: AccountId::from_stored(key.account_id.to_owned()),
        // A restricted key that comes so far is restricted to exactly this domain.
        scope: Scope::from_domain(key.domain.map(|_| domain)),
    })
}

fn denial_reason(key: &KeyRef<'_>, domain: &Domain, now: Timestamp) -> Option<DenialReason> {
    match key.status(now) {
        Status::Revoked => Some(DenialReason::Revoked),
        Status::Expired => Some(DenialReason::Expired),
        Status::Active => {
            let is_other = key.domain.is_some_and(|only| only != domain.as_str());
            is_other.then_some(DenialReason::DomainNotAllowed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::KeyState;
    use rand::{SeedableRng, rngs::StdRng};

    const NOW: i64 = 1_000_000;

    fn time(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).expect("in range")
    }

    fn domain(text: &str) -> Domain {
        Domain::parse(text.to_owned()).expect("a domain")
    }

    /// Decides for one key in an otherwise empty keyring.
    fn decide_for(change: impl FnOnce(&mut KeyState), sending_domain: &str) -> Decision {
        decide_within(&Accounts::All, change, sending_domain)
    }

    fn decide_within(
        accounts: &Accounts,
        change: impl FnOnce(&mut KeyState),
        sending_domain: &str,
    ) -> Decision {
        let digester = Digester::new(None);
        let token = Token::generate(&mut StdRng::seed_from_u64(1));
        let mut state = KeyState {
            digest: digester.digest(&token),
            id: KeyId::new(time(NOW), &[1; 10]),
            account_id: AccountId::from_stored("acme".into()),
            scope: Scope::AllDomains,
            expire_time: None,
            revoked: false,
        };
        change(&mut state);
        let keyring = Keyring::new();
        keyring.apply(&state);
        let domain = domain(sending_domain);
        decide(
            &keyring,
            &digester,
            accounts,
            token.expose(),
            domain,
            time(NOW),
        )
    }

    fn denial(change: impl FnOnce(&mut KeyState)) -> Option<DenialReason> {
        match decide_for(change, "example.com") {
            Decision::Grant(_) => None,
            Decision::Denial(reason) => Some(reason),
        }
    }

    #[test]
    fn a_live_key_is_granted_with_its_account_and_scope() {
        let decision = decide_for(
            |key| key.scope = Scope::Domain(domain("Example.com")),
            "example.com",
        );
        let Decision::Grant(grant) = decision else {
            panic!("{decision:?}");
        };
        assert_eq!(grant.account_id.as_str(), "acme");
        assert_eq!(grant.scope.domain(), Some("example.com"));
    }

    #[test]
    fn a_key_for_all_domains_is_granted_with_that_scope() {
        let decision = decide_for(|_| {}, "any.example");
        assert!(matches!(
            decision,
            Decision::Grant(Grant {
                scope: Scope::AllDomains,
                ..
            })
        ));
    }

    #[test]
    fn a_key_expires_at_its_expire_time_and_not_before() {
        assert_eq!(denial(|key| key.expire_time = Some(time(NOW + 1))), None);
        assert_eq!(
            denial(|key| key.expire_time = Some(time(NOW))),
            Some(DenialReason::Expired)
        );
    }

    #[test]
    fn a_restricted_key_is_denied_for_a_subdomain_and_for_its_parent() {
        for other in ["mail.example.com", "com", "example.org"] {
            assert_eq!(
                denial(|key| key.scope = Scope::Domain(domain(other))),
                Some(DenialReason::DomainNotAllowed)
            );
        }
    }

    #[test]
    fn of_several_reasons_the_first_is_given() {
        let all = |key: &mut KeyState| {
            key.revoked = true;
            key.expire_time = Some(time(1));
            key.scope = Scope::Domain(domain("other.example"));
        };
        assert_eq!(denial(all), Some(DenialReason::Revoked));
        assert_eq!(
            denial(|key| {
                all(key);
                key.revoked = false;
            }),
            Some(DenialReason::Expired)
        );
    }

    #[test]
    fn the_key_of_another_account_is_unknown_whatever_its_state() {
        let account = |name: &str| Accounts::one(AccountId::from_stored(name.into()));
        let unknown = Decision::Denial(DenialReason::UnknownToken);
        let changes: [fn(&mut KeyState); 3] = [
            |_| {},
            |key| key.revoked = true,
            |key| key.scope = Scope::Domain(domain("other.example")),
        ];
        for change in changes {
            let of_another = decide_within(&account("globex"), change, "example.com");
            assert_eq!(of_another, unknown);
            let of_its_own = decide_within(&account("acme"), change, "example.com");
            assert_ne!(of_its_own, unknown);
        }
    }

    #[test]
    fn what_is_no_token_and_what_no_key_has_are_told_apart() {
        let (keyring, digester) = (Keyring::new(), Digester::new(None));
        let unknown = Token::generate(&mut StdRng::seed_from_u64(2));
        let decide = |token| {
            let (domain, all) = (domain("a.example"), Accounts::All);
            decide(&keyring, &digester, &all, token, domain, time(NOW))
        };
        assert_eq!(decide(""), Decision::Denial(DenialReason::MalformedToken));
        assert_eq!(
            decide(unknown.expose()),
            Decision::Denial(DenialReason::UnknownToken)
        );
    }
}
