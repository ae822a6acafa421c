//! Turns values into responses, and the errors of keys into statuses.
//!
//! Promises that a status tells its reader what happened and what to do.

use super::page_token;
use crate::{
    grpc::{
        errors::{self, aborted, failed_precondition},
        proto, timestamp,
        writes::{CHANGE_AGAIN, unacknowledged},
    },
    model::{
        account::AccountId,
        key::{Key, KeyId, Scope, Status, Suspension, change::Refusal},
        time::Timestamp,
    },
    replication::acknowledgement::Unacknowledged,
    store::{KeyReplacement, ListQuery, Listed, Selected},
};
use prost::Message;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

pub(super) fn key(key: Key, now: Timestamp) -> proto::Key {
    let status = match key.status(now) {
        Status::Active => proto::key::Status::Active,
        Status::Revoked => proto::key::Status::Revoked,
        Status::Expired => proto::key::Status::Expired,
        Status::Suspended => proto::key::Status::Suspended,
    };
    let etag = key.etag().to_string();
    let labels = key.labels.iter();
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    proto::Key {
        key_id: key.id.to_string(),
        account_id: key.account_id.as_str().to_owned(),
        name: key.name.as_str().to_owned(),
        preview: key.preview.as_str().to_owned(),
        scope: Some(scope(key.scope)),
        status: status.into(),
        create_time: Some(timestamp(key.create_time)),
        expire_time: key.expire_time.map(timestamp),
        revoke_time: key.revoke_time.map(timestamp),
        revoke_reason: key.revoke_reason.map(|reason| reason.as_str().to_owned()),
        suspension: key.suspension.as_ref().map(suspension),
        predecessor: key.predecessor.map(|id| id.to_string()),
        successor: key.successor.map(|id| id.to_string()),
        etag,
        labels: labels.collect(),
        // A use is noted to the minute, and so may be noted as before the key was there.
        last_used_time: key
            .last_used_time
            .map(|used| timestamp(used.max(key.create_time))),
    }
}

pub(in crate::grpc) fn suspension(suspension: &Suspension) -> proto::Suspension {
    proto::Suspension {
        reason: suspension.reason.as_str().to_owned(),
        time: Some(timestamp(suspension.time)),
    }
}

/// The most bytes of keys on a page, so that answers which nobody takes fill no memory. A key with the
/// longest labels takes 8 KiB.
const MAX_PAGE_SIZE: usize = 1_000_000;

/// Makes a page of `query.limit` keys, or of fewer if these are too large. `listed` has one more if that is
/// full and there is another page.
pub(super) fn page(listed: Listed, query: &ListQuery) -> proto::ListResponse {
    let Listed { keys, searched_to } = listed;
    let (found, mut size) = (keys.len(), 0);
    let mut last = None;
    let keys = keys.into_iter().take(query.limit).map_while(|it| {
        let id = it.id;
        let shown = key(it, query.now);
        size += shown.encoded_len();
        (size <= MAX_PAGE_SIZE).then(|| {
            last = Some(id);
            shown
        })
    });
    let keys: Vec<_> = keys.collect();
    let last = if keys.len() < found {
        last
    } else {
        searched_to
    };
    let next_page_token = last.map(|last| page_token::encode(&query.filter, last));
    proto::ListResponse {
        keys,
        next_page_token: next_page_token.unwrap_or_default(),
        total_size: None,
        total_size_is_minimum: false,
    }
}

pub(in crate::grpc) fn scope(scope: Scope) -> proto::Scope {
    use proto::scope::Kind;
    let kind = match scope {
        Scope::AllDomains => Kind::AllDomains(proto::AllDomains {}),
        Scope::Domain(domain) => Kind::Domain(domain.into_string()),
    };
    proto::Scope { kind: Some(kind) }
}

/// What to do about a request id that was used before, by the call that used it again.
pub(super) const CREATED_BEFORE: &str =
    "if the token was lost, revoke that key and create another with a new request_id";
pub(super) const ROTATED_BEFORE: &str = "if that is the successor and its token was lost, rotate it, with an \
     overlap of 0s and a new request_id; if it is another key, nothing was rotated: use a request_id that no call \
     has used";

