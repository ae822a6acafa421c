//! Who may call the service: callers, their roles, and how each of them proves who it is.
//!
//! Promises that a caller has exactly the role and the accounts of its line in the credentials
//! file.
//! Must never keep a bearer secret in memory, but only its digest.

pub(crate) mod admin_slots;
pub mod certificate_name;
pub mod credentials;
pub mod secret;
pub(crate) mod shares;
pub(crate) mod store_turns;
use crate::model::{account::Accounts, caller_name::CallerName};
use strum::{Display, EnumString};

/// An internal service or a person that calls this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name by which audit records know the caller.
    pub name: CallerName,
    pub(crate) role: Role,
    /// The caller may read and change only the keys of these accounts.
    pub(crate) accounts: Accounts,
}

impl Caller {
    /// Everybody who calls a server that has no credentials file.
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
pub(crate) enum Role {
    /// The caller may call Authorize.
    Authorizer,
    /// The caller may call every method.
    Admin,
}

impl Role {
    /// Whether this role allows what the other role is needed for.
    pub(crate) fn covers(self, needed: Self) -> bool {
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
