//! Decides whether a token may be used for a domain: a pure function of the keyring and the time.
//!
//! Owns the order of the reasons for a denial.
//! Must never wait, lock or log: it runs on every request of the mail platform.

use super::keyring::{KeyPlace, KeyRef, Keyring, ReadGuard, SoughtDomain};
use crate::model::{
    account::{AccountId, Accounts},
    domain::Domain,
    key::{KeyId, Scope, Status},
    time::Timestamp,
    token::{Digester, Token, TokenDigest},
};
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// The answer to one Authorize.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The token may be used for the domain.
    Grant(Grant),
    /// The token may not be used for the domain.
    Denial(Denial),
}

/// What a caller learns of a token that may not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why it may not be used.
    pub reason: DenialReason,
    /// The token's key. `None` if no key has the token, or its account is not one of the caller's.
    pub key: Option<DeniedKey>,
}

/// The key of a token that may not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedKey {
    /// The id of the key.
    pub id: KeyId,
    /// The account that owns the key.
    pub account_id: AccountId,
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
    /// The key or its account is suspended.
    Suspended,
    /// The key is restricted to another domain.
    DomainNotAllowed,
    /// The domain is not verified for the key's account.
    DomainNotVerified,
}

/// Whether a domain must be verified for the account of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainRule {
    /// It must be. No key is granted for another domain.
    Verified,
    /// Any domain will do, as far as the key's scope allows it.
    Any,
}

/// Decides whether a token may be used for a domain at a time, or, without a domain, whether it may be used for
/// any at all. A key of an account that is not among `accounts` is unknown.
///
/// The answer counts only under a lease: without one the keyring may lack a revocation or a key.
pub(super) fn decide(
    keyring: &Keyring,
    digester: &Digester,
    rule: DomainRule,
    accounts: &Accounts,
    token: &str,
    domain: Option<Domain>,
    now: Timestamp,
) -> Decided {
    let Ok(token) = Token::parse(token) else {
        return Decided::without_key(DenialReason::MalformedToken);
    };
    decide_for(
        keyring,
        rule,
        accounts,
        &digester.digest(&token),
        domain,
        now,
    )
}

/// One of several questions: whether a token may be used for a domain.
pub struct Asked<'a> {
    /// The token, or whatever was given for one.
    pub token: &'a str,
    /// The domain.
    pub domain: Domain,
}

/// Decides several questions, each as [`decide`] does. The digests are made one after the other: BLAKE3's crate
/// shares the processor's lanes only between inputs of whole blocks of 64 bytes, and a token has 55.
pub(super) fn decide_all(
    keyring: &Keyring,
    digester: &Digester,
    rule: DomainRule,
    accounts: &Accounts,
    questions: Vec<Asked<'_>>,
    now: Timestamp,
) -> Vec<Decided> {
    let digests = questions.iter().map(|question| {
        let token = Token::parse(question.token).ok();
        token.map(|token| digester.digest(&token))
    });
    let digests: Vec<_> = digests.collect();
    keyring.fetch(digests.iter().flatten());
    let decided = digests
        .into_iter()
        .zip(questions)
        .map(|(digest, question)| match digest {
            Some(digest) => {
                let domain = Some(question.domain);
                decide_for(keyring, rule, accounts, &digest, domain, now)
            }
            None => Decided::without_key(DenialReason::MalformedToken),
        });
    decided.collect()
}

fn decide_for(
    keyring: &Keyring,
    rule: DomainRule,
    accounts: &Accounts,
    digest: &TokenDigest,
    domain: Option<Domain>,
    now: Timestamp,
) -> Decided {
    let (found, keys) = keyring.at_one_moment(|keys| {
        let asked = domain.as_ref();
        let verified = asked.filter(|_| rule == DomainRule::Verified);
        let sought = verified.map(|domain| keys.seek(domain));
        let key = keys.get(digest);
        let key = key.filter(|key| accounts.contains(key.account_id()));
        let key = key.ok_or(Denial::without_key(DenialReason::UnknownToken))?;
        match denial_reason(&key, sought, asked, now) {
            Some(reason) => Err(Denial::of(&key, reason)),
            None => Ok(GrantedKey::of(&key, asked)),
        }
    });
    match found {
        Ok(key) => Decided {
            granted: Some(Granted {
                keys,
                place: key.place,
            }),
            decision: Decision::Grant(key.grant(domain)),
        },
        Err(denial) => Decided::denied(denial),
    }
}