pub(super) fn request_id_used(first: KeyId, advice: &str) -> tonic::Status {
    tonic::Status::with_error_details(
        Code::AlreadyExists,
        format!(
            "request_id was used before, for {first}; its token was shown then and cannot be shown \
             again; {advice}"
        ),
        ErrorDetails::with_resource_info(
            "tosend.keys.v1.Key",
            first.to_string(),
            "",
            "the key that the first call with this request_id created",
        ),
    )
}

pub(super) fn domain_not_verified() -> tonic::Status {
    failed_precondition(
        "DOMAIN_NOT_VERIFIED",
        "the domain is not verified for this account; verify it, call \
         tosend.keys.v1.DomainService/AddDomain, and then try again",
    )
}

/// The account has as many keys as it may have.
pub(super) fn too_many_keys(account_id: &AccountId, max_keys: u32) -> tonic::Status {
    let text = format!(
        "the account has {max_keys} keys or more that are neither revoked nor expired, and may have no \
         more (--max-keys-per-account): revoke those that are not needed, and then try again"
    );
    errors::quota_exceeded("TOO_MANY_KEYS", account_id.as_str(), &text)
}

/// The key's state does not allow a change.
pub(super) fn refused(refusal: Refusal) -> tonic::Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::StaleEtag => aborted("ETAG_MISMATCH", &text),
        Refusal::Revoked(_) => failed_precondition("KEY_REVOKED", &text),
        Refusal::Rotated(_) => failed_precondition("KEY_ROTATED", &text),
        Refusal::Expired => failed_precondition("KEY_EXPIRED", &text),
        Refusal::Suspended => failed_precondition("KEY_SUSPENDED", &text),
    }
}

pub(super) fn no_such_key() -> tonic::Status {
    tonic::Status::not_found("there is no such key, or it does not belong to the given account")
}

/// Other calls kept changing the key.
pub(super) fn overtaken() -> tonic::Status {
    let message = "nothing was changed: other calls keep changing this key; try again";
    aborted("KEY_CHANGED", message)
}

/// The search for the keys of a batch cannot go on from where it was.
pub(super) fn forgotten_meanwhile() -> tonic::Status {
    let message = "keys were deleted while they were searched, and none is revoked; try again";
    aborted("KEYS_DELETED", message)
}

/// A key was created, but it is not certain that every replica knows it. Its token was not shown.
pub(super) fn unacknowledged_create(error: Unacknowledged, created: KeyId) -> tonic::Status {
    let advice = format!(
        "key {created} may exist, and its token cannot be shown any more: revoke that key, and \
         create another with a new request_id"
    );
    unacknowledged(error, &advice)
}

/// A key was revoked, but it is not certain that every replica denies it.
pub(super) fn unacknowledged_revoke(error: Unacknowledged) -> tonic::Status {
    unacknowledged(
        error,
        "call Revoke again, which waits until every replica denies the key",
    )
}

/// Keys were revoked, but it is not certain that every replica denies them.
pub(super) fn unacknowledged_batch(error: Unacknowledged) -> tonic::Status {
    unacknowledged(
        error,
        "call BatchRevoke again, which waits until every replica denies the keys",
    )
}

pub(super) fn batch_revoked(revoked: u64, selected: &Selected) -> proto::BatchRevokeResponse {
    let not_found = selected.not_found.iter();
    proto::BatchRevokeResponse {
        revoked_count: i32::try_from(revoked).unwrap_or(i32::MAX),
        already_revoked_count: i32::try_from(selected.already_revoked).unwrap_or(i32::MAX),
        not_found: not_found
            .map(|place| i32::try_from(*place).unwrap_or(i32::MAX))
            .collect(),
        there_are_more: selected.there_are_more,
    }
}

/// A key was changed, but it is not certain that every replica decides by that.
pub(super) fn unacknowledged_change(
    error: Unacknowledged,
    replacement: &KeyReplacement,
) -> tonic::Status {
    match &replacement.successor {
        Some(new) => unacknowledged_create(error, new.key.id),
        None => unacknowledged(error, CHANGE_AGAIN),
    }
}
