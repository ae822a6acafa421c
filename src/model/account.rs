//! Owns the set of accounts that a call may touch.
//! Promises that what is not in it looks as if it did not exist.
//! Must never hold every account by listing them: "all" is a value of its own.

use super::text::{HoldsToken, free_of_tokens, is_identifier};
use std::sync::Arc;

/// The tenant that owns keys, named by the platform's own identifier for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountId(String);

/// The text is no account id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccountId {
    /// Too long, or other characters.
    #[error(
        "is not an account id; use 1 to 128 letters, digits and -_.:@/ with a letter or digit first"
    )]
    Malformed,
    /// A token in the wrong field.
    #[error(transparent)]
    Token(#[from] HoldsToken),
}

impl AccountId {
    /// Reads an account id; nothing is trimmed or folded.
    pub fn parse(text: String) -> Result<Self, InvalidAccountId> {
        if text.len() > 128 || !is_identifier(&text) {
            return Err(InvalidAccountId::Malformed);
        }
        free_of_tokens(&text)?;
        Ok(Self(text))
    }

    /// Takes back an account id that a store kept.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which accounts a call may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// Every account, those to come among them.
    All,
    /// These, which may be none.
    Only(Arc<[AccountId]>),
}

impl Accounts {
    /// One account alone.
    #[must_use]
    pub fn one(account: AccountId) -> Self {
        Self::Only(Arc::new([account]))
    }

    /// Whether the account of this name is in it.
    #[must_use]
    pub fn include(&self, account: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.iter().any(|one| one.as_str() == account),
        }
    }

    /// Those of these that are the given account: it, or none.
    #[must_use]
    pub fn narrowed_to(&self, account: AccountId) -> Self {
        if self.include(account.as_str()) {
            Self::one(account)
        } else {
            Self::Only(Arc::new([]))
        }
    }

    /// Their names, unless these are all.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
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
        assert!(acme.include("acme") && !acme.include("ACME") && !acme.include("globex"));
        assert!(Accounts::All.include("globex"));
        assert_eq!(Accounts::All.narrowed_to(account("acme")), acme);
        assert_eq!(acme.narrowed_to(account("acme")), acme);
        let none = acme.narrowed_to(account("globex"));
        assert!(!none.include("acme") && !none.include("globex"));
        assert_eq!(none.names(), Some(vec![]), "none, which is not all");
    }
}