/// A decision, and the key to which a grant is due.
pub(super) struct Decided {
    pub(super) decision: Decision,
    pub(super) granted: Option<Granted>,
}

impl Decided {
    fn without_key(reason: DenialReason) -> Self {
        Self::denied(Denial::without_key(reason))
    }

    fn denied(denial: Denial) -> Self {
        Self {
            decision: Decision::Denial(denial),
            granted: None,
        }
    }
}

impl Denial {
    fn without_key(reason: DenialReason) -> Self {
        Self { reason, key: None }
    }

    fn of(key: &KeyRef<'_>, reason: DenialReason) -> Self {
        let key = DeniedKey {
            id: key.id(),
            account_id: AccountId::from_stored(key.account_id().to_owned()),
        };
        Self {
            reason,
            key: Some(key),
        }
    }
}

/// A key in memory that is granted.
pub(super) struct Granted {
    keys: ReadGuard,
    place: KeyPlace,
}

impl Granted {
    /// Notes the use of the key, once the grant is certain.
    pub(super) fn note_use(&self, now: Timestamp) {
        self.keys.note_use(self.place, now);
    }
}

/// What a grant says of its key.
struct GrantedKey {
    place: KeyPlace,
    id: KeyId,
    account_id: AccountId,
    is_restricted: bool,
    /// The domain to which it is restricted, if none was asked for.
    only_domain: Option<Domain>,
}

impl GrantedKey {
    fn of(key: &KeyRef<'_>, asked: Option<&Domain>) -> Self {
        let only_domain = match asked {
            Some(_) => None,
            None => key.domain(),
        };
        Self {
            place: key.place(),
            id: key.id(),
            account_id: AccountId::from_stored(key.account_id().to_owned()),
            is_restricted: key.domain_name().is_some(),
            only_domain: only_domain.map(|text| Domain::from_stored(text.to_owned())),
        }
    }

    /// A restricted key that is granted for a domain is restricted to exactly that one.
    fn grant(self, asked: Option<Domain>) -> Grant {
        let domain = asked.filter(|_| self.is_restricted).or(self.only_domain);
        Grant {
            key_id: self.id,
            account_id: self.account_id,
            scope: Scope::from_domain(domain),
        }
    }
}

fn denial_reason(
    key: &KeyRef<'_>,
    sought: Option<SoughtDomain<'_>>,
    asked: Option<&Domain>,
    now: Timestamp,
) -> Option<DenialReason> {
    match key.status(now) {
        Status::Revoked => Some(DenialReason::Revoked),
        Status::Expired => Some(DenialReason::Expired),
        Status::Suspended => Some(DenialReason::Suspended),
        Status::Active if key.is_account_suspended() => Some(DenialReason::Suspended),
        Status::Active => domain_denial(key, sought, asked?),
    }
}

