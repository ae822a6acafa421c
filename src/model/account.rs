//! An account's id, and the set of accounts that a call may touch.
//!
//! Promises that [`Accounts::All`] and a list of accounts are never mistaken for one another: a
//! list may be empty, and then it allows nothing.

use super::text::{ContainsSecret, is_identifier, refuse_secrets};
use std::sync::Arc;

/// The id of a tenant, which owns keys. The mail platform chooses it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountId(String);

/// The text is not an account id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccountId {
    /// The length or a character is wrong.
    #[error(
        "is not an account id; use 1 to 128 letters, digits and -_.:@/ with a letter or digit first"
    )]
    Malformed,
    /// Somebody put a secret into the wrong field.
    #[error(transparent)]
    Secret(#[from] ContainsSecret),
}

impl AccountId {
    /// Parses an account id. White space is not trimmed, and case matters.
    pub fn parse(text: String) -> Result<Self, InvalidAccountId> {
        if text.len() > 128 || !is_identifier(&text) {
            return Err(InvalidAccountId::Malformed);
        }
        refuse_secrets(&text)?;
        Ok(Self(text))
    }

    /// Takes back an account id that a store has kept.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }

    /// The id as the platform chose it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Everything that Authorize must know of an account. A keyring holds it, and a store reports it as a
/// change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    /// The account.
    pub account_id: AccountId,
    /// Whether every key of the account is denied, whatever its own state.
    pub suspended: bool,
}

/// Which accounts a call may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// Every account, including those that do not exist yet.
    All,
    /// The accounts in the list, which may be empty.
    Only(Arc<[AccountId]>),
}

impl Accounts {
    /// Allows this account and no other.
    #[must_use]
    pub fn one(account: AccountId) -> Self {
        Self::Only(Arc::new([account]))
    }

    pub(crate) fn contains(&self, account: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.iter().any(|one| one.as_str() == account),
        }
    }

    /// Allows the given account if this set contains it, and nothing otherwise.
    pub(crate) fn narrowed_to(&self, account: AccountId) -> Self {
        if self.contains(account.as_str()) {
            Self::one(account)
        } else {
            Self::Only(Arc::new([]))
        }
    }

    /// The ids in the list. `None` means all accounts.
    pub(crate) fn listed(&self) -> Option<Vec<&str>> {
        match self {
            Self::All => None,
            Self::Only(accounts) => Some(accounts.iter().map(AccountId::as_str).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountId {
        AccountId::from_stored(name.to_owned())
    }

    #[test]
    fn accounts_are_narrowed_and_never_widened() {
        let acme = Accounts::one(account("acme"));
        assert!(acme.contains("acme") && !acme.contains("ACME") && !acme.contains("globex"));
        assert!(Accounts::All.contains("globex"));
        assert_eq!(Accounts::All.narrowed_to(account("acme")), acme);
        assert_eq!(acme.narrowed_to(account("acme")), acme);
        let none = acme.narrowed_to(account("globex"));
        assert!(!none.contains("acme") && !none.contains("globex"));
        assert_eq!(none.listed(), Some(vec![]), "none, which is not all");
    }
}
