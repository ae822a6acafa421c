//! Owns who may call: callers, their roles, and how each proves itself.
//! Promises that a caller has just the role and the accounts of its line in the credentials file.
//! Must never hold a bearer secret, only its digest.

pub mod credentials;
pub mod san;
pub mod secret;

use crate::key::{Accounts, HoldsToken, free_of_tokens, is_identifier};
use std::fmt;

/// Stands for whoever calls a server that asks nobody who he is.
const ANYONE: &str = "anyone";

/// Stands for the service itself.
const SERVICE: &str = "keyservice";

/// Stands for whoever is not in the credentials file.
const UNKNOWN: &str = "unknown";

/// Whoever makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What people call it.
    pub name: CallerName,
    /// What it may do.
    pub role: Role,
    /// To which accounts.
    pub accounts: Accounts,
}

impl Caller {
    /// Whoever calls a server that asks nobody who he is.
    #[must_use]
    pub fn anyone() -> Self {
        Self {
            name: CallerName(ANYONE.to_owned()),
            role: Role::Admin,
            accounts: Accounts::All,
        }
    }
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Authorize.
    Authorizer,
    /// Create, List and Revoke; and Authorize.
    Admin,
}

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing, not even to be known.
    Open,
    /// To be known.
    AnyCaller,
    /// This role, or one that may do more.
    Needs(Role),
}

impl Role {
    /// Whether who has this role may do what needs the other.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self == Self::Admin || needed == Self::Authorizer
    }

    /// Reads a role.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "authorizer" => Some(Self::Authorizer),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorizer => "authorizer",
            Self::Admin => "admin",
        })
    }
}

/// What people call a caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallerName(String);

/// The text is no name for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCallerName {
    /// Too long, or other characters.
    #[error(
        "is not a caller's name; use 1 to 64 letters, digits and -_.:@/ with a letter or digit first"
    )]
    Malformed,
    /// Its records would look as if somebody else had made them.
    #[error("is a name that stands for somebody else in audit records; choose another")]
    Reserved,
    /// A secret in the wrong place.
    #[error("holds a bearer secret, which must stand nowhere but with its caller")]
    Secret,
    /// A token in the wrong place.
    #[error(transparent)]
    Token(#[from] HoldsToken),
}

impl CallerName {
    /// Reads a caller's name; nothing is trimmed or folded.
    pub fn parse(text: &str) -> Result<Self, InvalidCallerName> {
        if text.len() > 64 || !is_identifier(text) {
            return Err(InvalidCallerName::Malformed);
        }
        if text.contains(secret::PREFIX) {
            return Err(InvalidCallerName::Secret);
        }
        free_of_tokens(text)?;
        if [ANYONE, SERVICE, UNKNOWN].contains(&text) {
            return Err(InvalidCallerName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The service itself, which writes revocations again that a store has lost.
    #[must_use]
    pub fn service() -> Self {
        Self(SERVICE.to_owned())
    }

    /// Whoever is not in the credentials file.
    #[must_use]
    pub fn unknown() -> Self {
        Self(UNKNOWN.to_owned())
    }

    /// Takes back a name that a store kept.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_may_do_all_and_an_authorizer_only_authorize() {
        use Role::{Admin, Authorizer};
        assert!(Admin.covers(Admin) && Admin.covers(Authorizer));
        assert!(Authorizer.covers(Authorizer) && !Authorizer.covers(Admin));
        for role in [Admin, Authorizer] {
            assert_eq!(Role::parse(&role.to_string()), Some(role));
        }
        assert_eq!(Role::parse("Admin"), None);
    }

    #[test]
    fn a_name_is_plain_text_that_holds_no_secret() {
        assert!(CallerName::parse("dashboard.eu-1").is_ok());
        for wrong in ["", "-a", "a b", "ä", "a=b", &"a".repeat(65)] {
            assert_eq!(CallerName::parse(wrong), Err(InvalidCallerName::Malformed));
        }
        for reserved in ["anyone", "keyservice", "unknown"] {
            let refused = CallerName::parse(reserved);
            assert_eq!(refused, Err(InvalidCallerName::Reserved));
        }
        assert!(CallerName::parse("keyservice-ui").is_ok());
        let secret = secret::Secret::generate(&mut rand::rng());
        let refused = CallerName::parse(secret.expose());
        assert_eq!(refused, Err(InvalidCallerName::Secret));
    }
}
