//! A record for unit tests.

use super::{Key, KeyId, KeyName, Labels, Scope, Version};
use crate::model::{account::AccountId, time::Timestamp, token::Preview};

pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).expect("in range")
}

pub(super) fn id(number: u128) -> KeyId {
    KeyId::from_uuid(uuid::Uuid::from_u128(number))
}

/// One that was never changed.
pub(super) fn key() -> Key {
    Key {
        id: id(1),
        account_id: AccountId::from_stored("acme".to_owned()),
        name: KeyName::parse("mailer").expect("valid"),
        preview: Preview::from_stored("tsend_ab…wxyz".into()),
        scope: Scope::AllDomains,
        labels: Labels::default(),
        create_time: time(1),
        expire_time: None,
        revoke_time: None,
        revoke_reason: None,
        suspension: None,
        predecessor: None,
        successor: None,
        version: Version::FIRST,
        last_used_time: None,
    }
}
