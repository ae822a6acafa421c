//! What may become of a key's record, by which call: pure functions from one state to the next.
//!
//! Promises one rule for all stores and doors. Revocation is for good: nothing here takes it back.

use super::{Key, KeyId, KeyName, Labels, Reason, Scope, Suspension};
use crate::model::time::Timestamp;
use std::time::Duration;

/// What an update sets. A field that is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyUpdate {
    /// The name.
    pub name: Option<KeyName>,
    /// The scope.
    pub scope: Option<Scope>,
    /// When the key expires: `Some(None)` means never.
    pub expire_time: Option<Option<Timestamp>>,
    /// The labels, all of them.
    pub labels: Option<Labels>,
}

/// Why a key cannot be changed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A caller who last read another state wants to change this one.
    #[error(
        "the key was changed since this etag was read; get the key again, and send its new etag if \
         you still want the change"
    )]
    StaleEtag,
    /// Revocation is for good.
    #[error("the key is revoked for good; {0}")]
    Revoked(Instead),
    /// The key has a successor already.
    #[error(
        "the key was rotated before, and its successor is {0}: rotate that one; to stop the old token now, revoke the old key"
    )]
    Rotated(KeyId),
    /// An expired key is not rotated: its token no longer works, so nothing needs an overlap.
    #[error("the key has expired; create another, or prolong it with Update before you rotate it")]
    Expired,
    /// A successor would work although the key was suspended.
    #[error("the key is suspended; resume it before you rotate it")]
    Suspended,
}

/// What can be done instead with a revoked key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Instead {
    /// For a change of what it may be used for.
    #[strum(to_string = "only its name and labels can still be changed")]
    Rename,
    /// For a rotation, or a suspension that is to end.
    #[strum(to_string = "create another key")]
    Create,
    /// For a suspension.
    #[strum(to_string = "its token is denied already")]
    Nothing,
}

impl Key {
    /// The key with what an update sets.
    pub fn updated(&self, update: &KeyUpdate, etag: Option<&str>) -> Result<Self, Refusal> {
        if etag.is_some_and(|etag| !self.etag().is(etag)) {
            return Err(Refusal::StaleEtag);
        }
        let changes_use = update.scope.is_some() || update.expire_time.is_some();
        if changes_use && self.revoke_time.is_some() {
            return Err(Refusal::Revoked(Instead::Rename));
        }
        let mut updated = self.next();
        let KeyUpdate {
            name,
            scope,
            expire_time,
            labels,
        } = update.clone();
        updated.name = name.unwrap_or(updated.name);
        updated.scope = scope.unwrap_or(updated.scope);
        updated.expire_time = expire_time.unwrap_or(updated.expire_time);
        updated.labels = labels.unwrap_or(updated.labels);
        Ok(updated)
    }

    /// The key, suspended. One that was suspended before stays so since then, for the new reason.
    pub fn suspended(&self, reason: &Reason, now: Timestamp) -> Result<Self, Refusal> {
        if self.revoke_time.is_some() {
            return Err(Refusal::Revoked(Instead::Nothing));
        }
        let mut suspended = self.next();
        let since = self.suspension.as_ref().map(|before| before.time);
        suspended.suspension = Some(Suspension {
            reason: reason.clone(),
            time: since.unwrap_or(now),
        });
        Ok(suspended)
    }

    /// The key, not suspended.
    pub fn resumed(&self) -> Result<Self, Refusal> {
        if self.revoke_time.is_some() {
            return Err(Refusal::Revoked(Instead::Create));
        }
        let mut resumed = self.next();
        resumed.suspension = None;
        Ok(resumed)
    }

    /// The key, replaced by a successor. It works for the overlap, and never longer than it would have
    /// without a rotation. Without an overlap it is revoked.
    pub fn rotated(
        &self,
        successor: KeyId,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if self.revoke_time.is_some() {
            return Err(match self.successor {
                Some(successor) => Refusal::Rotated(successor),
                None => Refusal::Revoked(Instead::Create),
            });
        }
        if let Some(successor) = self.successor {
            return Err(Refusal::Rotated(successor));
        }
        if self.expire_time.is_some_and(|time| time <= now) {
            return Err(Refusal::Expired);
        }
        if self.suspension.is_some() {
            return Err(Refusal::Suspended);
        }
        let mut rotated = self.next();
        rotated.successor = Some(successor);
        if overlap.is_zero() {
            rotated.revoke_time = Some(now);
        } else {
            let end = now.saturating_add(overlap);
            rotated.expire_time = Some(self.expire_time.map_or(end, |before| before.min(end)));
        }
        Ok(rotated)
    }

