//! Which keys a call selects, and by which index a store finds them.
//!
//! Promises one meaning for every store and call: a key is selected if it has all that the filter names.

use super::{Key, KeyName, Labels, Status};
use crate::model::{account::AccountId, domain::Domain, time::Timestamp, token::Preview};

/// Selects keys. A field that is `None`, or has no labels, excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Only keys of this account.
    pub account_id: Option<AccountId>,
    /// Only keys that are not revoked.
    pub is_unrevoked: bool,
    /// Only keys with this status at the time of the call.
    pub status: Option<Status>,
    /// Only keys that are restricted to exactly this domain.
    pub domain: Option<Domain>,
    /// Only keys with all of these labels.
    pub labels: Labels,
    /// Only keys whose name begins so.
    pub name_prefix: Option<KeyName>,
    /// Only keys whose token is shown so.
    pub preview: Option<Preview>,
    /// Only keys that were created before this time.
    pub created_before: Option<Timestamp>,
    /// Only keys that were not used at or after this time. One that was never used counts as used when it was
    /// created.
    pub unused_since: Option<Timestamp>,
}

/// The index by which a store goes through keys, newest first. What else a filter names is looked at in each
/// key. If the filter names an account, these are keys of that account alone: a page token names the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Walk<'a> {
    /// The keys whose token is shown so, of an account if there is one. Nearly always it is one key.
    Preview(Option<&'a AccountId>, &'a Preview),
    /// The keys of an account that have a label, given as `NAME=VALUE`.
    Label(&'a AccountId, String),
    /// The keys of an account that are restricted to a domain.
    Domain(&'a AccountId, &'a Domain),
    /// The same, without those that are revoked.
    UnrevokedDomain(&'a AccountId, &'a Domain),
    /// The keys of an account that may have a status. The index does not know the time.
    Status(&'a AccountId, Status),
    /// The suspended keys of all accounts.
    Suspended,
    /// The keys of an account.
    Account(&'a AccountId),
    /// All keys.
    All,
}

impl KeyFilter {
    /// The index that leads past the fewest other keys, as a rule.
    #[must_use]
    pub fn walk(&self) -> Walk<'_> {
        if let Some(preview) = &self.preview {
            return Walk::Preview(self.account_id.as_ref(), preview);
        }
        let Some(account_id) = &self.account_id else {
            return match self.status {
                Some(Status::Suspended) => Walk::Suspended,
                _ => Walk::All,
            };
        };
        // An account that rotates its keys has ever more of them that are revoked, also of one label or one domain.
        // How many others it has is limited.
        let is_unrevoked = self.is_unrevoked || self.status.is_some_and(|it| it != Status::Revoked);
        match (self.labels.pairs().pop(), &self.domain, self.status) {
            (_, Some(domain), _) if is_unrevoked => Walk::UnrevokedDomain(account_id, domain),
            (Some(label), ..) if !is_unrevoked => Walk::Label(account_id, label),
            (_, Some(domain), _) => Walk::Domain(account_id, domain),
            (_, None, Some(status)) => Walk::Status(account_id, status),
            // It leads to all keys that are not revoked.
            (_, None, None) if is_unrevoked => Walk::Status(account_id, Status::Active),
            (_, None, None) => Walk::Account(account_id),
        }
    }

    /// Whether a key is selected.
    #[must_use]
    pub fn selects(&self, key: &Key, now: Timestamp) -> bool {
        let Self {
            account_id,
            is_unrevoked,
            status,
            domain,
            labels,
            name_prefix,
            preview,
            created_before,
            unused_since,
        } = self;
        let begins = |prefix: &KeyName| key.name.as_str().starts_with(prefix.as_str());
        let has = |label: (&str, &str)| key.labels.iter().any(|own| own == label);
        account_id.as_ref().is_none_or(|id| *id == key.account_id)
            && !(*is_unrevoked && key.revoke_time.is_some())
            && status.is_none_or(|status| status == key.status(now))
            && (domain.is_none() || domain.as_ref() == key.scope.as_domain())
            && labels.iter().all(has)
            && name_prefix.as_ref().is_none_or(begins)
            && preview.as_ref().is_none_or(|it| *it == key.preview)
            && created_before.is_none_or(|time| key.create_time < time)
            && unused_since.is_none_or(|time| key.last_used_time.unwrap_or(key.create_time) < time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_wants_no_revoked_keys_is_led_past_none() {
        let account = AccountId::parse("acme".to_owned()).expect("valid");
        let domain = Domain::parse("example.com".to_owned()).expect("valid");
        let label = Labels::parse([("a".to_owned(), "1".to_owned())]).expect("valid");
        let (no_label, of_domain) = (Labels::default(), Some(domain.clone()));
        let by_domain = Walk::Domain(&account, &domain);
        let by_unrevoked_domain = Walk::UnrevokedDomain(&account, &domain);
        let by_label = Walk::Label(&account, "a=1".to_owned());
        let by_status = |status| Walk::Status(&account, status);
        let (active, revoked) = (Some(Status::Active), Some(Status::Revoked));
        for (is_unrevoked, status, labels, domain, walk) in [
            (false, None, &no_label, &None, Walk::Account(&account)),
            (false, None, &no_label, &of_domain, by_domain.clone()),
            (false, None, &label, &of_domain, by_label.clone()),
            (false, revoked, &label, &None, by_label),
            (false, revoked, &no_label, &of_domain, by_domain),
            (true, None, &no_label, &None, by_status(Status::Active)),
            (true, None, &label, &None, by_status(Status::Active)),
            (false, active, &label, &None, by_status(Status::Active)),
            (true, None, &label, &of_domain, by_unrevoked_domain.clone()),
            (false, active, &no_label, &of_domain, by_unrevoked_domain),
        ] {
            let filter = KeyFilter {
                account_id: Some(account.clone()),
                is_unrevoked,
                status,
                labels: labels.clone(),
                domain: domain.clone(),
                ..KeyFilter::default()
            };
            assert_eq!(filter.walk(), walk, "{filter:?}");
        }
    }
}
