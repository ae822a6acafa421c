//! Public suffixes: names below which anyone can get a name of their own, such as `co.uk`.
//!
//! Promises that no account gets what others may own. The list is Mozilla's (<https://publicsuffix.org>),
//! as it was when this release was built.

use super::domain::Domain;
use psl::{List, Psl, Type};
use std::iter;

/// Why a domain cannot be verified for one account, or not with all names below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOwnable {
    /// For example `co.uk`.
    #[error(
        "is a public suffix, below which anyone can register a domain, so no account can have it; \
         give a domain below it"
    )]
    PublicSuffix,
    /// For example `github.io`, or `amazonaws.com`, because of `s3.amazonaws.com`.
    #[error(
        "must be false: others can get names of their own below this domain, because it is on the \
         public suffix list, or a name below it is; add each of your names below it by itself"
    )]
    SharedSubdomains,
}

/// Checks that one account can have a domain, and all names below it if these are included.
pub fn check_ownable(domain: &Domain, include_subdomains: bool) -> Result<(), NotOwnable> {
    // The list has Unicode labels.
    let (name, _) = idna::domain_to_unicode(domain.as_str());
    let suffix = List.suffix(name.as_bytes());
    let is_suffix = suffix.is_some_and(|suffix| suffix.as_bytes() == name.as_bytes());
    // A top-level domain that is not in the list is a suffix of neither part of it.
    let is_of_icann = suffix.is_some_and(|suffix| suffix.typ() == Some(Type::Icann));
    // `*.ck` alone stands in the list for `ck`, which is a top-level domain all the same.
    let below = format!("any.{name}");
    let below_is_of_icann = List
        .suffix(below.as_bytes())
        .is_some_and(|suffix| suffix.typ() == Some(Type::Icann));
    if is_suffix && (is_of_icann || below_is_of_icann) {
        return Err(NotOwnable::PublicSuffix);
    }
    if include_subdomains && (is_suffix || is_above_rules(&name)) {
        return Err(NotOwnable::SharedSubdomains);
    }
    Ok(())
}

/// Whether the list has a rule about names below this one, at any depth.
///
/// The list does not tell this, but it is a tree, and asks for one more label only where it has a branch
/// to choose. So it asks for a label below the whole name only if it has such a rule.
fn is_above_rules(name: &str) -> bool {
    let mut asks_below = false;
    let below = iter::from_fn(|| {
        asks_below = true;
        None
    });
    List.find(name.rsplit('.').map(str::as_bytes).chain(below));
    asks_below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_can_have_a_domain_but_not_what_others_may_own() {
        use NotOwnable::{PublicSuffix, SharedSubdomains};
        for (name, alone, with_subdomains) in [
            ("example.com", Ok(()), Ok(())),
            ("mail.example.co.uk", Ok(()), Ok(())),
            ("example.рф", Ok(()), Ok(())),
            ("com", Err(PublicSuffix), Err(PublicSuffix)),
            ("CO.UK.", Err(PublicSuffix), Err(PublicSuffix)),
            ("рф", Err(PublicSuffix), Err(PublicSuffix)),
            ("xn--p1ai", Err(PublicSuffix), Err(PublicSuffix)),
            // By the rule `*.ck`, with the exception `!www.ck`.
            ("ck", Err(PublicSuffix), Err(PublicSuffix)),
            ("any.ck", Err(PublicSuffix), Err(PublicSuffix)),
            ("www.ck", Ok(()), Ok(())),
            // By the rule `*.kobe.jp`.
            ("kobe.jp", Ok(()), Err(SharedSubdomains)),
            ("github.io", Ok(()), Err(SharedSubdomains)),
            ("somebody.github.io", Ok(()), Ok(())),
            // Above `s3.amazonaws.com` and `s3.dualstack.eu-west-1.amazonaws.com`.
            ("amazonaws.com", Ok(()), Err(SharedSubdomains)),
            ("s3.amazonaws.com", Ok(()), Err(SharedSubdomains)),
            ("eu-west-1.amazonaws.com", Ok(()), Err(SharedSubdomains)),
            (
                "dualstack.eu-west-1.amazonaws.com",
                Ok(()),
                Err(SharedSubdomains),
            ),
            ("mail.amazonaws.com", Ok(()), Ok(())),
            // Above `*.compute.amazonaws.com.cn` alone, and above `pvt.k12.ma.us`, of the ICANN part.
            ("compute.amazonaws.com.cn", Ok(()), Err(SharedSubdomains)),
            ("k12.ma.us", Err(PublicSuffix), Err(PublicSuffix)),
            // Above the name of a company, in Unicode.
            ("個人.hk", Err(PublicSuffix), Err(PublicSuffix)),
            // Not in the list.
            ("internal", Ok(()), Err(SharedSubdomains)),
            ("mail.internal", Ok(()), Ok(())),
        ] {
            let domain = Domain::parse(name.to_owned()).expect(name);
            assert_eq!(check_ownable(&domain, false), alone, "{name}");
            assert_eq!(check_ownable(&domain, true), with_subdomains, "{name}");
        }
    }
}
