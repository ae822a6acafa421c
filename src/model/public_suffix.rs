//! Public suffixes: names below which anyone can get a name of their own, such as `co.uk`.
//!
//! Promises that no account gets what others may own. The list is Mozilla's (<https://publicsuffix.org>),
//! as it was when this release was built.

use super::domain::Domain;
use psl::{Psl, Type};

/// Why a domain cannot be verified for one account, or not with all names below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOwnable {
    /// For example `co.uk`.
    #[error(
        "is a public suffix, below which anyone can register a domain, so no account can have it; \
         give a domain below it"
    )]
    PublicSuffix,
    /// For example `github.io`.
    #[error(
        "must be false: others can get names of their own below this domain, which is on the public \
         suffix list or above names that are; add each name below it by itself"
    )]
    SharedSubdomains,
}

/// Checks that one account can have a domain, and all names below it if these are included.
pub fn check_ownable(domain: &Domain, include_subdomains: bool) -> Result<(), NotOwnable> {
    // The list has Unicode labels.
    let (name, _) = idna::domain_to_unicode(domain.as_str());
    let suffix = psl::List.suffix(name.as_bytes());
    let is_suffix = |name: &str| {
        let suffix = psl::List.suffix(name.as_bytes());
        suffix.is_some_and(|suffix| suffix.as_bytes() == name.as_bytes())
    };
    // A top-level domain that is not in the list is a suffix of neither part of it.
    let is_of_icann = suffix.is_some_and(|suffix| suffix.typ() == Some(Type::Icann));
    // `*.ck` alone stands in the list for `ck`, which is a top-level domain all the same.
    let below = format!("any.{name}");
    let below_is_of_icann = psl::List
        .suffix(below.as_bytes())
        .is_some_and(|suffix| suffix.typ() == Some(Type::Icann));
    if is_suffix(&name) && (is_of_icann || below_is_of_icann) {
        return Err(NotOwnable::PublicSuffix);
    }
    // A rule such as `*.ck` makes every name below a domain a suffix.
    if include_subdomains && (is_suffix(&name) || is_suffix(&below)) {
        return Err(NotOwnable::SharedSubdomains);
    }
    Ok(())
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
