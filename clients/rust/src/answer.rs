//! What Authorize answers, as types that cannot be taken for one another.

use crate::proto::{self, authorize_response, denial::Reason, scope};
use std::fmt;
use tonic::Status;

/// Whether the token may send for the domain.
///
/// It is neither a `bool` nor a `Result`, so that an `if` does not compile, and a `?` is warned of:
///
/// ```compile_fail
/// # async fn careless(client: tosend_keyservice::Client) -> Result<(), tosend_keyservice::Error> {
/// if client.authorize("tsend_…", "mail.example.com").await? {
///     println!("send");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at protects nothing"]
pub enum Decision {
    /// It may. Send.
    Allowed(Allowed),
    /// It may not. Do not send.
    Denied(Denied),
}

/// The token may send for the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// The token's key.
    pub key_id: String,
    /// The account that owns the key.
    pub account_id: String,
    /// What the key may be used for. To know this does not replace asking for another domain.
    pub scope: Scope,
}

/// The domains that a key may be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Every verified domain of the key's account.
    AllDomains,
    /// Only this domain, in lower case and with A-labels.
    Domain(String),
}

/// The token may not send for the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denied {
    /// Why.
    pub reason: DenialReason,
    /// The token's key, for your log. None: there is no such key, or you may not know of its account.
    pub key_id: Option<String>,
    /// The account that owns the key. None if `key_id` is.
    pub account_id: Option<String>,
}

/// Why a token was denied. It prints as the server names it, such as `REVOKED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialReason {
    /// The string is not a token.
    MalformedToken,
    /// The token belongs to no key.
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
    /// A reason that this version does not know, by its number.
    Other(i32),
}

impl Decision {
    /// An answer that says neither, or contradicts itself, is no decision: the attempt has failed.
    pub(crate) fn read(response: proto::AuthorizeResponse) -> Result<Self, Status> {
        let decision = match (response.decision, response.granted) {
            (Some(authorize_response::Decision::Grant(grant)), true) => {
                Allowed::read(grant).map(Self::Allowed)
            }
            (Some(authorize_response::Decision::Denial(denial)), false) => {
                Some(Self::Denied(Denied::read(denial)))
            }
            _ => None,
        };
        decision.ok_or_else(|| Status::internal("the answer has no decision"))
    }
}

impl Allowed {
    /// None for a scope that this version does not know.
    fn read(grant: proto::Grant) -> Option<Self> {
        let scope = match grant.scope?.kind? {
            scope::Kind::AllDomains(_) => Scope::AllDomains,
            scope::Kind::Domain(domain) if domain.is_empty() => return None,
            scope::Kind::Domain(domain) => Scope::Domain(domain),
        };
        Some(Self {
            key_id: grant.key_id,
            account_id: grant.account_id,
            scope,
        })
    }
}

impl Denied {
    /// What to answer over HTTP: 401 if another token is needed, and otherwise 403.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self.reason {
            DenialReason::MalformedToken
            | DenialReason::UnknownToken
            | DenialReason::Revoked
            | DenialReason::Expired => 401,
            DenialReason::Suspended
            | DenialReason::DomainNotAllowed
            | DenialReason::DomainNotVerified
            | DenialReason::Other(_) => 403,
        }
    }

    fn read(denial: proto::Denial) -> Self {
        let known = |text: String| (!text.is_empty()).then_some(text);
        Self {
            reason: DenialReason::read(denial.reason),
            key_id: known(denial.key_id),
            account_id: known(denial.account_id),
        }
    }
}

impl DenialReason {
    fn read(number: i32) -> Self {
        match Reason::try_from(number) {
            Ok(Reason::MalformedToken) => Self::MalformedToken,
            Ok(Reason::UnknownToken) => Self::UnknownToken,
            Ok(Reason::Revoked) => Self::Revoked,
            Ok(Reason::Expired) => Self::Expired,
            Ok(Reason::Suspended) => Self::Suspended,
            Ok(Reason::DomainNotAllowed) => Self::DomainNotAllowed,
            Ok(Reason::DomainNotVerified) => Self::DomainNotVerified,
            Ok(Reason::Unspecified) | Err(_) => Self::Other(number),
        }
    }
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MalformedToken => "MALFORMED_TOKEN",
            Self::UnknownToken => "UNKNOWN_TOKEN",
            Self::Revoked => "REVOKED",
            Self::Expired => "EXPIRED",
            Self::Suspended => "SUSPENDED",
            Self::DomainNotAllowed => "DOMAIN_NOT_ALLOWED",
            Self::DomainNotVerified => "DOMAIN_NOT_VERIFIED",
            Self::Other(number) => return number.fmt(f),
        })
    }
}
