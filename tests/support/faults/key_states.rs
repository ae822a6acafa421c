//! What is right to answer for a key that is changed, suspended and rotated, and whose account is suspended.

use super::{
    kept::KEPT,
    subjects::{StateWrite, possible_states},
};
use std::{collections::BTreeSet, time::Duration};

/// The state of a key and of its account, which no other key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyState {
    pub is_revoked: bool,
    pub is_suspended: bool,
    pub is_account_suspended: bool,
    /// Whether it may be used for every domain of the account, and not for the first one alone.
    pub is_wide: bool,
    pub expiry: Option<Expiry>,
    /// Whether a predecessor may still work. What is done to the account is done to that one, too.
    pub has_predecessor: bool,
}

/// When a key expires, on the clock of the history, as exactly as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    pub earliest: Duration,
    pub latest: Duration,
}

/// The domain that an Authorize asks about. Both are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedDomain {
    /// The one to which a narrow key is restricted.
    First,
    Second,
}

impl AskedDomain {
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first.example",
            Self::Second => "second.example",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decided {
    Granted,
    Revoked,
    Expired,
    Suspended,
    DomainNotAllowed,
    /// It was let go.
    UnknownToken,
}

impl Decided {
    /// All but of keys that were let go.
    pub const OF_KEPT_KEYS: [Self; 5] = [
        Self::Granted,
        Self::Revoked,
        Self::Expired,
        Self::Suspended,
        Self::DomainNotAllowed,
    ];
}

impl KeyState {
    /// What is decided at some moment from `start` to `end`.
    fn decisions(self, asked: AskedDomain, start: Duration, end: Duration) -> Vec<Decided> {
        let unexpired = if self.is_revoked {
            return vec![Decided::Revoked];
        } else if self.is_suspended || self.is_account_suspended {
            Decided::Suspended
        } else if asked == AskedDomain::Second && !self.is_wide {
            Decided::DomainNotAllowed
        } else {
            Decided::Granted
        };
        let Some(Expiry { earliest, latest }) = self.expiry else {
            return vec![unexpired];
        };
        let (may_work, may_be_expired) = (start < latest, end >= earliest);
        let decisions = [
            may_work.then_some(unexpired),
            may_be_expired.then_some(Decided::Expired),
        ];
        decisions.into_iter().flatten().collect()
    }
}

/// The decisions that are right for an Authorize from `start` to `end`, for these writes to its key.
pub fn right_decisions(
    writes: &[StateWrite<KeyState>],
    asked: AskedDomain,
    start: Duration,
    end: Duration,
) -> BTreeSet<Decided> {
    let mut right: BTreeSet<_> = possible_states(writes, start, end)
        .flatten()
        .flat_map(|state| state.decisions(asked, start, end))
        .collect();
    if may_be_gone(writes, end) {
        right.insert(Decided::UnknownToken);
    }
    // A write that nobody was told of may be lost in a failover. If it took something away, then the
    // replicas that knew of it suspend the key.
    if writes.last().is_some_and(|last| last.returned.is_none()) {
        right.insert(Decided::Suspended);
    }
    right
}

/// Whether the key may have been let go by now. It was there when its last write returned.
pub fn may_be_gone(writes: &[StateWrite<KeyState>], now: Duration) -> bool {
    let returned = writes.iter().rposition(|write| write.returned.is_some());
    writes[returned.unwrap_or_default()..].iter().any(|write| {
        let expired = write.state.expiry.map(|expiry| expiry.earliest);
        let denied = if write.state.is_revoked {
            Some(write.start)
        } else {
            expired
        };
        denied.is_some_and(|denied| denied.saturating_add(KEPT) <= now)
    })
}
