//! The etag of a key: a text that stands for one state of its record.
//!
//! Promises that a state that a restore has undone never shares its etag with one that was made since. The count
//! of changes alone does not promise that: after a restore, it goes on from an earlier number.
//!
//! Must never tell more than whether two states are the same: a count of all writes of the service would
//! tell one account how busy the others are.

use super::{Key, Suspension};
use crate::model::time::Timestamp;
use std::fmt;

/// Counts the changes of a record, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(i32);

impl Version {
    /// No record has it, nor has the one before it.
    pub const NONE: Self = Self(0);

    /// That of a new record.
    pub const FIRST: Self = Self(1);

    /// Takes back a version that a store has kept.
    #[must_use]
    pub fn from_stored(number: i32) -> Self {
        Self(number)
    }

    /// The form in which the stores keep it.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// The version after one more change. Two thousand million changes of one key would begin anew.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(1))
    }
}

/// How many hexadecimal digits of the digest an etag has: 64 bits. It is compared with that of one key as it is now,
/// and so two states look the same by accident once in 2^64 comparisons. Who makes two such states on purpose needs
/// the right to update the key, and gains nothing that this right does not give.
const DIGITS: usize = 16;

/// Stands for one state of a key's record: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(String);

impl Etag {
    /// That of everything in a record but when its key was last used, which is no change of it.
    pub(super) fn of(key: &Key) -> Self {
        // Without `..`, so that a new field of the record cannot be forgotten here.
        let Key {
            id,
            account_id,
            name,
            preview,
            scope,
            labels,
            create_time,
            expire_time,
            revoke_time,
            revoke_reason,
            suspension,
            predecessor,
            successor,
            version,
            last_used_time: _,
        } = key;
        let mut record = Record::default();
        record.bytes(id.as_uuid().as_bytes());
        record.bytes(&version.number().to_le_bytes());
        record.text(account_id.as_str());
        record.text(name.as_str());
        record.text(preview.as_str());
        record.optional(scope.domain(), Record::text);
        record.count(labels.iter().count());
        for (label, value) in labels.iter() {
            record.text(label);
            record.text(value);
        }
        record.time(*create_time);
        record.optional(*expire_time, Record::time);
        record.optional(*revoke_time, Record::time);
        record.optional(revoke_reason.as_ref(), |record, reason| {
            record.text(reason.as_str());
        });
        record.optional(
            suspension.as_ref(),
            |record, Suspension { reason, time }| {
                record.text(reason.as_str());
                record.time(*time);
            },
        );
        for other in [predecessor, successor] {
            record.optional(*other, |record, id| record.bytes(id.as_uuid().as_bytes()));
        }
        record.etag()
    }

    /// Whether a caller's text is this etag.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fields of a record, one after the other, so that no two records are the same bytes: what may be missing
/// says whether it is there, and what may be longer or shorter says how long it is.
#[derive(Default)]
struct Record(blake3::Hasher);

impl Record {
    fn optional<T>(&mut self, field: Option<T>, add: impl FnOnce(&mut Self, T)) {
        self.bytes(&[u8::from(field.is_some())]);
        if let Some(field) = field {
            add(self, field);
        }
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes(text.as_bytes());
    }

    fn time(&mut self, time: Timestamp) {
        self.bytes(&time.as_micros().to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.bytes(&(count as u64).to_le_bytes());
    }

    /// Of a field that always has as many bytes.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn etag(&self) -> Etag {
        Etag(self.0.finalize().to_hex()[..DIGITS].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KeyName, Labels, Reason, Scope};
    use super::*;
    use crate::model::{
        account::AccountId,
        domain::Domain,
        key::samples::{id, key as record, time},
        token::Preview,
    };

    /// Makes one change of a record.
    type Change = fn(&mut Key);

    fn reason(text: &str) -> Reason {
        Reason::from_stored(text.to_owned())
    }

    fn labels(pairs: &[&str]) -> Labels {
        Labels::from_stored(pairs.iter().map(|&pair| pair.to_owned()).collect())
    }

    fn suspend(key: &mut Key, text: &str, micros: i64) {
        let (reason, time) = (reason(text), time(micros));
        key.suspension = Some(Suspension { reason, time });
    }

    /// Among them are pairs that would be the same bytes if the fields only stood behind one another.
    const STATES: [Change; 27] = [
        |_| {},
        |key| key.id = id(2),
        |key| key.version = key.version.next(),
        |key| key.account_id = AccountId::from_stored("acm".to_owned()),
        |key| {
            key.account_id = AccountId::from_stored("acm".to_owned());
            key.name = KeyName::from_stored("emailer".to_owned());
        },
        |key| key.name = KeyName::from_stored("mailers".to_owned()),
        |key| key.preview = Preview::from_stored("tsend_ab…wxyy".into()),
        |key| key.scope = Scope::Domain(Domain::from_stored("example.com".to_owned())),
        |key| key.scope = Scope::Domain(Domain::from_stored("example.org".to_owned())),
        |key| key.labels = labels(&["a="]),
        |key| key.labels = labels(&["a=b"]),
        |key| key.labels = labels(&["ab="]),
        |key| key.labels = labels(&["a=", "b="]),
        |key| key.create_time = time(2),
        |key| key.expire_time = Some(time(0)),
        |key| key.expire_time = Some(time(5)),
        |key| key.revoke_time = Some(time(5)),
        |key| key.revoke_reason = Some(reason("")),
        |key| key.revoke_reason = Some(reason("abuse")),
        |key| suspend(key, "abuse", 5),
        |key| suspend(key, "abuse", 6),
        |key| suspend(key, "spam", 5),
        |key| suspend(key, "", 5),
        |key| key.predecessor = Some(id(2)),
        |key| key.successor = Some(id(2)),
        |key| (key.predecessor, key.successor) = (Some(id(2)), Some(id(3))),
        |key| (key.predecessor, key.successor) = (Some(id(3)), Some(id(2))),
    ];

    #[test]
    fn an_etag_stands_for_one_state_of_one_key() {
        let changed = |change: Change| {
            let mut key = record();
            change(&mut key);
            key.etag().to_string()
        };
        let mut etags = STATES.map(changed).to_vec();
        assert_eq!(etags, STATES.map(changed), "a state has one etag");
        assert!(etags.iter().all(|etag| etag.len() == DIGITS));
        etags.sort_unstable();
        etags.dedup();
        assert_eq!(etags.len(), STATES.len());
    }

    #[test]
    fn a_use_is_no_change() {
        let used = Key {
            last_used_time: Some(time(7)),
            ..record()
        };
        assert_eq!(used.etag(), record().etag());
    }
}
