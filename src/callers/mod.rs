//! Owns who may call: callers, their roles, and how each proves itself.
//! Promises that a caller has just the role and the accounts of its line in the credentials file.
//! Must never hold a bearer secret, only its digest.

pub mod certificate_name;
pub mod credentials;
pub mod secret;

use crate::model::{account::Accounts, caller_name::CallerName};
use strum::{Display, EnumString};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "lowercase")]
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
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("Admin".parse::<Role>().is_err());
    }
}
