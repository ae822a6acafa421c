//! Turns values into responses about accounts.

use crate::{
    grpc::{keys, proto, writes::unacknowledged},
    model::account::AccountId,
    replication::acknowledgement::Unacknowledged,
    store::AccountSummary,
};
use tonic::Status;

pub(super) fn account(account_id: AccountId, summary: &AccountSummary) -> proto::Account {
    let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
    let keys = summary.keys;
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

/// An account was changed, but it is not certain that every replica decides by that.
pub(super) fn unacknowledged_change(error: Unacknowledged) -> Status {
    unacknowledged(
        error,
        "call again, which waits until every replica decides by the change",
    )
}