/// What is looked up first grants most calls. It compares no text, which would take longer than all
/// the rest, because texts are seldom in the processor's caches. `sought` is the domain, unless
/// any domain will do.
fn domain_denial(
    key: &KeyRef<'_>,
    sought: Option<SoughtDomain<'_>>,
    domain: &Domain,
) -> Option<DenialReason> {
    let verified = sought.and_then(|domain| key.verified_domain(&domain));
    if verified.is_some() && key.domain_name().is_none_or(|only| Some(only) == verified) {
        return None;
    }
    if key.domain().is_some_and(|only| only != domain.as_str()) {
        return Some(DenialReason::DomainNotAllowed);
    }
    let is_unverified = sought.is_some() && !key.is_verified_by_parent(domain);
    is_unverified.then_some(DenialReason::DomainNotVerified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        key::KeyState,
        verified_domain::{Coverage, DomainState},
    };
    use rand::{SeedableRng, rngs::StdRng};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
        let (digester, keyring) = (Digester::new(None), Keyring::new());
        let token = held_token(&keyring, &digester, change);
        let (token, domain) = (token.expose(), Some(domain(sending_domain)));
        let rule = DomainRule::Any;
        decide(
            &keyring,
            &digester,
            rule,
            accounts,
            token,
            domain,
            time(NOW),
        )
        .decision
    }

    /// Puts a key of the account `acme` into the keyring.
    fn held_token(
        keyring: &Keyring,
        digester: &Digester,
        change: impl FnOnce(&mut KeyState),
    ) -> Token {
        let token = Token::generate(&mut StdRng::seed_from_u64(1));
        let mut state = KeyState {
            digest: digester.digest(&token),
            id: KeyId::new(time(NOW), &[1; 10]),
            account_id: AccountId::from_stored("acme".into()),
            scope: Scope::AllDomains,
            expire_time: None,
            revoked: false,
            suspended: false,
        };
        change(&mut state);
        keyring.apply_key(&state);
        token
    }

    fn denial(change: impl FnOnce(&mut KeyState)) -> Option<DenialReason> {
        match decide_for(change, "example.com") {
            Decision::Grant(_) => None,
            Decision::Denial(denial) => Some(denial.reason),
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
    fn without_a_domain_only_the_token_is_judged() {
        let (digester, keyring) = (Digester::new(None), Keyring::new());
        let only = Some(domain("other.example"));
        let token = held_token(&keyring, &digester, |key| {
            key.scope = Scope::from_domain(only.clone());
        });
        let decide = |token: &str| {
            let (rule, all, now) = (DomainRule::Verified, Accounts::All, time(NOW));
            decide(&keyring, &digester, rule, &all, token, None, now)
        };
        let decided = decide(token.expose());
        assert!(decided.granted.is_some());
        let Decision::Grant(grant) = decided.decision else {
            panic!("{:?}", decided.decision);
        };
        assert_eq!(grant.scope, Scope::from_domain(only.clone()));
        let revoked = held_token(&keyring, &digester, |key| key.revoked = true);
        let Decision::Denial(denial) = decide(revoked.expose()).decision else {
            panic!("it is revoked");
        };
        assert_eq!(denial.reason, DenialReason::Revoked);
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
        let unknown = Decision::Denial(Denial::without_key(DenialReason::UnknownToken));
        let changes: [fn(&mut KeyState); 3] = [
            |_| {},
            |key| key.revoked = true,
            |key| key.scope = Scope::Domain(domain("other.example")),
        ];
        for change in changes {
            let of_another = decide_within(&account("globex"), change, "example.com");
            assert_eq!(of_another, unknown);
            match decide_within(&account("acme"), change, "example.com") {
                Decision::Grant(grant) => assert_eq!(grant.account_id.as_str(), "acme"),
                Decision::Denial(denial) => {
                    let key = denial.key.expect("it is known");
                    let id = KeyId::new(time(NOW), &[1; 10]);
                    assert_eq!((key.id, key.account_id.as_str()), (id, "acme"));
                }
            }
        }
    }

    #[test]
    fn what_is_no_token_and_what_no_key_has_are_told_apart() {
        let (keyring, digester) = (Keyring::new(), Digester::new(None));
        let unknown = Token::generate(&mut StdRng::seed_from_u64(2));
        let decide = |token| {
            let domain = Some(domain("a.example"));
            let (all, rule) = (Accounts::All, DomainRule::Verified);
            decide(&keyring, &digester, rule, &all, token, domain, time(NOW)).decision
        };
        for (token, reason) in [
            ("", DenialReason::MalformedToken),
            (unknown.expose(), DenialReason::UnknownToken),
        ] {
            assert_eq!(decide(token), Decision::Denial(Denial::without_key(reason)));
        }
    }

    /// Decides for a key of `acme` with this scope, after these changes to domains.
    fn decide_with_domains(
        only: Option<&str>,
        changes: &[(&str, &str, Coverage)],
        sending_domain: &str,
    ) -> Option<DenialReason> {
        let (digester, keyring) = (Digester::new(None), Keyring::new());
        let token = held_token(&keyring, &digester, |key| {
            key.scope = Scope::from_domain(only.map(domain));
        });
        for &(account, name, coverage) in changes {
            keyring.apply_domain(&DomainState {
                account_id: AccountId::from_stored(account.to_owned()),
                domain: domain(name),
                coverage,
            });
        }
        let (rule, all) = (DomainRule::Verified, Accounts::All);
        let domain = Some(domain(sending_domain));
        let token = token.expose();
        match decide(&keyring, &digester, rule, &all, token, domain, time(NOW)).decision {
            Decision::Grant(grant) => {
                assert_eq!(grant.scope.domain(), only);
                None
            }
            Decision::Denial(denial) => Some(denial.reason),
        }
    }

    #[test]
    fn a_domain_counts_as_far_as_it_is_verified_for_the_account_of_the_key() {
        use Coverage::{Domain as Exact, DomainAndSubdomains as WithSubdomains, Removed};
        let unverified = Some(DenialReason::DomainNotVerified);
        for (changes, sending_domain, expected) in [
            (&[][..], "example.com", unverified),
            (&[("acme", "example.com", Exact)], "example.com", None),
            (
                &[("globex", "example.com", Exact)],
                "example.com",
                unverified,
            ),
            (
                &[("acme", "example.com", Exact)],
                "mail.example.com",
                unverified,
            ),
            (
                &[("acme", "mail.example.com", WithSubdomains)],
                "example.com",
                unverified,
            ),
            (
                &[("acme", "example.com", WithSubdomains)],
                "example.com",
                None,
            ),
            (
                &[("acme", "example.com", WithSubdomains)],
                "a.b.example.com",
                None,
            ),
            (
                &[("acme", "example.com", WithSubdomains)],
                "badexample.com",
                unverified,
            ),
            (
                &[("globex", "example.com", WithSubdomains)],
                "a.example.com",
                unverified,
            ),
            (
                &[
                    ("acme", "example.com", Exact),
                    ("acme", "example.com", Removed),
                ],
                "example.com",
                unverified,
            ),
            (
                &[
                    ("acme", "example.com", Removed),
                    ("acme", "example.com", WithSubdomains),
                ],
                "a.example.com",
                None,
            ),
            (
                &[
                    ("acme", "example.com", WithSubdomains),
                    ("acme", "example.com", Exact),
                ],
                "a.example.com",
                unverified,
            ),
            (
                &[
                    ("acme", "example.com", WithSubdomains),
                    ("acme", "a.example.com", Removed),
                ],
                "a.example.com",
                None,
            ),
        ] {
            for only in [None, Some(sending_domain)] {
                let decided = decide_with_domains(only, changes, sending_domain);
                assert_eq!(decided, expected, "{only:?} {changes:?} {sending_domain}");
            }
        }
    }

    #[test]
    fn the_restriction_of_a_key_is_named_before_a_domain_that_is_not_verified() {
        let not_allowed = Some(DenialReason::DomainNotAllowed);
        let verified = [("acme", "example.com", Coverage::DomainAndSubdomains)];
        for changes in [&[][..], &verified] {
            for sending_domain in ["other.example", "mail.example.com", "com"] {
                let decided = decide_with_domains(Some("example.com"), changes, sending_domain);
                assert_eq!(decided, not_allowed, "{sending_domain}");
            }
        }
    }

    fn put_domain(keyring: &Keyring, name: &str, coverage: Coverage) {
        keyring.apply_domain(&DomainState {
            account_id: AccountId::from_stored("acme".to_owned()),
            domain: domain(name),
            coverage,
        });
    }

    #[test]
    fn a_domain_that_one_of_two_always_verifies_is_never_denied_while_they_change() {
        use Coverage::{Domain as Exact, DomainAndSubdomains as WithSubdomains, Removed};
        let (keyring, digester) = (Keyring::new(), Digester::new(None));
        let token = held_token(&keyring, &digester, |_| ());
        put_domain(&keyring, "example.com", WithSubdomains);
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    put_domain(&keyring, "a.example.com", Exact);
                    put_domain(&keyring, "example.com", Removed);
                    put_domain(&keyring, "example.com", WithSubdomains);
                    put_domain(&keyring, "a.example.com", Removed);
                }
                is_done.store(true, Relaxed);
            });
            let (rule, all, token) = (DomainRule::Verified, Accounts::All, token.expose());
            while !is_done.load(Relaxed) {
                let domain = Some(domain("a.example.com"));
                let decided = decide(&keyring, &digester, rule, &all, token, domain, time(NOW));
                let decision = decided.decision;
                assert!(matches!(decision, Decision::Grant(_)), "{decision:?}");
            }
        });
    }
}
