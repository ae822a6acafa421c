//! Owns the way from values to responses, and from errors to statuses.
//! Promises that a status tells its reader what happened and what to do.
//! Must never show what a store's driver said: that goes to the log.

use super::page_token;
use crate::grpc::proto;
use crate::{
    authorize::{
        decision::{Decision, DenialReason, Grant},
        lease::NoLease,
    },
    model::{
        key::{Key, KeyId, Scope, Status},
        time::Timestamp,
    },
    replication::acknowledgement::Unacknowledged,
    store::{ListQuery, ListedKey, StoreError},
};
use proto::authorize_response::Decision as ProtoDecision;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

/// `google.rpc.ErrorInfo`'s domain of this service's reasons.
const ERROR_DOMAIN: &str = "keys.tosend";

pub(in crate::grpc) fn key(key: Key, now: Timestamp) -> proto::Key {
    let status = match key.status(now) {
        Status::Active => proto::key::Status::Active,
        Status::Revoked => proto::key::Status::Revoked,
        Status::Expired => proto::key::Status::Expired,
    };
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
    }
}

/// One page of `query.limit` keys, from the keys that a query for one more gave.
pub(in crate::grpc) fn page(mut keys: Vec<ListedKey>, query: &ListQuery) -> proto::ListResponse {
    let there_are_more = keys.len() > query.limit;
    keys.truncate(query.limit);
    let next_page_token = keys
        .last()
        .filter(|_| there_are_more)
        .map(|last| page_token::encode(query, last.create_revision))
        .unwrap_or_default();
    proto::ListResponse {
        keys: keys
            .into_iter()
            .map(|listed| key(listed.key, query.now))
            .collect(),
        next_page_token,
    }
}

pub(in crate::grpc) fn decision(decision: Decision) -> proto::AuthorizeResponse {
    let decision = match decision {
        Decision::Grant(grant) => ProtoDecision::Grant(self::grant(grant)),
        Decision::Denial(reason) => ProtoDecision::Denial(denial(reason)),
    };
    proto::AuthorizeResponse {
        decision: Some(decision),
    }
}

fn grant(grant: Grant) -> proto::Grant {
    proto::Grant {
        key_id: grant.key_id.to_string(),
        account_id: grant.account_id.into_string(),
        scope: Some(scope(grant.scope)),
    }
}

fn denial(reason: DenialReason) -> proto::Denial {
    use proto::denial::Reason;
    let reason = match reason {
        DenialReason::MalformedToken => Reason::MalformedToken,
        DenialReason::UnknownToken => Reason::UnknownToken,
        DenialReason::Revoked => Reason::Revoked,
        DenialReason::Expired => Reason::Expired,
        DenialReason::DomainNotAllowed => Reason::DomainNotAllowed,
    };
    proto::Denial {
        reason: reason.into(),
    }
}

fn scope(scope: Scope) -> proto::Scope {
    use proto::scope::Kind;
    let kind = match scope {
        Scope::AllDomains => Kind::AllDomains(proto::AllDomains {}),
        Scope::Domain(domain) => Kind::Domain(domain.into_string()),
    };
    proto::Scope { kind: Some(kind) }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.as_micros();
    prost_types::Timestamp {
        seconds: micros / 1_000_000,
        nanos: i32::try_from(micros % 1_000_000 * 1000).expect("less than a second"),
    }
}

pub(in crate::grpc) fn request_id_used(first: KeyId) -> tonic::Status {
    tonic::Status::with_error_details(
        Code::AlreadyExists,
        format!(
            "request_id was used before, for {first}; its token was shown then and cannot be shown \
             again: if it was lost, revoke that key and create another with a new request_id"
        ),
        ErrorDetails::with_resource_info(
            "tosend.keys.v1.Key",
            first.to_string(),
            "",
            "the key that the first call with this request_id created",
        ),
    )
}

pub(in crate::grpc) fn no_such_key() -> tonic::Status {
    tonic::Status::not_found(
        "there is no such key, or it belongs to another account than the given one",
    )
}

/// The one place where a store's trouble becomes a status; `advice` says what the caller can do.
pub(in crate::grpc) fn store_status(error: &StoreError, advice: &str) -> tonic::Status {
    match error {
        StoreError::Unavailable(_) => {
            tracing::warn!("{error}");
            unavailable(
                "STORE_UNAVAILABLE",
                format!("the store of keys cannot be reached; {advice}"),
            )
        }
        StoreError::Failed(_) => {
            tracing::error!("{error}");
            tonic::Status::internal(format!(
                "the store of keys failed, and the service's log says how; {advice}"
            ))
        }
    }
}

/// A read that could not be put on record is not answered.
pub(in crate::grpc) fn unrecorded() -> tonic::Status {
    let message = "the store of keys cannot be reached, and without a record of the call there is \
                   no answer; try again";
    unavailable("STORE_UNAVAILABLE", message.to_owned())
}

/// This replica cannot prove that its memory is current.
pub(in crate::grpc) fn no_lease(why: NoLease) -> tonic::Status {
    unavailable(
        why.into(),
        format!("{why}; try again, or ask another replica"),
    )
}

/// A key was created, but not every replica is known to know it. Its token was not shown.
pub(in crate::grpc) fn unacknowledged_create(
    error: Unacknowledged,
    created: KeyId,
) -> tonic::Status {
    let advice = format!(
        "key {created} may stand, and its token cannot be shown any more: revoke that key, and \
         create another with a new request_id"
    );
    unacknowledged(error, &advice)
}

/// A key was revoked, but not every replica is known to refuse it.
pub(in crate::grpc) fn unacknowledged_revoke(error: Unacknowledged) -> tonic::Status {
    unacknowledged(error, "call Revoke again, which waits on")
}

fn unacknowledged(error: Unacknowledged, advice: &str) -> tonic::Status {
    tracing::warn!("{error}");
    unavailable("UNACKNOWLEDGED", format!("{error}; {advice}"))
}

/// Nobody is told more: whether a secret is wrong or a certificate unknown, say.
pub(in crate::grpc) fn unknown_caller() -> tonic::Status {
    tonic::Status::unauthenticated("unknown caller")
}

/// Nobody is told more: which role or account would do, say.
pub(in crate::grpc) fn not_permitted() -> tonic::Status {
    tonic::Status::permission_denied("not permitted to this caller")
}

/// No place among the admin calls in flight.
pub(in crate::grpc) fn too_many_admin_calls() -> tonic::Status {
    let details = ErrorDetails::with_error_info("TOO_MANY_ADMIN_CALLS", ERROR_DOMAIN, []);
    let message = "too many calls of Create, List and Revoke are in flight: try again in a moment";
    tonic::Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// More metadata than the service takes with one call.
pub(in crate::grpc) fn too_much_metadata(size: usize, limit: u32) -> tonic::Status {
    tonic::Status::resource_exhausted(format!(
        "the call's metadata takes {size} bytes, each field's name, value and 32 more, and the \
         limit is {limit} (--max-header-size): send less"
    ))
}

fn unavailable(reason: &str, message: String) -> tonic::Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    tonic::Status::with_error_details(Code::Unavailable, message, details)
}
