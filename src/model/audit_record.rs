//! Owns what an audit record is: who did what to which key, and how it ended.
//! Promises that a record holds nothing but parsed values and names of this service's own making.
//! Must never hold what a caller sent as it was sent: it may be a token.

use super::{account::AccountId, caller_name::CallerName, key::KeyId, time::Timestamp};
use std::borrow::Cow;
use strum::{Display, EnumString, IntoStaticStr};

/// What an admin may do and an authorizer may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
pub enum AdminMethod {
    /// Makes a key.
    Create,
    /// Lists an account's keys.
    List,
    /// Revokes a key.
    Revoke,
}

impl AdminMethod {
    /// By its name in the proto.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Its name in the proto.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a call ended, by the name of its gRPC status code.
///
/// Of a write it says what became of the *write*: one that was committed is `OK`, though its caller
/// may have been told `UNAVAILABLE` or have gone, because not every replica had followed it yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outcome(Cow<'static, str>);

impl Outcome {
    /// It was done, or had been done before.
    pub const OK: Self = Self::named("OK");
    /// The request id was used before.
    pub const ALREADY_EXISTS: Self = Self::named("ALREADY_EXISTS");
    /// It was not answered for trouble of the store's.
    pub const UNAVAILABLE: Self = Self::named("UNAVAILABLE");

    /// By the name that gRPC has for it.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Takes back an outcome that a store kept.
    #[must_use]
    pub fn from_stored(name: String) -> Self {
        Self(Cow::Owned(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// When the call was taken up, by the clock of the replica that did. Of several calls, the first.
    pub time: Timestamp,
    /// Who called.
    pub caller: CallerName,
    /// What for.
    pub method: AdminMethod,
    /// Whose keys it was about, as far as that is known.
    pub account_id: Option<AccountId>,
    /// Which key it was about, as far as that is known.
    pub key_id: Option<KeyId>,
    /// How it ended.
    pub outcome: Outcome,
    /// How many calls this record stands for.
    pub calls: u32,
}

/// Which records to read.
#[derive(Debug, Clone)]
pub struct AuditQuery {
    /// Not before this time.
    pub since: Timestamp,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Only of this account.
    pub account_id: Option<AccountId>,
    /// Only of this key.
    pub key_id: Option<KeyId>,
    /// Only of this caller.
    pub caller: Option<CallerName>,
    /// Only so many of them, the newest.
    pub limit: Option<u32>,
}
