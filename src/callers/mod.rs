//! Owns who may call: callers, their roles, and how each proves itself.
//! Promises that a caller has just the role and the accounts of its line in the credentials file.
//! Must never hold a bearer secret, only its digest.

pub mod certificate_name;
pub mod credentials;
pub mod secret;

use crate::model::{account::Accounts, caller_name::CallerName};
use std::fmt;

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
            name: CallerName::anyone(),
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
}
