//! The audit record: who did what to which key or domain, and how the call ended.
//!
//! Promises that a record contains only parsed values, and names that this service chose.
//! Must never contain text as a caller sent it, because that may be a token.

use super::{
    account::AccountId,
    caller_name::CallerName,
    domain::Domain,
    key::{KeyEnd, KeyId},
    time::Timestamp,
};
use std::{borrow::Cow, error::Error, fmt};
use strum::{Display, EnumCount, IntoStaticStr, VariantArray};

/// The methods that need the role of an admin. Their calls are audited.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumCount, IntoStaticStr, VariantArray,
)]
pub enum AdminMethod {
    /// Creates a key.
    Create,
    /// Lists the keys of an account.
    List,
    /// Revokes a key by its id or its token.
    Revoke,
    /// Revokes many keys at once.
    BatchRevoke,
    /// Reads a key by its id or its token.
    Get,
    /// Changes what a key is called, or what it may be used for.
    Update,
    /// Replaces a key by a successor.
    Rotate,
    /// Suspends a key.
    Suspend,
    /// Ends a key's suspension.
    Resume,
    /// Suspends an account.
    SuspendAccount,
    /// Ends an account's suspension.
    ResumeAccount,
    /// Reads what an account has.
    GetAccount,
    /// Says that a domain is verified for an account.
    AddDomain,
    /// Takes a verified domain from an account.
    RemoveDomain,
    /// Lists the verified domains of an account.
    ListDomains,
}

impl AdminMethod {
    /// Whether it changes what Authorize may answer.
    #[must_use]
    pub const fn writes(self) -> bool {
        match self {
            Self::Create
            | Self::Revoke
            | Self::BatchRevoke
            | Self::Update
            | Self::Rotate
            | Self::Suspend
            | Self::Resume
            | Self::SuspendAccount
            | Self::ResumeAccount
            | Self::AddDomain
            | Self::RemoveDomain => true,
            Self::List | Self::Get | Self::GetAccount | Self::ListDomains => false,
        }
    }

    /// Whether it can only take rights away. Such a call must get through when others do not.
    #[must_use]
    pub const fn takes_rights_away(self) -> bool {
        matches!(
            self,
            Self::Revoke
                | Self::BatchRevoke
                | Self::Suspend
                | Self::SuspendAccount
                | Self::RemoveDomain
        )
    }

    /// The method with this name in the proto.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::VARIANTS
            .iter()
            .copied()
            .find(|method| method.as_str() == name)
    }

    /// The name that the method has in the proto.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The name of a method in a record. It is any text, because a later release may have other methods, and
/// a role that may insert records may make up names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MethodName(Cow<'static, str>);

impl MethodName {
    /// Takes back a name that a store has kept.
    #[must_use]
    pub fn from_stored(name: String) -> Self {
        Self(Cow::Owned(name))
    }

    /// The name for a call that only says what the method would do.
    #[must_use]
    pub fn of_dry_run(method: AdminMethod) -> Self {
        Self(Cow::Owned(format!("{method}DryRun")))
    }

    /// Those of this release.
    pub fn all() -> impl Iterator<Item = Self> {
        let methods = AdminMethod::VARIANTS.iter().copied();
        methods.map(Self::from).chain([
            Self::of_dry_run(AdminMethod::BatchRevoke),
            Self::accept_restore(),
        ])
    }

    /// Reads the name of a method of this release, in upper or lower case.
    ///
    /// # Errors
    ///
    /// If it is none, with all that there are.
    pub fn parse(text: &str) -> Result<Self, UnknownMethod> {
        Self::all()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
            .ok_or(UnknownMethod)
    }

    /// The name for the acceptance of a store that was restored, which no call does.
    #[must_use]
    pub const fn accept_restore() -> Self {
        Self(Cow::Borrowed("AcceptRestore"))
    }

    /// The name, which in the proto is that of a method of this release, as a rule.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text names no method whose calls are audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownMethod;

impl fmt::Display for UnknownMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the methods are ")?;
        for method in AdminMethod::VARIANTS {
            write!(f, "{method}, ")?;
        }
        let acceptance = MethodName::accept_restore();
        write!(
            f,
            "{}DryRun and {}",
            AdminMethod::BatchRevoke,
            acceptance.as_str()
        )
    }
}

impl Error for UnknownMethod {}

impl From<AdminMethod> for MethodName {
    fn from(method: AdminMethod) -> Self {
        Self(Cow::Borrowed(method.as_str()))
    }
}

/// How a call ended: the name of its gRPC status code.
///
/// For a write, this is the outcome of the *write*. A committed write is `OK`, even if its caller got
/// `UNAVAILABLE` or was gone because not every replica had applied the write yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outcome(Cow<'static, str>);

impl Outcome {
    /// The call was carried out, or an earlier call had done the same.
    pub const OK: Self = Self::named("OK");
    /// An earlier call had used the request id.
    pub const ALREADY_EXISTS: Self = Self::named("ALREADY_EXISTS");
    /// The call was not answered, because the store could not be reached.
    pub const UNAVAILABLE: Self = Self::named("UNAVAILABLE");

    /// The outcome with this name of a status code.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Takes back an outcome that a store has kept.
    #[must_use]
    pub fn from_stored(name: String) -> Self {
        Self(Cow::Owned(name))
    }

    /// The name of the status code, such as `NOT_FOUND`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One call, or several calls that ended in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// When the handler took the call up, or, if none did, when the caller was authenticated, by the
    /// replica's own clock. For several calls, this is the first time.
    pub time: Timestamp,
    /// The caller, by the name that it had in the credentials file at the time.
    pub caller: CallerName,
    /// The method that was called.
    pub method: MethodName,
    /// The account that the call concerned. `None` if the service did not learn it.
    pub account_id: Option<AccountId>,
    /// The key that the call concerned. `None` if the service did not learn it.
    pub key_id: Option<KeyId>,
    /// The domain that the call concerned, or to which the key is restricted. `None` if there is none, or
    /// the service did not learn it.
    pub domain: Option<Domain>,
    /// What an `AddDomain` said of the names below the domain. `None` for any other call.
    pub include_subdomains: Option<bool>,
    /// When the key stops working, as an `Update` of it, or a `Rotate` that replaced it, has left it. `None` for any
    /// other call, and for one that a release without this field has recorded.
    pub key_end: Option<KeyEnd>,
    /// The number of the write that made things as the call left them. Of a repeated `Create`, `Rotate`, `AddDomain` or
    /// `RemoveDomain`, it is the earlier call's. `None` if the call wrote nothing otherwise. Times may be in another
    /// order than writes; these are not.
    pub revision: Option<i64>,
    /// How the call ended.
    pub outcome: Outcome,
    /// How many calls this record stands for. It is 1 unless calls were counted together.
    pub calls: u32,
}

/// Selects audit records. A field that is `None` or empty excludes nothing.
#[derive(Debug, Clone)]
pub struct AuditQuery {
    /// The first time to include.
    pub since: Timestamp,
    /// The first time to exclude.
    pub until: Option<Timestamp>,
    /// Includes only records of this account.
    pub account_id: Option<AccountId>,
    /// Includes only records of this key.
    pub key_id: Option<KeyId>,
    /// Includes only records of this domain.
    pub domain: Option<Domain>,
    /// Includes only records of this caller.
    pub caller: Option<CallerName>,
    /// Includes only records of one of these methods.
    pub methods: Vec<MethodName>,
    /// How many records to read. The newest are read.
    pub limit: Option<u32>,
}
