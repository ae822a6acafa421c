//! Turns values into responses about accounts.

use crate::{
    grpc::{keys, proto},
    model::account::AccountId,
    store::{AccountSummary, KeyCounts},
};

pub(super) fn account(
    account_id: AccountId,
    summary: &AccountSummary,
    keys: KeyCounts,
) -> proto::Account {
    let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
    proto::Account {
        account_id: account_id.into_string(),
        suspension: summary.suspension.as_ref().map(keys::suspension),
        key_counts: Some(proto::KeyCounts {
            active: count(keys.active),
            suspended: count(keys.suspended),
            expired: count(keys.expired),
            revoked: count(keys.revoked),
        }),
        domain_count: count(summary.domains),
    }
}
