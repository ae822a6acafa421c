//! One write, of which a line of the log or an exported audit record tells.

use crate::model::{
    account::AccountId,
    audit_record::AdminMethod,
    caller_name::{CallerName, REPLAY},
    domain::Domain,
    history::HistoryId,
    key::{KeyEnd, KeyId},
    time::Timestamp,
};

/// What a write was about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A key.
    Key(KeyId),
    /// An account.
    Account(AccountId),
    /// A domain of an account.
    Domain(AccountId, Domain),
}

/// The kind of thing that a call is about.
pub(super) enum Kind {
    Key,
    Account,
    Domain,
}

impl Kind {
    pub(super) fn of(method: AdminMethod) -> Self {
        match method {
            AdminMethod::SuspendAccount | AdminMethod::ResumeAccount => Self::Account,
            AdminMethod::AddDomain | AdminMethod::RemoveDomain => Self::Domain,
            _ => Self::Key,
        }
    }
}

/// Which write a replay repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// Its place in its history.
    pub revision: i64,
    /// The time of its call.
    pub time: Timestamp,
}

impl Original {
    /// The caller of the write that repeats this one.
    #[must_use]
    pub fn caller(self) -> CallerName {
        CallerName::replay(format_args!("{}@{}", self.revision, self.time))
    }

    /// Reads such a name.
    #[must_use]
    pub fn of(caller: &CallerName) -> Option<Self> {
        let (revision, time) = caller.as_str().strip_prefix(REPLAY)?.split_once('@')?;
        Some(Self {
            revision: revision.parse().ok()?,
            time: Timestamp::parse_rfc3339(time)?,
        })
    }
}

/// A write that stands for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The history to which it belongs. An earlier release did not say.
    pub history_id: Option<HistoryId>,
    /// Its place in that, and the time of its call.
    pub original: Original,
    /// How many writes in a row it took, of which this revision is the last.
    pub writes: u64,
    /// The caller's name.
    pub caller: CallerName,
    /// What was called.
    pub method: AdminMethod,
    /// What it was about. `None` for the record of a whole batch, whose keys have records of their own.
    pub subject: Option<Subject>,
    /// The account, if it is known.
    pub account_id: Option<AccountId>,
    /// The domain to which the key is restricted since.
    pub domain: Option<Domain>,
    /// What an `AddDomain` said of the names below.
    pub include_subdomains: Option<bool>,
    /// When the key stops working since. `None` also if the line does not say.
    pub key_end: Option<KeyEnd>,
    /// Whether it is a record of the store, and no line.
    pub is_stored: bool,
}