    fn next(&self) -> Self {
        Self {
            version: self.version.next(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::{
        Status,
        samples::{id, key, time},
    };

    fn revoked() -> Key {
        Key {
            revoke_time: Some(time(5)),
            ..key()
        }
    }

    fn reason(text: &str) -> Reason {
        Reason::parse(text).expect("valid")
    }

    fn rename() -> KeyUpdate {
        KeyUpdate {
            name: Some(KeyName::parse("other").expect("valid")),
            ..KeyUpdate::default()
        }
    }

    #[test]
    fn an_update_with_an_etag_changes_only_the_state_that_has_it() {
        let etag = key().etag().to_string();
        let after = key().updated(&rename(), Some(&etag)).expect("current");
        assert_eq!(after.name.as_str(), "other");
        let again = after.updated(&rename(), Some(&etag));
        assert_eq!(again, Err(Refusal::StaleEtag));
        // A restore has the count of changes begin again.
        let since_a_restore = Key {
            version: key().version,
            ..after
        };
        let late = since_a_restore.updated(&rename(), Some(&etag));
        assert_eq!(late, Err(Refusal::StaleEtag));
    }

    #[test]
    fn a_revoked_key_can_be_renamed_and_relabelled_and_nothing_else() {
        let relabel = KeyUpdate {
            labels: Some(Labels::from_stored(vec!["a=b".into()])),
            ..rename()
        };
        let relabelled = revoked().updated(&relabel, None).expect("allowed");
        assert_eq!(relabelled.labels.pairs(), ["a=b"]);
        for update in [
            KeyUpdate {
                scope: Some(Scope::AllDomains),
                ..rename()
            },
            KeyUpdate {
                expire_time: Some(None),
                ..KeyUpdate::default()
            },
        ] {
            let refused = revoked().updated(&update, None);
            assert_eq!(refused, Err(Refusal::Revoked(Instead::Rename)));
        }
        assert!(revoked().suspended(&reason("abuse"), time(6)).is_err());
        assert!(revoked().resumed().is_err());
        assert!(revoked().rotated(id(2), Duration::ZERO, time(6)).is_err());
    }

    #[test]
    fn a_key_is_suspended_since_the_first_time_and_until_it_is_resumed() {
        let first = key().suspended(&reason("abuse"), time(5)).expect("active");
        let again = first.suspended(&reason("spam"), time(6)).expect("allowed");
        let suspension = again.suspension.clone().expect("suspended");
        assert_eq!(
            (suspension.time, suspension.reason),
            (time(5), reason("spam"))
        );
        assert_eq!(again.status(time(7)), Status::Suspended);
        let resumed = again.resumed().expect("allowed");
        assert_eq!(resumed.status(time(7)), Status::Active);
        assert_eq!(
            again.rotated(id(2), Duration::ZERO, time(7)),
            Err(Refusal::Suspended)
        );
    }

    #[test]
    fn a_rotated_key_works_for_the_overlap_and_never_longer_than_before() {
        let overlap = Duration::from_micros(100);
        let end = |expire_time| {
            let key = Key {
                expire_time,
                ..key()
            };
            key.rotated(id(2), overlap, time(10)).expect("active")
        };
        assert_eq!(end(None).expire_time, Some(time(110)));
        assert_eq!(end(Some(time(500))).expire_time, Some(time(110)));
        assert_eq!(end(Some(time(50))).expire_time, Some(time(50)));
        assert_eq!(end(None).successor, Some(id(2)));
        let at_once = key().rotated(id(2), Duration::ZERO, time(10));
        assert_eq!(at_once.expect("active").status(time(10)), Status::Revoked);
    }

    #[test]
    fn a_key_is_rotated_once_and_not_after_its_end() {
        for overlap in [Duration::ZERO, Duration::from_secs(1)] {
            let rotated = key().rotated(id(2), overlap, time(10)).expect("active");
            let again = rotated.rotated(id(3), overlap, time(11));
            assert_eq!(again, Err(Refusal::Rotated(id(2))));
        }
        let expired = Key {
            expire_time: Some(time(10)),
            ..key()
        };
        let refused = expired.rotated(id(2), Duration::ZERO, time(10));
        assert_eq!(refused, Err(Refusal::Expired));
    }
}
